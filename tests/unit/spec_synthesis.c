// From specification to plan, and the registry of values.
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "common/status.h"
#include "protocol/registry.h"
#include "protocol/spec/spec.h"
#include "protocol/synthesis.h"
#include "tests/unit/spec_fixtures.h"
#include "tests/unit/tap_store.h"

static char said[8192];
static unsigned reports;

static void remember(void *context, const struct egd_diagnostic *diagnostic) {
  (void)context;
  reports++;
  snprintf(said, sizeof(said), "%s", diagnostic->text);
}

static int compile_file(const char *folder, const char *name, struct egd_plan *plan) {
  size_t length;
  char *text = read_fixture(folder, name, &length);
  if (!text) return EGD_ERR_NOT_FOUND;
  reports = 0;
  said[0] = '\0';
  int status = egd_plan_compile(text, length, name, plan, remember, NULL);
  if (status == EGD_OK) ok(plan->spec_hash == XXH3_64bits(text, length), "the hash of %s is that of its text", name);
  free(text);
  return status;
}

static int compile(const char *text, struct egd_plan *plan) {
  reports = 0;
  said[0] = '\0';
  return egd_plan_compile(text, strlen(text), "folder/t.egd", plan, remember, NULL);
}

#define LOGGING (EGD_PLAN_LOG_DETERMINANTS | EGD_PLAN_LOG_MESSAGES | EGD_PLAN_SYNC_DETERMINANTS)
#define IMAGES (EGD_PLAN_CHECKPOINT | EGD_PLAN_CHECKPOINT_ASYNC)

static void shipped(void) {
  struct egd_plan plan, other;
  char line[512];
  ok(compile_file("specs", "pessimistic.egd", &plan) == EGD_OK && plan.version == EGD_PLAN_VERSION &&
         plan.flags == (LOGGING | IMAGES) && plan.determinant_store == EGD_DETERMINANT_PROCESSES &&
         plan.message_store == EGD_MESSAGE_SELF && plan.checkpoint_protocol == EGD_CHECKPOINT_INDEPENDENT &&
         plan.f == 1 && plan.checkpoint_interval_ns == 60000000000ull && strcmp(plan.name, "pessimistic") == 0,
     "pessimistic.egd");
  egd_plan_describe(&plan, 3, line, sizeof(line));
  ok(strstr(line, "1 node failure at a time") && strstr(line, "every 1 min") && !strchr(line, '\n'), "described: %s",
     line);
  ok(compile_file("specs", "default.egd", &other) == EGD_OK && strcmp(other.name, "default") == 0, "default.egd");
  memcpy(other.name, plan.name, sizeof(plan.name));
  other.spec_hash = plan.spec_hash;
  ok(memcmp(&plan, &other, sizeof(plan)) == 0, "the default is pessimistic.egd");
  ok(compile_file("specs", "pessimistic-nfs.egd", &plan) == EGD_OK && plan.flags == (LOGGING | IMAGES) &&
         plan.determinant_store == EGD_DETERMINANT_SHARED_DISK,
     "pessimistic-nfs.egd");
  egd_plan_describe(&plan, 3, line, sizeof(line));
  ok(strstr(line, "shared disk"), "described: %s", line);
  ok(compile_file("specs", "none.egd", &plan) == EGD_OK && plan.flags == 0 &&
         plan.determinant_store == EGD_DETERMINANT_NONE && plan.message_store == EGD_MESSAGE_NONE &&
         plan.checkpoint_protocol == EGD_CHECKPOINT_NONE,
     "none.egd");
  egd_plan_describe(&plan, 3, line, sizeof(line));
  ok(strstr(line, "any failure ends the job"), "described: %s", line);
  char tiny[4];
  ok(strcmp(egd_plan_describe(&plan, 3, tiny, sizeof(tiny)), "tra") == 0, "a short buffer is respected");
}

#define RECEIVE "receive: determinant : {source, ssn, dest, dsn} Log determinant synchronously on NFS disk\n"
#define SEND "send: Log message synchronously on volatile memory of self\n"

static void composed(void) {
  struct egd_plan plan, untouched;
  ok(compile(RECEIVE SEND
             "Independent checkpoint synchronously on NFS disk Implementation : full Scheduling policy : on request",
             &plan) == EGD_OK &&
         plan.flags == (LOGGING | EGD_PLAN_CHECKPOINT) && plan.checkpoint_interval_ns == 0 &&
         strcmp(plan.name, "t") == 0,
     "synchronous images on request");
  memset(&plan, 0x5a, sizeof(plan));
  untouched = plan;
  ok(compile(RECEIVE SEND "Independent checkpoint asynchronously on NFS disk\nImplementation : incremental", &plan) ==
             EGD_ERR_UNSUPPORTED &&
         reports == 1 && strncmp(said, "folder/t.egd:4:18: 'incremental'", 32) == 0,
     "a value without a module is refused where it stands");
  ok(compile(RECEIVE SEND, &plan) == EGD_ERR_UNSUPPORTED && reports == 1 && strstr(said, "without checkpoints"),
     "logging without checkpoints is refused");
  ok(compile(RECEIVE "send: Log message synchronously on NFS disk Independent checkpoint synchronously on NFS disk "
                     "Implementation : full",
             &plan) == EGD_ERR_UNSUPPORTED &&
         strstr(said, "memory of their sender"),
     "messages on a disk are refused by the disk's module");
  ok(compile(RECEIVE "read: determinant : {source, ssn, dest, dsn} Log determinant synchronously on volatile memory of "
                     "processes " SEND "Independent checkpoint synchronously on NFS disk Implementation : full",
             &plan) == EGD_ERR_UNSUPPORTED &&
         strstr(said, "one log"),
     "two determinant logs are refused");
  ok(compile("Co-ordinated checkpoint synchronously on NFS disk Implementation : full", &plan) == EGD_ERR_UNSUPPORTED,
     "co-ordinated checkpoints are refused");
  ok(compile("Independent checkpoint synchronously on NFS disk Implementation : full", &plan) == EGD_ERR_INVALID &&
         strstr(said, "domino"),
     "what cannot recover is invalid");
  ok(memcmp(&plan, &untouched, sizeof(plan)) == 0, "the plan is untouched by failures");
  char long_name[200];
  memset(long_name, 'n', sizeof(long_name) - 1);
  long_name[sizeof(long_name) - 1] = '\0';
  ok(egd_plan_compile("transport only", 14, long_name, &plan, NULL, NULL) == EGD_OK &&
         strlen(plan.name) == sizeof(plan.name) - 1,
     "a long name is cut");
}

static const char *bind_test(struct egd_plan *plan, const struct egd_binding *binding) {
  plan->f = (uint32_t)binding->parameter;
  plan->determinant_store = EGD_DETERMINANT_PROCESSES;
  return NULL;
}

static void registered(void) {
  struct egd_registry registry;
  struct egd_spec *spec = NULL;
  struct egd_guarantees guarantees;
  struct egd_plan plan;
  egd_registry_init(&registry);
  size_t before = registry.count;
  bool complete = true;
  for (size_t i = 0; i < before; i++) {
    const struct egd_module *module = registry.modules[i];
    complete &= module->abi_version == EGD_MODULE_ABI_VERSION && module->value && module->name && module->doc &&
                strlen(module->doc) > 20 && (unsigned)module->variable < EGD_VARIABLE_COUNT;
  }
  ok(complete, "every module has its name and doc");
  for (unsigned variable = 0; variable < EGD_VARIABLE_COUNT; variable++)
    ok(egd_registry_nth(&registry, variable, 0) != NULL, "%s has values", egd_variable_name(variable));

  // A value that the parser has never heard of, with a parameter.
  static const char *const phrases[] = {"flash of <count> neighbours|neighbors", NULL};
  static const struct egd_module flash = {.abi_version = EGD_MODULE_ABI_VERSION,
                                          .variable = EGD_VARIABLE_STABLE_STORAGE,
                                          .value = "flash",
                                          .name = "flash of neighbours",
                                          .phrases = phrases,
                                          .doc = "Determinants in the flash memory of neighbours.",
                                          .traits = EGD_TRAIT_OUTLIVES_PROCESS | EGD_TRAIT_OUTLIVES_NODES,
                                          .parameter_min = 1,
                                          .parameter_max = 9,
                                          .bind = bind_test};
  static const char text[] =
      "receive: determinant : {source, ssn, dest, dsn} Log determinant synchronously on Flash of 4 neighbors\n" SEND
      "Independent checkpoint asynchronously on NFS disk Implementation : full";
  ok(egd_spec_parse(text, strlen(text), "t", &registry, remember, NULL, &spec) == EGD_ERR_INVALID &&
         strncmp(said, "t:1:82: unknown stable-storage 'Flash", 37) == 0,
     "unknown before it is added");
  ok(egd_registry_add(&registry, &flash) == NULL && registry.count == before + 1, "a value is added");
  ok(egd_spec_parse(text, strlen(text), "t", &registry, remember, NULL, &spec) == EGD_OK &&
         egd_spec_check(spec, NULL, NULL, &guarantees) == EGD_OK && guarantees.node_failures == 4 &&
         egd_plan_bind(spec, text, strlen(text), &plan, NULL, NULL) == EGD_OK && plan.f == 4,
     "the parser, the checker and synthesis understand it");
  egd_spec_destroy(spec);
  ok(egd_registry_add(&registry, &flash) != NULL, "a second module for a value is refused");
  struct egd_module wrong = flash;
  wrong.abi_version++;
  wrong.value = "other";
  ok(egd_registry_add(&registry, &wrong) != NULL, "another version of the interface is refused");
  wrong = flash;
  wrong.value = "other";
  wrong.variable = EGD_VARIABLE_COUNT;
  ok(egd_registry_add(&registry, &wrong) != NULL, "an unknown variable is refused");
  struct egd_module incremental = {.abi_version = EGD_MODULE_ABI_VERSION,
                                   .variable = EGD_VARIABLE_CKPT_IMPL,
                                   .value = "incremental",
                                   .name = "incremental",
                                   .doc = "Only what changed."};
  size_t count = registry.count;
  ok(egd_registry_add(&registry, &incremental) == NULL && registry.count == count,
     "a module takes the place of a value that had none");
}

int main(void) {
  shipped();
  composed();
  registered();
  egd_spec_destroy(NULL);
  return done();
}
