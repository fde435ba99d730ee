# Entry of the static loader and the few library functions that the compiler asks for.
  .text
  .globl _start
  .type _start, @function
_start:
  xor %ebp, %ebp
  mov %rsp, %rdi
  lea egd_loader_stack_end(%rip), %rsp
  call egd_loader_main
  hlt
  .size _start, . - _start

# long egd_loader_thread(flags, stack, parent_tid, child_tid, tls, argument): the new thread calls egd_loader_thread_main(argument).
  .globl egd_loader_thread
  .type egd_loader_thread, @function
egd_loader_thread:
  push %r12
  mov %r9, %r12
  mov %rcx, %r10
  mov $56, %eax
  syscall
  test %rax, %rax
  jnz 1f
  xor %ebp, %ebp
  mov %r12, %rdi
  call egd_loader_thread_main
  hlt
1:
  pop %r12
  ret
  .size egd_loader_thread, . - egd_loader_thread

  .globl memcpy, memmove, memset, memcmp, strlen
  .type memcpy, @function
memcpy:
  mov %rdi, %rax
  mov %rdx, %rcx
  rep movsb
  ret
  .type memmove, @function
memmove:
  mov %rdi, %rax
  mov %rdx, %rcx
  mov %rdi, %r8
  sub %rsi, %r8
  cmp %rdx, %r8
  jb 1f
  rep movsb
  ret
1:
  lea -1(%rdi,%rdx), %rdi
  lea -1(%rsi,%rdx), %rsi
  std
  rep movsb
  cld
  ret
  .type memset, @function
memset:
  mov %rdi, %r8
  mov %esi, %eax
  mov %rdx, %rcx
  rep stosb
  mov %r8, %rax
  ret
  .type memcmp, @function
memcmp:
  xor %eax, %eax
  mov %rdx, %rcx
  test %rcx, %rcx
  jz 1f
  repe cmpsb
  je 1f
  movzbl -1(%rdi), %eax
  movzbl -1(%rsi), %ecx
  sub %ecx, %eax
1:
  ret
  .type strlen, @function
strlen:
  mov %rdi, %rax
2:
  cmpb $0, (%rax)
  je 3f
  inc %rax
  jmp 2b
3:
  sub %rdi, %rax
  ret

  .bss
  .balign 64
  .skip 65536
egd_loader_stack_end:
  .section .note.GNU-stack, "", @progbits
