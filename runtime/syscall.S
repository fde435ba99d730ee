# The one place from which the runtime enters the kernel: Syscall User Dispatch exempts exactly the range
# [egd_syscall_begin, egd_syscall_end).
  .section .egd_syscall, "ax", @progbits
  .globl egd_syscall_begin, egd_syscall6, egd_syscall_end
  .hidden egd_syscall_begin, egd_syscall6, egd_syscall_end
  .balign 64
egd_syscall_begin:
  .type egd_syscall6, @function
egd_syscall6:
  mov %rdi, %rax
  mov %rsi, %rdi
  mov %rdx, %rsi
  mov %rcx, %rdx
  mov %r8, %r10
  mov %r9, %r8
  mov 8(%rsp), %r9
  syscall
  ret
  .size egd_syscall6, . - egd_syscall6
  # rt_sigreturn of the runtime's own handlers must not be trapped either.
  .globl egd_sigreturn
  .hidden egd_sigreturn
  .type egd_sigreturn, @function
egd_sigreturn:
  mov $15, %eax
  syscall
  .size egd_sigreturn, . - egd_sigreturn
  # The same, but -EINTR if a signal is marked. The handler that marks one while we are before the system call sends us to
  # egd_blocking_marked: no mark can come between the look and the sleep.
  .globl egd_blocking_syscall6, egd_blocking_entered, egd_blocking_marked
  .hidden egd_blocking_syscall6, egd_blocking_entered, egd_blocking_marked, egd_signals_marked
  .type egd_blocking_syscall6, @function
egd_blocking_syscall6:
  mov %rdi, %rax
  mov %rsi, %rdi
  mov %rdx, %rsi
  mov %rcx, %rdx
  mov %r8, %r10
  mov %r9, %r8
  mov 8(%rsp), %r9
  cmpq $0, egd_signals_marked(%rip)
  jne egd_blocking_marked
  syscall
egd_blocking_entered:
  ret
egd_blocking_marked:
  mov $-4, %rax
  ret
  .size egd_blocking_syscall6, . - egd_blocking_syscall6
  # clone, fork and vfork must not run inside a signal frame: a child that shares memory would destroy it. The handler of
  # the trap sends the application here instead, one stub per place that calls, so that a new thread finds its way
  # back whatever the parent does meanwhile. The parent's result is reported by a call that is trapped again.
  .globl egd_clone_stubs
  .hidden egd_clone_stubs, egd_clone_returns
  .balign 32
egd_clone_stubs:
  .set slot, 0
  .rept 32
  .balign 32
  syscall
  test %rax, %rax
  jnz egd_clone_report
  jmp *(egd_clone_returns + 8 * slot)(%rip)
  .set slot, slot + 1
  .endr
  .balign 64
egd_syscall_end:
  .text
egd_clone_report:
  mov %rax, %rdi
  mov $0x65676401, %eax
  syscall
  ud2
  .globl egd_clone_returns, egd_signals_marked
  .bss
  .balign 64
egd_signals_marked:
  .zero 64
egd_clone_returns:
  .zero 8 * 32
  .section .note.GNU-stack, "", @progbits
