// Catching system calls: Syscall User Dispatch sends every system call of the main thread that is not issued from
// [egd_syscall_begin, egd_syscall_end) to the SIGSYS handler below, which looks up what to do with it (table.c).
//
// The handler has its own stack, so that nothing of the runtime is left on the application's. The application's own
// alternative stack is only remembered: its SA_ONSTACK handlers run on ours, which is large. SIGSYS must never be
// blocked when a trapped call is made (the kernel would kill the process), so every mask that passes by loses it.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include "runtime/libc/internal.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#define DISPATCH_ON 1
#define DISPATCH_BLOCK 1
#define KERNEL_SA_RESTORER 0x04000000ul
#define ALTERNATIVE_STACK (512u << 10)

extern char egd_syscall_begin[], egd_syscall_end[];
void egd_sigreturn(void);

struct egd_libc egd_libc = {.pmi_fd = -1};
unsigned char egd_not_a_child[4096] __attribute__((aligned(4096)));
static unsigned char selector = DISPATCH_BLOCK;
static unsigned char alternative_stack[ALTERNATIVE_STACK] __attribute__((aligned(4096)));

bool egd_take(enum egd_event_kind kind, uint32_t aux, int64_t *ret_value, void *data, size_t size, size_t *ret_length) {
  enum egd_signals_ran ran = egd_rank.replaying ? egd_signals_scheduled() : EGD_SIGNALS_NONE;
  bool taken = egd_event_replay(kind, aux, ret_value, data, size, ret_length);
  // A call that a signal of the log had interrupted when the log ended goes on where it was.
  if (!taken && ran != EGD_SIGNALS_NONE) egd_libc.interrupted = ran;
  return taken;
}

enum egd_signals_ran egd_interrupted_before(void) {
  enum egd_signals_ran ran = egd_libc.interrupted;
  egd_libc.interrupted = EGD_SIGNALS_NONE;
  return ran;
}

enum egd_signals_ran egd_blocked(struct egd_call *c, long *ret_result) {
  enum egd_signals_ran ran = egd_interrupted_before();
  if (ran != EGD_SIGNALS_NONE) {
    *ret_result = -EINTR;
    return ran;
  }
  if (egd_signals_heeded())
    *ret_result = egd_blocking_syscall6(c->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
  else
    *ret_result = egd_raw(c);
  if (*ret_result != -EINTR) return EGD_SIGNALS_FINAL;
  return egd_signals_interrupted();
}

long egd_run(struct egd_call *c, const struct egd_row *row) {
  for (;;) {
    long r;
    enum egd_signals_ran ran = egd_blocked(c, &r);
    if (ran == EGD_SIGNALS_FINAL || (ran == EGD_SIGNALS_RESTART && !(row->flags & EGD_ROW_RESTARTS))) return r;
  }
}

static void trapped(int signal, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  greg_t *g = uc->uc_mcontext.gregs;
  struct egd_call call = {info->si_syscall, {g[REG_RDI], g[REG_RSI], g[REG_RDX], g[REG_R10], g[REG_R8], g[REG_R9]}, uc};
  if ((unsigned)call.nr == EGD_NR_CLONE_REPORT) {
    egd_clone_report_done(&call);
    return;
  }
  if (egd_libc.in_vdso) {
    g[REG_RAX] = egd_raw(&call);
    return;
  }
  const struct egd_row *row = egd_row_find(call.nr);
  egd_libc_event_point();
  egd_rank.in_runtime++;
  egd_libc.interrupted = EGD_SIGNALS_NONE;
  long result = row ? row->policy(&call, row) : egd_raw(&call);
  egd_rank.in_runtime--;
  g[REG_RAX] = result;
  if (row && row->policy == egd_policy_clone) return; // on its way through a stub
  // A handler that runs now sees the call as done; its own calls come back here, nested.
  egd_libc_event_point();
  if (egd_rank.logging && !egd_rank.in_runtime) egd_safe_point();
}

// Everything that is state of the kernel's process and not of its memory.
static void arm(void) {
  egd_sys3(SYS_madvise, egd_not_a_child, sizeof egd_not_a_child, MADV_WIPEONFORK);
  egd_not_a_child[0] = 1;
  egd_libc.real_pid = (int)egd_sys0(SYS_getpid);
  egd_vdso_find();
  stack_t stack = {.ss_sp = alternative_stack, .ss_size = sizeof alternative_stack};
  egd_sys2(SYS_sigaltstack, &stack, NULL); // EPERM while we stand on it: then the image brought it back already
  struct {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
  } action = {trapped, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | KERNEL_SA_RESTORER, egd_sigreturn, 0};
  long r = egd_sys4(SYS_rt_sigaction, SIGSYS, &action, NULL, 8);
  uint64_t mask = 1ull << (SIGSYS - 1);
  if (r == 0) r = egd_sys4(SYS_rt_sigprocmask, SIG_UNBLOCK, &mask, NULL, 8);
  if (r == 0)
    r = egd_sys5(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, DISPATCH_ON, egd_syscall_begin,
                 egd_syscall_end - egd_syscall_begin, &selector);
  if (r != 0)
    egd_die("this kernel refuses Syscall User Dispatch (error %d); Egida needs Linux 5.11 or later on x86_64 with "
            "CONFIG_GENERIC_ENTRY",
            (int)-r);
  egd_libc.armed = true;
}

extern char **environ;
static const char *variable(const char *name) {
  size_t length = strlen(name);
  for (char **e = environ; e && *e; e++)
    if (strncmp(*e, name, length) == 0 && (*e)[length] == '=') return *e + length + 1;
  return NULL;
}

void egd_libc_init(void) {
  egd_libc.main_thread = (uintptr_t)__builtin_thread_pointer();
  egd_libc.birth_pid = (int)egd_sys0(SYS_getpid);
  egd_libc.birth_ppid = (int)egd_sys0(SYS_getppid);
  egd_sys1(SYS_uname, &egd_libc.names);
  egd_vdso_find();
  egd_libc.start_ns = egd_libc_raw_clock_ns(0);
  if (!egd_rank.seg) return;
  const char *degraded = variable("EGIDA_ALLOW_DEGRADED"), *pmi = variable("PMI_FD");
  egd_libc.allow_degraded = degraded && strcmp(degraded, "1") == 0;
  if (pmi && *pmi) {
    egd_libc.pmi_fd = 0;
    for (; *pmi >= '0' && *pmi <= '9'; pmi++) egd_libc.pmi_fd = 10 * egd_libc.pmi_fd + (*pmi - '0');
  }
  egd_rows_init();
  egd_descriptors_init();
  egd_signals_init();
  arm();
}

void egd_libc_logging_on(void) {
  // MPI_Init may run in another thread than the constructors did only if that thread has taken over all MPI calls: its
  // calls would not be trapped.
  if (egd_rank.seg && (uintptr_t)__builtin_thread_pointer() != egd_libc.main_thread)
    egd_die("MPI_Init was called by a thread other than the first one; Egida protects programs whose first thread "
            "calls MPI");
}

void egd_libc_image_begun(void) {
  egd_not_a_child[0] = 1;
}

void egd_libc_restored(void) {
  arm();
  egd_descriptors_restored();
}

void egd_libc_live(void) {
  egd_clocks_live();
}
