// The specification language: what parses, what is refused and how, what is concluded.
#include <stdlib.h>
#include "common/status.h"
#include "protocol/spec/lexer.h"
#include "protocol/spec/spec.h"
#include "protocol/synthesis.h"
#include "tests/unit/spec_fixtures.h"
#include "tests/unit/tap_store.h"

#define GOOD "tests/fixtures/specs/good"
#define BAD "tests/fixtures/specs/bad"

struct collected {
  char text[16384];
  size_t length;
  unsigned errors, notes;
};

static void collect(void *context, const struct egd_diagnostic *diagnostic) {
  struct collected *collected = context;
  ++*(diagnostic->severity == EGD_SEVERITY_ERROR ? &collected->errors : &collected->notes);
  collected->length += (size_t)snprintf(collected->text + collected->length,
                                        sizeof(collected->text) - collected->length, "%s\n", diagnostic->text);
}

static struct egd_registry registry;

static int judge(const char *text, size_t length, const char *name, struct collected *collected,
                 struct egd_guarantees *guarantees) {
  struct egd_spec *spec = NULL;
  memset(collected, 0, sizeof(*collected));
  int status = egd_spec_parse(text, length, name, &registry, collect, collected, &spec);
  if (status == EGD_OK) status = egd_spec_check(spec, collect, collected, guarantees);
  egd_spec_destroy(spec);
  return status;
}

static int judge_text(const char *text, struct collected *collected, struct egd_guarantees *guarantees) {
  return judge(text, strlen(text), "t", collected, guarantees);
}

// ---- fixtures -----------------------------------------------------------------------------------------------------------

static void refused(const char *folder, const char *name) {
  struct collected collected;
  struct egd_guarantees guarantees;
  size_t length, expected_length;
  char expected_name[256];
  char *text = read_fixture(folder, name, &length);
  snprintf(expected_name, sizeof(expected_name), "%.*s.expected", (int)strlen(name) - 4, name);
  char *expected = read_fixture(folder, expected_name, &expected_length);
  int status = text ? judge(text, length, name, &collected, &guarantees) : EGD_ERR_NOT_FOUND;
  if (!ok(status == EGD_ERR_INVALID && expected && strcmp(collected.text, expected) == 0, "refused: %s", name))
    printf("# status %d, said:\n# %s\n# expected:\n# %s\n", status, collected.text, expected ? expected : "(no file)");
  struct egd_plan plan, before;
  memset(&plan, 0x5a, sizeof(plan));
  before = plan;
  status = egd_plan_compile(text, length, name, &plan, NULL, NULL);
  ok(status == EGD_ERR_INVALID && memcmp(&plan, &before, sizeof(plan)) == 0, "no plan: %s", name);
  free(text);
  free(expected);
}

static void accepted(const char *folder, const char *name) {
  struct collected collected;
  struct egd_guarantees guarantees;
  size_t length;
  char *text = read_fixture(folder, name, &length);
  int status = text ? judge(text, length, name, &collected, &guarantees) : EGD_ERR_NOT_FOUND;
  if (!ok(status == EGD_OK && collected.errors == 0, "sound: %s", name)) printf("# %s\n", collected.text);
  free(text);
}

// Every beginning of every good file, and damaged copies: no crash, and a message whenever it is refused.
static void survives_damage(const char *folder, const char *name) {
  struct collected collected;
  struct egd_guarantees guarantees;
  size_t length;
  unsigned silent = 0, tried = 0;
  char *text = read_fixture(folder, name, &length);
  if (!text) return;
  for (size_t cut = 0; cut < length; cut++, tried++) {
    char *copy = malloc(cut ? cut : 1);
    memcpy(copy, text, cut);
    silent += judge(copy, cut, name, &collected, &guarantees) != EGD_OK && collected.errors == 0;
    free(copy);
  }
  uint64_t random = 88172645463325252ull;
  for (unsigned round = 0; round < 300; round++, tried++) {
    char *copy = malloc(length);
    memcpy(copy, text, length);
    for (unsigned change = 0; change <= round % 4; change++) {
      static const char bytes[] = "{}(),:=# \n/*\0\xff"
                                  "09az-.";
      random ^= random << 13, random ^= random >> 7, random ^= random << 17;
      copy[random % length] = bytes[(random >> 32) % (sizeof(bytes) - 1)];
    }
    silent += judge(copy, length, name, &collected, &guarantees) != EGD_OK && collected.errors == 0;
    free(copy);
  }
  ok(silent == 0, "%u damaged copies of %s are judged", tried, name);
  free(text);
}

// ---- conclusions --------------------------------------------------------------------------------------------------------

#define RECEIVE "receive: determinant : {source, ssn, dest, dsn} "
#define SEND "send: Log message synchronously on volatile memory of self "
#define IMAGES "Independent checkpoint asynchronously on NFS disk Implementation : full "
#define ANY EGD_ANY_NUMBER

static const struct {
  const char *title, *text;
  enum egd_family family;
  bool orphan_free;
  uint32_t nodes;
} conclusions[] = {
    {"pessimistic in memory", RECEIVE "Log determinant synchronously on volatile memory of processes " SEND IMAGES,
     EGD_FAMILY_PESSIMISTIC, true, 1},
    {"f is the number of nodes", RECEIVE "Log determinant synchronously on volatile memory of 5 processes " SEND IMAGES,
     EGD_FAMILY_PESSIMISTIC, true, 5},
    {"one process", RECEIVE "Log determinant synchronously on volatile memory of 1 process " SEND IMAGES,
     EGD_FAMILY_PESSIMISTIC, true, 1},
    {"f in parentheses", RECEIVE "Log determinant synchronously on volatile memory of processes(f=3) " SEND IMAGES,
     EGD_FAMILY_PESSIMISTIC, true, 3},
    {"pessimistic on a shared disk", RECEIVE "Log determinant synchronously on NFS disk " SEND IMAGES,
     EGD_FAMILY_PESSIMISTIC, true, ANY},
    {"a local disk dies with its node", RECEIVE "Log determinant synchronously on local disk " SEND IMAGES,
     EGD_FAMILY_PESSIMISTIC, true, 0},
    {"images on a local disk die with it",
     RECEIVE "Log determinant synchronously on NFS disk " SEND
             "Independent checkpoint asynchronously on local disk Implementation : full",
     EGD_FAMILY_PESSIMISTIC, true, 0},
    {"receiver-based", RECEIVE "Log determinant, data synchronously on volatile memory of 2 processes " IMAGES,
     EGD_FAMILY_PESSIMISTIC, true, 2},
    {"causal", RECEIVE "send: Piggyback determinants Log message synchronously on volatile memory of self " IMAGES,
     EGD_FAMILY_CAUSAL, true, 1},
    {"optimistic",
     RECEIVE "Log determinant, data asynchronously on NFS disk Co-ordinated output commit on write "
             "send: Piggyback logical clock Protocol to detect orphans : broadcast logical clock " IMAGES,
     EGD_FAMILY_OPTIMISTIC, false, ANY},
    {"output commits of different events",
     RECEIVE
     "Log determinant, data asynchronously on NFS disk Independent output commit on send Co-ordinated output "
     "commit on write send: Piggyback logical clock Protocol to detect orphans : broadcast logical clock " IMAGES,
     EGD_FAMILY_OPTIMISTIC, false, ANY},
    {"co-ordinated checkpoints", "Coordinated checkpoint synchronously on NFS disk Implementation : incremental",
     EGD_FAMILY_COORDINATED, false, ANY},
    {"induced checkpoints",
     "send: Piggyback checkpoint counter Communication-induced checkpoint asynchronously on volatile memory of 2 "
     "processes Implementation : full",
     EGD_FAMILY_INDUCED, false, 2},
    {"transport only", "transport only", EGD_FAMILY_NONE, true, 0},
};

static void conclude(void) {
  for (size_t i = 0; i < sizeof(conclusions) / sizeof(conclusions[0]); i++) {
    struct collected collected;
    struct egd_guarantees g = {0};
    int status = judge_text(conclusions[i].text, &collected, &g);
    bool good = status == EGD_OK && g.family == conclusions[i].family && g.node_failures == conclusions[i].nodes &&
                (g.orphan_free == conclusions[i].orphan_free || g.family == EGD_FAMILY_NONE) &&
                g.whole_job == (conclusions[i].nodes == ANY) &&
                g.process_failures == (g.family == EGD_FAMILY_NONE ? 0 : ANY);
    if (!ok(good, "concluded: %s", conclusions[i].title))
      printf("# status %d family %d nodes %u orphan-free %d\n# %s\n", status, g.family, g.node_failures, g.orphan_free,
             collected.text);
  }
}

static void intervals(void) {
  static const struct {
    const char *policy;
    uint64_t ns;
  } cases[] = {
      {"", EGD_DEFAULT_CHECKPOINT_INTERVAL_NS},
      {"Scheduling policy : periodic 30 s", 30000000000ull},
      {"Scheduling policy : periodic 30s", 30000000000ull},
      {"Scheduling policy : every 250 ms", 250000000ull},
      {"Scheduling policy : periodic 1.5 minutes", 90000000000ull},
      {"Scheduling policy : periodic 0.0000000000000000001 h", 0}, // out of range, see below
      {"Scheduling policy : periodic 2 h", 7200000000000ull},
      {"Scheduling policy : on request", 0},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    char text[512];
    struct collected collected;
    struct egd_guarantees g = {.checkpoint_interval_ns = 77};
    snprintf(text, sizeof(text), "%s%s", RECEIVE "Log determinant synchronously on NFS disk " SEND IMAGES,
             cases[i].policy);
    int status = judge_text(text, &collected, &g);
    if (strstr(text, "0.000"))
      ok(status == EGD_ERR_INVALID && strstr(collected.text, "out of range"), "'%s' is refused", cases[i].policy);
    else
      ok(status == EGD_OK && g.checkpoint_interval_ns == cases[i].ns, "interval of '%s'", cases[i].policy);
  }
}

static void notes(void) {
  struct collected collected;
  struct egd_guarantees g;
  judge_text(RECEIVE "Log determinant synchronously on NFS disk " SEND
                     "Protocol to detect orphans : broadcast logical clock On rollback: Log message on NFS disk",
             &collected, &g);
  ok(collected.errors == 0 && collected.notes == 3 && strstr(collected.text, "t:1:") &&
         strstr(collected.text, ": note: "),
     "what is never used, and missing checkpoints, are noted");
  ok(strstr(g.garbage_collection, "never"), "without checkpoints logs never shrink");
  judge_text(RECEIVE "Log determinant, determinants synchronously on NFS disk " SEND IMAGES, &collected, &g);
  ok(collected.errors == 0 && strstr(collected.text, "written twice"), "a repeated value is noted");
}

static void limits(void) {
  struct collected collected;
  struct egd_guarantees g;
  size_t length = EGD_SPEC_MAX_BYTES + 1;
  char *text = malloc(length + 1);
  memset(text, ' ', length);
  memcpy(text, "Transport only", 14);
  ok(judge(text, length - 1, "t", &collected, &g) == EGD_OK, "64 KiB are parsed");
  ok(judge(text, length, "t", &collected, &g) == EGD_ERR_INVALID && strstr(collected.text, "64 KiB"),
     "a byte more is refused");
  // Long lists must need neither stack nor much time.
  struct egd_text list = {text, length, 0};
  egd_text_string(&list, "independent output commit on write");
  while (list.length + 20 < length) egd_text_string(&list, ",write");
  ok(judge(text, list.length, "t", &collected, &g) == EGD_ERR_INVALID && collected.errors == 1,
     "a list of 10000 is parsed");
  memset(text, 'a', length);
  ok(judge(text, length - 1, "t", &collected, &g) == EGD_ERR_INVALID && collected.errors == 1,
     "a word of 64 KiB is refused");
  free(text);
}

int main(void) {
  egd_registry_init(&registry);
  ok(each_fixture(GOOD, accepted) >= 10, "there are good fixtures");
  ok(each_fixture(BAD, refused) >= 30, "there are bad fixtures");
  each_fixture(GOOD, survives_damage);
  conclude();
  intervals();
  notes();
  limits();
  return done();
}
