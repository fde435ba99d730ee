// Raw system calls for the runtime. All runtime code issues them from the section .egd_syscall of libegida.so, which
// Syscall User Dispatch never traps; errno is not touched. Return value: as the kernel gives it (-errno on failure).
#ifndef EGIDA_RUNTIME_SYSCALL_H
#define EGIDA_RUNTIME_SYSCALL_H

#include <sys/syscall.h>

/// Defined in runtime/syscall.S; six-argument system call. Async-signal-safe.
long egd_syscall6(long nr, long a, long b, long c, long d, long e, long f);

/// Restorer for the runtime's signal handlers: rt_sigreturn from the exempt range. Never called directly.
void egd_sigreturn(void);

#define egd_sys0(nr) egd_syscall6((nr), 0, 0, 0, 0, 0, 0)
#define egd_sys1(nr, a) egd_syscall6((nr), (long)(a), 0, 0, 0, 0, 0)
#define egd_sys2(nr, a, b) egd_syscall6((nr), (long)(a), (long)(b), 0, 0, 0, 0)
#define egd_sys3(nr, a, b, c) egd_syscall6((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define egd_sys4(nr, a, b, c, d) egd_syscall6((nr), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define egd_sys5(nr, a, b, c, d, e) egd_syscall6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define egd_sys6(nr, a, b, c, d, e, f)                                                                                 \
  egd_syscall6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
