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
  .balign 64
egd_syscall_end:
  .section .note.GNU-stack, "", @progbits
