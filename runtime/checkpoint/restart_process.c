// The last steps: signals, threads, timers; then the image's code runs.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include "runtime/checkpoint/restart.h"
#include "runtime/checkpoint/text.h"
#include "runtime/syscall.h"

#define ARCH_SET_GS_NUMBER 0x1001
#define ARCH_SET_FS_NUMBER 0x1002
#define RSEQ_SIGNATURE 0x53053053
// As pthread_create asks for: memory, files, handlers, thread group, semaphores' undo, TLS and the two tid addresses.
#define THREAD_FLAGS 0x3d0f00ull
#define CREATE_TIMER_WITH_ID 77 // PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15

// What each thread must do for itself.
static void restore_own_state(const struct egd_image_thread *thread) {
  if (thread->gs_base != 0) egd_sys2(SYS_arch_prctl, ARCH_SET_GS_NUMBER, thread->gs_base);
  if (thread->robust_head != 0) egd_sys2(SYS_set_robust_list, thread->robust_head, thread->robust_length);
  if (thread->rseq != 0) {
    *(volatile uint64_t *)(thread->rseq + 8) = 0; // no critical section is under way
    egd_sys4(SYS_rseq, thread->rseq, thread->rseq_length, 0, RSEQ_SIGNATURE);
  }
  stack_t stack = {.ss_sp = (void *)thread->altstack_base,
                   .ss_flags = (int)thread->altstack_flags,
                   .ss_size = thread->altstack_size};
  egd_sys2(SYS_sigaltstack, &stack, NULL);
  egd_sys2(SYS_prctl, PR_SET_NAME, thread->comm);
}

void egd_loader_thread_main(const struct egd_image_thread *thread) {
  restore_own_state(thread);
  egd_context_resume(&thread->context);
}

static void start_threads(void) {
  long at = egd_sys6(SYS_mmap, EGD_LOADER_TIDS, egd_loader.nthreads * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at < 0) egd_refuse("no memory", NULL, at);
  egd_loader.tids = (uint32_t *)EGD_LOADER_TIDS;
  for (size_t i = 0; i < egd_loader.nthreads; i++) {
    const struct egd_image_thread *thread = &egd_loader.threads[i];
    if (thread->flags & EGD_THREAD_LEADER) {
      egd_loader.tids[i] = (uint32_t)egd_sys0(SYS_getpid);
      continue;
    }
    // On its own stack, below what it was using.
    uint64_t stack = (thread->context.rsp - 512) & ~15ull;
    long tid =
        egd_loader_thread(THREAD_FLAGS, stack, thread->tid_address, thread->tid_address, thread->fs_base, thread);
    if (tid < 0) egd_refuse("a thread cannot be started", NULL, tid);
    egd_loader.tids[i] = (uint32_t)tid;
  }
}

static void restore_timers(void) {
  for (int i = 0; i < 3; i++) {
    const struct egd_image_timer_value *value = &egd_loader.process->timers[i];
    struct itimerval timer = {{value->interval_s, value->interval_sub}, {value->value_s, value->value_sub}};
    egd_sys3(SYS_setitimer, i, &timer, NULL);
  }
  bool by_id = egd_loader.ntimers > 0 && egd_sys5(SYS_prctl, CREATE_TIMER_WITH_ID, 1, 0, 0, 0) == 0;
  for (size_t i = 0; i < egd_loader.ntimers; i++) {
    const struct egd_image_timer *timer = &egd_loader.timers[i];
    struct sigevent event = {.sigev_notify = timer->notify, .sigev_signo = timer->signal};
    event.sigev_value.sival_ptr = (void *)timer->value_pointer;
    if (timer->notify & SIGEV_THREAD_ID)
      for (size_t t = 0; t < egd_loader.nthreads; t++)
        if (egd_loader.threads[t].tid == timer->thread) event._sigev_un._tid = (int)egd_loader.tids[t];
    int id = timer->id;
    long status = egd_sys3(SYS_timer_create, timer->clock, &event, &id);
    // Older kernels count up.
    while (status == 0 && id < timer->id) {
      egd_sys1(SYS_timer_delete, id);
      status = egd_sys3(SYS_timer_create, timer->clock, &event, &id);
    }
    if (status < 0 || id != timer->id) egd_refuse("a timer cannot be made again", NULL, status);
    struct itimerspec value = {{timer->value.interval_s, timer->value.interval_sub},
                               {timer->value.value_s, timer->value.value_sub}};
    egd_sys4(SYS_timer_settime, id, 0, &value, NULL);
  }
  if (by_id) egd_sys5(SYS_prctl, CREATE_TIMER_WITH_ID, 0, 0, 0, 0);
}

void egd_loader_continue(void) {
  const struct egd_image_process *process = egd_loader.process;
  const struct egd_image_thread *leader = NULL;
  for (size_t i = 0; i < egd_loader.nthreads; i++)
    if (egd_loader.threads[i].flags & EGD_THREAD_LEADER) leader = &egd_loader.threads[i];

  for (int i = 1; i <= 64; i++)
    if (i != SIGKILL && i != SIGSTOP) egd_sys4(SYS_rt_sigaction, i, &egd_loader.signals[i - 1], NULL, 8);
  egd_sys1(SYS_umask, process->umask);
  long status = egd_sys1(SYS_chdir, egd_loader.strings + process->cwd);
  if (status < 0) egd_refuse("its working folder cannot be entered", egd_loader.strings + process->cwd, status);
  egd_sys2(SYS_prctl, PR_SET_DUMPABLE, process->dumpable);
  if (process->thp_disable) egd_sys5(SYS_prctl, PR_SET_THP_DISABLE, 1, 0, 0, 0);

  uint32_t tid = (uint32_t)egd_sys1(SYS_set_tid_address, leader->tid_address);
  if (leader->tid_address != 0) *(volatile uint32_t *)leader->tid_address = tid;
  egd_sys2(SYS_arch_prctl, ARCH_SET_FS_NUMBER, leader->fs_base);
  struct egd_resume_info *info = (void *)process->resume_info;
  info->threads = (uint32_t)egd_loader.nthreads;
  start_threads();
  restore_own_state(leader);
  restore_timers();
  for (int i = 1; i <= 64; i++)
    if (process->pending >> (i - 1) & 1) egd_sys3(SYS_tgkill, tid, tid, i);
  egd_sys1(SYS_close, egd_loader.image);
  if (egd_loader.messages > 2) egd_sys1(SYS_close, egd_loader.messages);
  egd_context_resume(&leader->context);
}
