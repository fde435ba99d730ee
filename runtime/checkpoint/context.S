# Leaving and continuing a computation: what the System V ABI lets survive a function call (struct egd_context in format.h).
  .text
  .globl egd_context_save
  .hidden egd_context_save
  .type egd_context_save, @function
egd_context_save:
  mov %rbx, 0(%rdi)
  mov %rbp, 8(%rdi)
  mov %r12, 16(%rdi)
  mov %r13, 24(%rdi)
  mov %r14, 32(%rdi)
  mov %r15, 40(%rdi)
  lea 8(%rsp), %rdx
  mov %rdx, 48(%rdi)
  mov (%rsp), %rdx
  mov %rdx, 56(%rdi)
  stmxcsr 64(%rdi)
  movl $0, 68(%rdi)
  fnstcw 68(%rdi)
  xor %eax, %eax
  ret
  .size egd_context_save, . - egd_context_save

  .globl egd_context_resume
  .hidden egd_context_resume
  .type egd_context_resume, @function
egd_context_resume:
  cld
  ldmxcsr 64(%rdi)
  fldcw 68(%rdi)
  mov 0(%rdi), %rbx
  mov 8(%rdi), %rbp
  mov 16(%rdi), %r12
  mov 24(%rdi), %r13
  mov 32(%rdi), %r14
  mov 40(%rdi), %r15
  mov 48(%rdi), %rsp
  mov $1, %eax
  jmp *56(%rdi)
  .size egd_context_resume, . - egd_context_resume
  .section .note.GNU-stack, "", @progbits
