// The process as the application sees it: its number stays that of the first incarnation; children and threads can be
// made, but a child is not repeated in replay; leaving is visible to others.
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include "runtime/libc/internal.h"

#define STUBS 32
#define STUB_SIZE 32
#define SYSCALL_USER_DISPATCH_OPTION 59

extern char egd_clone_stubs[];
extern uintptr_t egd_clone_returns[STUBS];

// The call on its way through a stub. Only the main thread is trapped, so there is one at most.
static struct {
  uintptr_t origin;
  greg_t rdi;
  long nr; // 0: a thread, whose number the application does not see
} cloning;

static long flags_of(const struct egd_call *c) {
  switch (c->nr) {
  case SYS_fork:
    return SIGCHLD;
  case SYS_vfork:
    return CLONE_VM | CLONE_VFORK | SIGCHLD;
  case SYS_clone3:
    return (long)((const struct clone_args *)c->a[0])->flags;
  default:
    return c->a[0];
  }
}

long egd_policy_clone(struct egd_call *c, const struct egd_row *row) {
  long flags = flags_of(c);
  greg_t *g = c->context->uc_mcontext.gregs;
  cloning.nr = 0;
  if (flags & CLONE_THREAD) {
    if (egd_rank.cb) atomic_fetch_or(&egd_rank.cb->notes, EGD_NOTE_THREADS);
  } else if (egd_rank.logging) {
    int64_t value;
    if (egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, NULL, 0, NULL)) return value;
    EGD_SAY_ONCE("the program starts child processes: they are not protected, and not repeated after a failure");
    egd_visible_act();
    cloning.nr = c->nr;
  }
  int slot = 0;
  while (slot < STUBS && egd_clone_returns[slot] && egd_clone_returns[slot] != (uintptr_t)g[REG_RIP]) slot++;
  if (slot == STUBS) egd_die("the program calls clone from more than %d places; Egida cannot follow it", STUBS);
  egd_clone_returns[slot] = (uintptr_t)g[REG_RIP];
  cloning.origin = (uintptr_t)g[REG_RIP];
  cloning.rdi = g[REG_RDI];
  g[REG_RIP] = (greg_t)(uintptr_t)(egd_clone_stubs + slot * STUB_SIZE);
  return c->nr; // what the stub calls
}

void egd_clone_report_done(struct egd_call *c) {
  greg_t *g = c->context->uc_mcontext.gregs;
  if (cloning.nr) egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)cloning.nr, c->a[0], NULL, 0);
  g[REG_RAX] = c->a[0];
  g[REG_RDI] = cloning.rdi;
  g[REG_RIP] = (greg_t)cloning.origin;
}

// ---- names -----------------------------------------------------------------------------------------------------------

long egd_policy_getpid(struct egd_call *c, const struct egd_row *row) {
  return egd_libc.birth_pid;
}
long egd_policy_gettid(struct egd_call *c, const struct egd_row *row) {
  return egd_libc.birth_pid;
}
long egd_policy_getppid(struct egd_call *c, const struct egd_row *row) {
  return egd_libc.birth_ppid;
}

long egd_policy_uname(struct egd_call *c, const struct egd_row *row) {
  if (!c->a[0]) return -EFAULT;
  memcpy((void *)c->a[0], &egd_libc.names, sizeof egd_libc.names);
  return 0;
}

// Cheap ways to the same answers.
EGD_EXPORT pid_t getpid(void);
EGD_EXPORT pid_t getpid(void) {
  return egd_libc.armed && egd_traced() ? egd_libc.birth_pid : (pid_t)egd_sys0(SYS_getpid);
}
EGD_EXPORT pid_t getppid(void);
EGD_EXPORT pid_t getppid(void) {
  return egd_libc.armed && egd_traced() ? egd_libc.birth_ppid : (pid_t)egd_sys0(SYS_getppid);
}

static bool synchronous(long signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL || signal == SIGTRAP;
}

// kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo: the rank's number is translated to that of this incarnation.
long egd_policy_kill(struct egd_call *c, const struct egd_row *row) {
  bool group_too = c->nr == SYS_tgkill || c->nr == SYS_rt_tgsigqueueinfo;
  bool self = c->a[0] == egd_libc.birth_pid && (!group_too || c->a[1] == egd_libc.birth_pid);
  long signal = c->a[group_too ? 2 : 1];
  if (c->a[0] == egd_libc.birth_pid) c->a[0] = egd_libc.real_pid;
  if (group_too && c->a[1] == egd_libc.birth_pid) c->a[1] = egd_libc.real_pid;
  // The handlers of these run at once, outside of the log.
  if (!egd_rank.logging || (self && synchronous(signal))) return egd_raw(c);
  int64_t value;
  if (egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, NULL, 0, NULL)) {
    // The signal is raised again; if the log has its delivery, that takes it away.
    if (self && value == 0 && egd_signals_wrapped(signal)) egd_raw(c);
    return value;
  }
  if (signal != 0) egd_visible_act();
  long r = egd_raw(c);
  egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, r, NULL, 0);
  return r;
}

long egd_policy_exit(struct egd_call *c, const struct egd_row *row) {
  egd_visible_act();
  return egd_raw(c);
}

long egd_policy_prctl(struct egd_call *c, const struct egd_row *row) {
  if (c->a[0] == SYSCALL_USER_DISPATCH_OPTION) return -EINVAL; // ours
  return egd_raw(c);
}
