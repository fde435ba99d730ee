// A rank without a job, for the tests of runtime/libc: events go to a file (EGD_TEST_LOG) that outlives the process, output
// to another (EGD_TEST_OUTPUT: stdout in the first half, stderr in the second). A second run over the same files replays the first and goes on live where it ends.
// EGD_TEST_STOP=N kills the process when event number N would be logged (counted from 1): what it tells of is done, but
// nobody knows. With EGD_TEST_TEAR=1 a write that is cut off there loses its second half first.
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "runtime/libc/intent.h"
#include "runtime/libc/internal.h"
#include "runtime/rank.h"
#include "runtime/syscall.h"

#define LOG_SIZE (64ul << 20)
#define OUTPUT_SIZE (4ul << 20)
#define LOG_BASE ((void *)EGD_SEGMENT_BASE)
#define HEAP_SIZE (64ul << 20)

struct entry {
  uint32_t kind, aux;
  int64_t value;
  uint64_t length;
};
struct log {
  _Atomic uint64_t head; // bytes of entries
  uint64_t events, runs;
  uint64_t output[2]; // bytes of each stream
  int pid, ppid;      // of the first run: a real rank finds them in its image
};

struct egd_rank egd_rank;
static struct log *events;
static unsigned char *output;
static uint64_t position, replay_end, output_position[2], stop;
static bool tears;
static struct egd_intent intent;
static struct egd_segment segment;
static struct egd_rank_cb cb;

static void text(const char *s) {
  egd_sys3(SYS_write, 2, s, strlen(s));
}
static void number(uint64_t n, unsigned base) {
  char digits[24], *at = digits + sizeof digits;
  *--at = 0;
  do *--at = "0123456789abcdef"[n % base];
  while (n /= base);
  text(at);
}
static void say(const char *format, va_list args) {
  text("# ");
  for (const char *f = format; *f; f++) {
    if (*f != '%') {
      egd_sys3(SYS_write, 2, f, 1);
      continue;
    }
    bool wide = *++f == 'l';
    if (wide) f++;
    if (*f == 's') text(va_arg(args, const char *));
    if (*f == 'd') number((uint64_t)va_arg(args, int), 10);
    if (*f == 'u') number(wide ? va_arg(args, uint64_t) : va_arg(args, unsigned), 10);
    if (*f == 'x') number(va_arg(args, uint64_t), 16);
  }
  text("\n");
}
void egd_say(const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(format, args);
  va_end(args);
}
void egd_die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(format, args);
  va_end(args);
  for (;;) egd_sys1(SYS_exit_group, EGD_EXIT_VERDICT);
}

static unsigned char heap[HEAP_SIZE];
static size_t heap_used;
void *egd_calloc(size_t size) {
  void *p = heap + heap_used;
  heap_used += (size + 15) & ~15ul;
  if (heap_used > HEAP_SIZE) egd_die("the test's heap is exhausted");
  return p;
}
void *egd_alloc(size_t size) {
  return egd_calloc(size);
}
void egd_free(void *p, size_t size) {}

static unsigned char *entries(void) {
  return (unsigned char *)(events + 1);
}
static struct entry *next_entry(void) {
  return egd_rank.replaying ? (struct entry *)(entries() + position) : NULL;
}
static uint64_t step(const struct entry *e) {
  return sizeof *e + ((e->length + 7) & ~7ull);
}

bool egd_event_next_is(enum egd_event_kind kind, uint32_t aux) {
  struct entry *e = next_entry();
  return e && position < replay_end && e->kind == kind && e->aux == aux;
}

bool egd_event_pending(void) {
  return egd_rank.replaying && position < replay_end;
}

static bool at_end(void) {
  if (egd_rank.replaying && position >= replay_end) {
    egd_rank.replaying = false;
    egd_libc_live();
  }
  return !egd_rank.replaying;
}

bool egd_event_replay(enum egd_event_kind kind, uint32_t aux, int64_t *ret_value, void *data, size_t size,
                      size_t *ret_length) {
  if (at_end()) return false;
  struct entry *e = next_entry();
  if (e->kind != kind || e->aux != aux)
    egd_die("diverged: event %u/%u is wanted, the log has %u/%u at byte %lu", kind, aux, e->kind, e->aux, position);
  *ret_value = e->value;
  memcpy(data, e + 1, e->length < size ? e->length : size);
  if (ret_length) *ret_length = e->length;
  position += step(e);
  return true;
}

static void tear(void) {
  struct stat st;
  uint64_t end = intent.offset + intent.length;
  if (intent.length == 0 || end <= intent.size_before) return;
  for (int fd = 3; fd < 64; fd++)
    if (egd_sys2(SYS_fstat, fd, &st) == 0 && st.st_ino == intent.inode && (uint64_t)st.st_size == end)
      egd_sys2(SYS_ftruncate, fd,
               intent.offset > intent.size_before ? intent.size_before : intent.offset + intent.length / 2);
}

void egd_event_log(enum egd_event_kind kind, uint32_t aux, int64_t value, const void *data, size_t length) {
  if (!egd_rank.logging) return;
  if (egd_rank.replaying) {
    if (!at_end()) egd_die("event %u/%u is logged in replay", kind, aux);
  }
  if (events->events + 1 == stop) {
    if (tears && kind == EGD_EVENT_SYSCALL) tear();
    egd_sys2(SYS_kill, egd_sys0(SYS_getpid), SIGKILL);
  }
  if (kind == EGD_EVENT_SYSCALL) intent.length = 0;
  if (kind == EGD_EVENT_INTENT) memcpy(&intent, data, sizeof intent);
  struct entry *e = (struct entry *)(entries() + events->head);
  if (events->head + sizeof *e + length > LOG_SIZE - 4096) egd_die("the test's log is full");
  *e = (struct entry){kind, aux, value, length};
  memcpy(e + 1, data, length);
  events->head += step(e);
  events->events++;
}

int64_t egd_output(uint32_t stream, const void *data, size_t length) {
  uint64_t *done = &output_position[stream - 1];
  unsigned char *at = output + (stream - 1) * OUTPUT_SIZE / 2 + *done;
  uint64_t old = events->output[stream - 1] - *done;
  if (old > length) old = length;
  if (*done + length > OUTPUT_SIZE / 2) egd_die("too much output");
  if (memcmp(at, data, old) != 0) egd_die("diverged: other output at byte %lu", *done);
  memcpy(at, data, length);
  *done += length;
  if (events->output[stream - 1] < *done) events->output[stream - 1] = *done;
  return (int64_t)length;
}

void egd_progress_empty(void) {
  at_end();
}
void egd_visible_act(void) {}
void egd_safe_point(void) {}

static const char *variable(char **e, const char *name) {
  for (; *e; e++)
    if (strncmp(*e, name, strlen(name)) == 0 && (*e)[strlen(name)] == '=') return *e + strlen(name) + 1;
  return NULL;
}

static void *map(const char *path, size_t size, void *at) {
  long fd = egd_sys4(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT, 0600);
  egd_sys2(SYS_ftruncate, fd, size);
  long p = egd_sys6(SYS_mmap, at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  egd_sys1(SYS_close, fd);
  if (p < 0) egd_die("cannot map %s", path);
  return (void *)p;
}

__attribute__((constructor)) static void start(int argc, char **argv, char **environment) {
  const char *path = variable(environment, "EGD_TEST_LOG"), *bytes = variable(environment, "EGD_TEST_OUTPUT");
  const char *limit = variable(environment, "EGD_TEST_STOP"), *folder = variable(environment, "EGD_TEST_FOLDER");
  if (!path) return;
  for (char **e = environment; *e; e++) // children are programs like any other
    if (strncmp(*e, "LD_PRELOAD=", 11) == 0) (*e)[0] = 'X';
  events = map(path, LOG_SIZE, LOG_BASE);
  output = map(bytes, OUTPUT_SIZE, (char *)LOG_BASE + LOG_SIZE);
  while (limit && *limit) stop = stop * 10 + (uint64_t)(*limit++ - '0');
  tears = variable(environment, "EGD_TEST_TEAR");
  if (folder) memcpy(segment.job_dir, folder, strlen(folder) + 1);
  segment.started = 1;
  egd_rank = (struct egd_rank){.seg = &segment, .nranks = 1, .cb = &cb};
  egd_libc_init();
  replay_end = events->head;
  egd_rank.replaying = events->runs++ > 0 && replay_end > 0;
  if (!events->pid) {
    events->pid = egd_libc.birth_pid;
    events->ppid = egd_libc.birth_ppid;
  }
  egd_libc.birth_pid = events->pid;
  egd_libc.birth_ppid = events->ppid;
  egd_rank.logging = true;
  egd_libc_logging_on();
}
