// Shared by the files of runtime/libc only.
#ifndef EGIDA_RUNTIME_LIBC_INTERNAL_H
#define EGIDA_RUNTIME_LIBC_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/utsname.h>
#include <ucontext.h>
#include "runtime/libc/libc.h"
#include "runtime/rank.h"
#include "runtime/syscall.h"

#define EGD_EXPORT __attribute__((visibility("default")))

// A trapped system call.
struct egd_call {
  long nr;
  long a[6];
  ucontext_t *context; // registers that the application gets back
};

// Sizes of what a call writes to the application's memory, where they are no constant.
enum {
  EGD_OUT_RESULT = -1, // as many bytes as the result says
  EGD_OUT_POLL = -2,   // a[1] struct pollfd
  EGD_OUT_FDSET = -3,  // descriptor sets for a[0] descriptors
  EGD_OUT_VECTOR = -4, // a[0] array of a[1] bytes
};
#define OUTS 4
struct egd_out {
  int8_t arg; // 1-based number of the argument that points to it; 0: none
  int16_t size;
};

enum egd_row_flags {
  EGD_ROW_RESTARTS = 1, // SA_RESTART handlers restart it
  EGD_ROW_RERUN = 4,    // done again in replay (kernel state of this process), but the log says what it answers
  EGD_ROW_CREATES = 8,  // file change: found done if the target exists and did not before
  EGD_ROW_REMOVES = 16, // file change: found done if the target is gone and existed before
  EGD_ROW_AT = 32,      // the target's argument comes after the descriptor of its folder
};

struct egd_row;
typedef long egd_policy(struct egd_call *call, const struct egd_row *row);
struct egd_row {
  int nr;
  egd_policy *policy;
  struct egd_out out[OUTS];
  uint8_t flags;
  int8_t target; // 1-based number of the path that a file change creates or removes
};

// ---- dispatch.c ----
enum egd_signals_ran {
  EGD_SIGNALS_NONE = 0,    // the interruption was none of the application's business
  EGD_SIGNALS_RESTART = 1, // all handlers that ran have SA_RESTART
  EGD_SIGNALS_FINAL = 2,
};
struct egd_libc {
  bool armed;                // Syscall User Dispatch is on
  bool allow_degraded;       // EGIDA_ALLOW_DEGRADED=1
  uintptr_t main_thread;     // thread pointer of the only thread whose events count
  int64_t start_ns;          // CLOCK_REALTIME at the start: younger files may be the job's own
  int pmi_fd;                // -1: none
  int birth_pid, birth_ppid; // what the application knows
  int real_pid;              // of this incarnation
  struct utsname names;
  enum egd_signals_ran interrupted; // the call under way, by signals that the log had last
  unsigned in_vdso;                 // a vDSO function may fall back to a system call, which is then ours
};
extern struct egd_libc egd_libc;
// One page that forked children find empty: tells the rank from its children without a system call.
extern unsigned char egd_not_a_child[4096];

/// Is the caller the rank's main thread, and not a child process or a compute thread?
static inline bool egd_traced(void) {
  return *(volatile unsigned char *)egd_not_a_child && (uintptr_t)__builtin_thread_pointer() == egd_libc.main_thread;
}
static inline long egd_raw(const struct egd_call *c) {
  return egd_syscall6(c->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
}
/// egd_event_replay, but signals that the log has before this event are delivered first.
bool egd_take(enum egd_event_kind kind, uint32_t aux, int64_t *ret_value, void *data, size_t size, size_t *ret_length);
/// Did a signal at the end of the log interrupt the call that replay has come to? Asked once.
enum egd_signals_ran egd_interrupted_before(void);
/// Run the call once; what interrupted it is delivered. EGD_SIGNALS_FINAL: *ret_result is what the application gets.
enum egd_signals_ran egd_blocked(struct egd_call *call, long *ret_result);
/// Run the call; a signal that interrupts it is delivered, and the call restarted where the handler asks for that.
long egd_run(struct egd_call *call, const struct egd_row *row);
/// egd_visible_act between an intent and its operation. True: this rank goes on from an image taken during the wait, in a
/// later incarnation: the operation may have been done and its result may stand in the log.
bool egd_act_after_intent(void);
/// egd_say once per `told`.
#define EGD_SAY_ONCE(...)                                                                                              \
  do {                                                                                                                 \
    static bool told;                                                                                                  \
    if (!told) {                                                                                                       \
      told = true;                                                                                                     \
      egd_say(__VA_ARGS__);                                                                                            \
    }                                                                                                                  \
  } while (0)

// ---- table.c ----
const struct egd_row *egd_row_find(long nr);
void egd_rows_init(void);

// ---- clocks.c ----
void egd_vdso_find(void);
int egd_clock_read(int clock, int64_t *ret_ns);
void egd_clocks_live(void);
void egd_random_fill(void *to, size_t length);
egd_policy egd_policy_clock, egd_policy_time, egd_policy_gettimeofday, egd_policy_random, egd_policy_sleep;

// ---- process.c ----
#define EGD_NR_CLONE_REPORT 0x65676401
void egd_clone_report_done(struct egd_call *call);
egd_policy egd_policy_clone, egd_policy_getpid, egd_policy_getppid, egd_policy_gettid, egd_policy_kill,
    egd_policy_uname, egd_policy_exit, egd_policy_prctl;

// ---- signals.c ----
void egd_signals_init(void);
enum egd_signals_ran egd_signals_scheduled(void);
/// May a call that waits look at the marks? False: those there are blocked by the application.
bool egd_signals_heeded(void);
/// Does the application have a handler for the signal that runs at event points only?
bool egd_signals_wrapped(long signal);
long egd_blocking_syscall6(long nr, long a, long b, long c, long d, long e, long f);
/// Deliver what arrived while a call was blocked.
enum egd_signals_ran egd_signals_interrupted(void);
egd_policy egd_policy_sigaction, egd_policy_sigprocmask, egd_policy_sigaltstack, egd_policy_sigreturn,
    egd_policy_sigsuspend, egd_policy_masked_wait;

// ---- descriptors.c ----
enum egd_file_kind {
  EGD_FILE_STDOUT = 1, // numbers are those of the streams
  EGD_FILE_STDERR = 2,
  EGD_FILE_STDIN = 3, // the job's standard input (a spool file)
  EGD_FILE_REGULAR = 4,
  EGD_FILE_DIRECTORY = 5,
  EGD_FILE_RANDOM = 6, // /dev/random, /dev/urandom
  EGD_FILE_SINK = 7,   // /dev/null and the like: nothing to protect
  EGD_FILE_STREAM = 8, // sockets, terminals, devices
  EGD_FILE_PMI = 9,    // the connection to the job's PMI service
  EGD_FILE_PIPE = 10,
};
// An open file description, shared by duplicated descriptors.
struct egd_file {
  uint32_t references;
  uint8_t kind;
  bool writable, append;
  bool volatile_reads; // the file may change during the job: what is read goes to the log
  bool lost;           // replay: the file is not there (any more), a memory file stands for it
  uint64_t device, inode;
  int64_t position;       // see egd_file_moved
  int64_t size, mtime_ns; // when it was opened
  uint32_t path_size;
  char path[];
};
void egd_descriptors_init(void);
void egd_descriptors_restored(void);
/// Remember the position of a file that stands under 0, 1 or 2: images do not save these descriptors.
void egd_file_moved(long fd, struct egd_file *file);
/// NULL: not an open descriptor, or one of the runtime's.
struct egd_file *egd_file_of(long fd);
struct egd_file *egd_file_classify(long fd, const char *path);
/// `path` made absolute as far as the working directory decides (no links are followed).
struct egd_path {
  char text[4096];
};
void egd_absolute(long folder, const char *path, struct egd_path *ret_path);
void egd_file_set(long fd, struct egd_file *file);
void egd_file_drop(long fd);
bool egd_fd_is_ours(long fd);
bool egd_fd_is_pseudo(long fd);
bool egd_pipe_is_private(const struct egd_file *end);
struct egd_file *egd_file_next(long *fd);
egd_policy egd_policy_close, egd_policy_close_range, egd_policy_dup, egd_policy_fcntl, egd_policy_pipe,
    egd_policy_socket, egd_policy_connect, egd_policy_mmap, egd_policy_refuse, egd_policy_lseek, egd_policy_ioctl,
    egd_policy_getdents;

// ---- files.c ----
egd_policy egd_policy_open, egd_policy_change, egd_policy_rename;
// ---- streams.c ----
egd_policy egd_policy_read, egd_policy_write;

#endif
