// Signals of the application. An asynchronous signal with a handler of the application only leaves a mark when it
// arrives; the handler runs at the next event point, and the log says at which. Signals that the program causes itself
// at an instruction (SIGSEGV, SIGFPE …) go straight to its handler: replay causes them again.
//
// Position: the number of event points passed since the first handler was installed. In replay the next signal of the log
// is taken as soon as it is the next event, and waits for its position. That none came is known as for messages: each
// event point counts as a progress call that admits nothing, and a replay takes no new signal before it is over.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include "runtime/libc/internal.h"

#define SIGNALS 64
#define KERNEL_SA_RESTORER 0x04000000ul
#define BIT(signal) (1ull << ((signal)-1))
#define PROTECTED (BIT(SIGSYS) | BIT(EGD_IMAGE_SIGNAL)) // ours, never blocked

struct kernel_action {
  void *handler;
  unsigned long flags;
  void *restorer;
  uint64_t mask;
};

void egd_sigreturn(void);

static struct kernel_action actions[SIGNALS + 1]; // as the application installed them
static uint64_t wrapped;                          // signals whose handlers we stand in for
extern _Atomic uint64_t egd_signals_marked;       // came, not yet delivered (runtime/syscall.S)
extern char egd_blocking_entered[], egd_blocking_marked[];
static siginfo_t arrived_info[SIGNALS + 1];
static uint64_t points;
static struct {
  int signal; // 0: none
  uint64_t at;
  siginfo_t info;
} scheduled;
static stack_t alternative; // what the application believes to have
static ucontext_t no_context;

static bool straight(long signal) {
  switch (signal) {
  case SIGSEGV:
  case SIGBUS:
  case SIGFPE:
  case SIGILL:
  case SIGTRAP: // caused by an instruction
  case SIGKILL:
  case SIGSTOP:
  case 32:
  case 33: // of the thread library
    return true;
  default:
    return false;
  }
}

static void call_handler(int signal, siginfo_t *info) {
  struct kernel_action act = actions[signal];
  if (act.handler == (void *)SIG_DFL || act.handler == (void *)SIG_IGN) return;
  if (act.flags & SA_RESETHAND) {
    struct kernel_action none = {
        .handler = (void *)SIG_DFL, .flags = KERNEL_SA_RESTORER, .restorer = (void *)egd_sigreturn};
    egd_sys4(SYS_rt_sigaction, signal, &none, NULL, 8);
    actions[signal].handler = (void *)SIG_DFL;
    wrapped &= ~BIT(signal);
  }
  uint64_t block = (act.mask | ((act.flags & SA_NODEFER) ? 0 : BIT(signal))) & ~PROTECTED, old;
  egd_sys4(SYS_rt_sigprocmask, SIG_BLOCK, &block, &old, 8);
  unsigned depth = egd_rank.in_runtime;
  egd_rank.in_runtime = 0;
  siginfo_t copy = *info;
  if (act.flags & SA_SIGINFO)
    ((void (*)(int, siginfo_t *, void *))act.handler)(signal, &copy, &no_context);
  else
    ((void (*)(int))act.handler)(signal);
  egd_rank.in_runtime = depth;
  egd_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
}

static void arrived(int signal, siginfo_t *info, void *context) {
  if (!*(volatile unsigned char *)egd_not_a_child) { // a child process: nobody would look at the mark
    struct kernel_action act = actions[signal];
    if (act.flags & SA_SIGINFO)
      ((void (*)(int, siginfo_t *, void *))act.handler)(signal, info, context);
    else
      ((void (*)(int))act.handler)(signal);
    return;
  }
  arrived_info[signal] = *info;
  atomic_fetch_or(&egd_signals_marked, BIT(signal));
  greg_t *next = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  if (*next >= (greg_t)(uintptr_t)egd_blocking_syscall6 && *next < (greg_t)(uintptr_t)egd_blocking_entered)
    *next = (greg_t)(uintptr_t)egd_blocking_marked;
}

bool egd_signals_wrapped(long signal) {
  return signal >= 1 && signal <= SIGNALS && (wrapped & BIT(signal));
}

bool egd_signals_heeded(void) {
  uint64_t marks = atomic_load(&egd_signals_marked), mask = 0;
  if (marks) egd_sys4(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
  return marks == 0 || (marks & ~mask);
}

// The lowest pending signal that the application does not block now; its mark is removed.
static int next_arrived(void) {
  uint64_t marks = atomic_load(&egd_signals_marked);
  if (!marks) return 0;
  uint64_t mask = 0;
  egd_sys4(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
  marks &= ~mask;
  if (!marks) return 0;
  int signal = __builtin_ctzll(marks) + 1;
  atomic_fetch_and(&egd_signals_marked, ~BIT(signal));
  return signal;
}

static bool deliver_live(void) {
  int signal = next_arrived();
  if (!signal) return false;
  siginfo_t info = arrived_info[signal];
  egd_rank.in_runtime++;
  egd_event_log(EGD_EVENT_SIGNAL, (uint32_t)signal, (int64_t)points, &info, sizeof info);
  egd_rank.in_runtime--;
  call_handler(signal, &info);
  return true;
}

// A timer that went off in the log and was started again by the replay must not go off twice.
static void disarm(int signal) {
  int which = signal == SIGALRM     ? ITIMER_REAL
              : signal == SIGVTALRM ? ITIMER_VIRTUAL
              : signal == SIGPROF   ? ITIMER_PROF
                                    : -1;
  if (which < 0) return;
  struct itimerval timer;
  egd_sys2(SYS_getitimer, which, &timer);
  if (timer.it_interval.tv_sec || timer.it_interval.tv_usec) return;
  memset(&timer, 0, sizeof timer);
  egd_sys3(SYS_setitimer, which, &timer, NULL);
  atomic_fetch_and(&egd_signals_marked, ~BIT(signal));
}

static void deliver_scheduled(void) {
  int signal = scheduled.signal;
  siginfo_t info = scheduled.info;
  scheduled.signal = 0;
  points = scheduled.at;
  atomic_fetch_and(&egd_signals_marked, ~BIT(signal)); // raised again by the replay
  disarm(signal);
  call_handler(signal, &info);
}

static void schedule(void) {
  for (uint64_t left = wrapped; left && !scheduled.signal; left &= left - 1) {
    int signal = __builtin_ctzll(left) + 1;
    int64_t at;
    if (!egd_event_next_is(EGD_EVENT_SIGNAL, (uint32_t)signal)) continue;
    if (!egd_event_replay(EGD_EVENT_SIGNAL, (uint32_t)signal, &at, &scheduled.info, sizeof scheduled.info, NULL))
      return;
    scheduled.signal = signal;
    scheduled.at = (uint64_t)at;
  }
}

void egd_libc_event_point(void) {
  if (!wrapped || egd_rank.in_runtime || !egd_traced()) return;
  points++;
  egd_progress_empty();
  for (;;) {
    if (egd_rank.replaying && !scheduled.signal) schedule();
    if (scheduled.signal) {
      if (scheduled.at > points) return;
      deliver_scheduled();
    } else if (egd_rank.replaying || !deliver_live()) {
      return;
    }
  }
}

static void add_outcome(enum egd_signals_ran *ran, bool restarts) {
  if (!restarts)
    *ran = EGD_SIGNALS_FINAL;
  else if (*ran == EGD_SIGNALS_NONE)
    *ran = EGD_SIGNALS_RESTART;
}

// An event is about to be taken: signals that the log has before it came while the call was blocked.
enum egd_signals_ran egd_signals_scheduled(void) {
  enum egd_signals_ran ran = EGD_SIGNALS_NONE;
  for (;;) {
    if (egd_rank.replaying && !scheduled.signal && wrapped) schedule();
    if (!scheduled.signal) return ran;
    add_outcome(&ran, actions[scheduled.signal].flags & SA_RESTART);
    deliver_scheduled();
  }
}

enum egd_signals_ran egd_signals_interrupted(void) {
  enum egd_signals_ran ran = EGD_SIGNALS_NONE;
  for (;;) {
    uint64_t marks = atomic_load(&egd_signals_marked);
    int signal = marks ? __builtin_ctzll(marks) + 1 : 0;
    bool restarts = signal && (actions[signal].flags & SA_RESTART);
    points++;
    if (!deliver_live()) {
      points--;
      return ran;
    }
    add_outcome(&ran, restarts);
  }
}

// Handlers that were there before us are found in the kernel.
void egd_signals_init(void) {
  for (int signal = 1; signal <= SIGNALS; signal++) egd_sys4(SYS_rt_sigaction, signal, NULL, &actions[signal], 8);
}

// ---- system calls ----------------------------------------------------------------------------------------------------

long egd_policy_sigaction(struct egd_call *c, const struct egd_row *row) {
  long signal = c->a[0];
  const struct kernel_action *new = (const void *)c->a[1];
  struct kernel_action *old = (void *)c->a[2];
  if (signal < 1 || signal > SIGNALS || c->a[3] != 8) return -EINVAL;
  if (signal == SIGKILL || signal == SIGSTOP) return egd_raw(c);
  struct kernel_action previous = actions[signal];
  if (new) {
    struct kernel_action wanted = *new, installed = *new;
    installed.mask &= ~PROTECTED;
    installed.flags |= KERNEL_SA_RESTORER;
    installed.restorer = (void *)egd_sigreturn;
    bool handler = wanted.handler != (void *)SIG_DFL && wanted.handler != (void *)SIG_IGN;
    bool wrap = handler && !straight(signal);
    if (wrap) {
      installed.handler = (void *)arrived;
      installed.flags = (wanted.flags & (SA_NOCLDSTOP | SA_NOCLDWAIT)) | SA_SIGINFO | SA_ONSTACK | KERNEL_SA_RESTORER;
    }
    if (!(BIT(signal) & PROTECTED)) { // ours stay; the application believes what it likes
      // Order: a signal that arrives between must find its handler.
      actions[signal] = wanted;
      long r = egd_sys4(SYS_rt_sigaction, signal, &installed, NULL, 8);
      if (r != 0) {
        actions[signal] = previous;
        return r;
      }
      wrapped = wrap ? wrapped | BIT(signal) : wrapped & ~BIT(signal);
      if (!handler) atomic_fetch_and(&egd_signals_marked, ~BIT(signal));
    } else {
      actions[signal] = wanted;
    }
  }
  if (old) *old = previous;
  return 0;
}

long egd_policy_sigprocmask(struct egd_call *c, const struct egd_row *row) {
  uint64_t mask;
  if (c->a[1] && c->a[3] == 8 && c->a[0] != SIG_UNBLOCK) {
    mask = *(const uint64_t *)c->a[1] & ~PROTECTED;
    c->a[1] = (long)&mask;
  }
  long r = egd_raw(c);
  // The return from the trap puts the frame's mask in place.
  if (r == 0) egd_sys4(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &c->context->uc_sigmask, 8);
  return r;
}

// The kernel's alternative stack stays ours (the trap needs it); handlers that ask for one get it.
long egd_policy_sigaltstack(struct egd_call *c, const struct egd_row *row) {
  const stack_t *new = (const void *)c->a[0];
  stack_t *old = (void *)c->a[1];
  stack_t previous = alternative;
  if (!previous.ss_sp) previous.ss_flags = SS_DISABLE;
  if (new) {
    if (new->ss_flags & ~(SS_DISABLE | SS_ONSTACK | (int)(1u << 31))) return -EINVAL;
    if (!(new->ss_flags &SS_DISABLE) && new->ss_size < 2048) return -ENOMEM;
    alternative = (new->ss_flags &SS_DISABLE) ? (stack_t){.ss_flags = SS_DISABLE} : *new;
  }
  if (old) *old = previous;
  return 0;
}

// The frame to return from is the application's: let it return by our untrapped instruction.
long egd_policy_sigreturn(struct egd_call *c, const struct egd_row *row) {
  c->context->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)egd_sigreturn;
  return 0;
}

// pause, sigsuspend: a signal whose mark came before the call must end it as well.
long egd_policy_sigsuspend(struct egd_call *c, const struct egd_row *row) {
  uint64_t all = ~PROTECTED, old, mask;
  int64_t value;
  if (egd_rank.logging && egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, NULL, 0, NULL)) return value;
  egd_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
  mask = c->nr == SYS_pause ? old : *(const uint64_t *)c->a[0] & ~PROTECTED;
  bool over = egd_interrupted_before() != EGD_SIGNALS_NONE;
  while (!over && !(atomic_load(&egd_signals_marked) & ~mask)) {
    egd_sys2(SYS_rt_sigsuspend, &mask, 8);
    if (!wrapped) break; // a straight handler ran
  }
  egd_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
  egd_signals_interrupted();
  egd_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
  egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, -EINTR, NULL, 0);
  return -EINTR;
}
