// egd_image_take: stop the threads, capture what a fork would share, fork (or not), write; and the first steps of a new incarnation.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include "runtime/checkpoint/internal.h"
#include "runtime/checkpoint/text.h"
#include "runtime/syscall.h"

#define STOP_TIMEOUT_NS 5000000000ull
#define ARCH_GET_FS_NUMBER 0x1003
#define ARCH_GET_GS_NUMBER 0x1004
#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

// glibc 2.35 and later say where each thread's registered rseq area is.
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

struct kernel_signal {
  void (*handler)(int, siginfo_t *, void *);
  unsigned long flags;
  void *restorer;
  uint64_t mask;
};

// In the image: the threads read it when they continue.
static struct {
  struct egd_image_thread threads[EGD_IMAGE_MAX_THREADS];
  _Atomic uint32_t slots;           // threads that came to the handler, and the caller
  _Atomic uint32_t arrived;         // of them, those whose record is complete
  _Atomic uint32_t round, released; // threads of round r wait until released >= r
  _Atomic uint32_t resumed;         // threads of a new incarnation that are back in their handler
  uint64_t old_mask;
  uint32_t signal; // that stops threads; 0: none was needed so far
  struct egd_resume_info resume;
} stage;

static void futex_wake(_Atomic uint32_t *word) {
  egd_sys3(SYS_futex, word, FUTEX_WAKE, 0x7fffffff);
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value, long timeout_ns) {
  struct timespec timeout = {0, timeout_ns};
  egd_sys4(SYS_futex, word, FUTEX_WAIT, value, timeout_ns > 0 ? &timeout : NULL);
}

static uint64_t now_ns(void) {
  struct timespec now = {0};
  egd_sys2(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void record_thread(struct egd_image_thread *thread, uint32_t flags) {
  __builtin_memset(thread, 0, sizeof *thread);
  uint32_t tid = (uint32_t)egd_sys0(SYS_gettid);
  thread->tid = tid;
  thread->flags = flags | (tid == (uint32_t)egd_sys0(SYS_getpid) ? EGD_THREAD_LEADER : 0);
  egd_sys2(SYS_arch_prctl, ARCH_GET_FS_NUMBER, &thread->fs_base);
  egd_sys2(SYS_arch_prctl, ARCH_GET_GS_NUMBER, &thread->gs_base);
  if (egd_sys2(SYS_prctl, PR_GET_TID_ADDRESS, &thread->tid_address) < 0) {
    // A kernel without CONFIG_CHECKPOINT_RESTORE: glibc 2.36 keeps it here.
    const int *guess = (const int *)(thread->fs_base + 720);
    thread->tid_address = (uint32_t)*guess == tid ? (uint64_t)(uintptr_t)guess : 0;
  }
  egd_sys3(SYS_get_robust_list, 0, &thread->robust_head, &thread->robust_length);
  if (&__rseq_size != NULL && &__rseq_offset != NULL && __rseq_size > 0) {
    uint64_t area = thread->fs_base + (uint64_t)__rseq_offset;
    if ((int32_t)((const uint32_t *)area)[1] >= 0) { // cpu_id: negative if it is not registered
      thread->rseq = area;
      thread->rseq_length = 32;
    }
  }
  stack_t stack;
  if (egd_sys2(SYS_sigaltstack, NULL, &stack) == 0) {
    thread->altstack_base = (uint64_t)(uintptr_t)stack.ss_sp;
    thread->altstack_size = stack.ss_size;
    thread->altstack_flags = (uint32_t)stack.ss_flags & ~(uint32_t)SS_ONSTACK;
  }
  egd_sys2(SYS_prctl, PR_GET_NAME, thread->comm);
}

static void stop_handler(int number, siginfo_t *info, void *context) {
  uint32_t round = atomic_load(&stage.round);
  if (atomic_load(&stage.released) >= round) return; // too late: the image is over
  uint32_t slot = atomic_fetch_add(&stage.slots, 1);
  if (slot >= EGD_IMAGE_MAX_THREADS) return;
  struct egd_image_thread *thread = &stage.threads[slot];
  record_thread(thread, 0);
  if (egd_context_save(&thread->context) == 0) {
    atomic_fetch_add(&stage.arrived, 1);
    futex_wake(&stage.arrived);
  } else {
    atomic_fetch_add(&stage.resumed, 1);
    futex_wake(&stage.resumed);
  }
  for (uint32_t released; (int32_t)((released = atomic_load(&stage.released)) - round) < 0;)
    futex_wait(&stage.released, released, 0);
}

static void release_threads(void) {
  atomic_store(&stage.released, atomic_load(&stage.round));
  futex_wake(&stage.released);
}

static bool is_stopped(uint32_t tid) {
  uint32_t slots = atomic_load(&stage.slots);
  for (uint32_t i = 0; i < slots && i < EGD_IMAGE_MAX_THREADS; i++)
    if (stage.threads[i].tid == tid) return true;
  return false;
}

// Signal (or only count) every thread that has not come to the handler. Returns their number or -errno.
static int missing_threads(int folder, uint32_t pid, bool call) {
  struct {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
  } const *entry;
  char entries[1024] __attribute__((aligned(8)));
  int missing = 0;
  egd_sys3(SYS_lseek, folder, 0, SEEK_SET);
  for (;;) {
    long got = egd_sys3(SYS_getdents64, folder, entries, sizeof entries);
    if (got < 0) return (int)got;
    if (got == 0) return missing;
    for (long at = 0; at < got; at += entry->length) {
      entry = (const void *)(entries + at);
      const char *name = entry->name;
      if (*name < '0' || *name > '9') continue;
      uint32_t tid = (uint32_t)egd_text_number(&name, 10);
      if (is_stopped(tid)) continue;
      missing++;
      // A second signal to the same thread waits behind the handler and comes too late.
      if (call) egd_sys3(SYS_tgkill, pid, tid, stage.signal);
    }
  }
}

// Take a real-time signal that the application does not use, once and for all: a late signal to a thread that had it blocked must not
// meet the default action.
static int choose_signal(void) {
  struct kernel_signal stop = {stop_handler, SA_RESTART | SA_SIGINFO | 0x04000000 /* SA_RESTORER */,
                               (void *)egd_sigreturn, ~0ull};
  for (uint32_t number = 63; number >= 40; number--) {
    struct kernel_signal old;
    if (egd_sys4(SYS_rt_sigaction, number, NULL, &old, 8) < 0 || old.handler != NULL) continue;
    stage.signal = number;
    return (int)egd_sys4(SYS_rt_sigaction, number, &stop, NULL, 8);
  }
  return -EBUSY;
}

static int stop_threads(uint32_t pid) {
  int folder = (int)egd_sys4(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (folder < 0) return folder;
  int missing = missing_threads(folder, pid, false);
  if (missing > 0 && stage.signal == 0) {
    int status = choose_signal();
    if (status < 0) missing = status;
  }
  uint64_t start = now_ns(), signalled = 0;
  while (missing > 0) {
    uint64_t now = now_ns();
    if (now - start > STOP_TIMEOUT_NS) {
      missing = -ETIMEDOUT;
      break;
    }
    // Again after a while: threads may have been started since.
    bool call = now - signalled > 20000000;
    if (call) signalled = now;
    uint32_t arrived = atomic_load(&stage.arrived);
    missing = missing_threads(folder, pid, call);
    if (missing > 0) futex_wait(&stage.arrived, arrived, 2000000);
  }
  egd_sys1(SYS_close, folder);
  if (missing < 0) return missing;
  for (uint32_t arrived; (arrived = atomic_load(&stage.arrived)) < atomic_load(&stage.slots);)
    futex_wait(&stage.arrived, arrived, 2000000);
  return atomic_load(&stage.slots) > EGD_IMAGE_MAX_THREADS ? -EMFILE : 0;
}

static int capture_process(struct egd_capture *capture) {
  struct egd_image_process *process = &capture->process;
  process->pid = (uint32_t)egd_sys0(SYS_getpid);
  process->umask = (uint32_t)egd_sys1(SYS_umask, 077);
  egd_sys1(SYS_umask, process->umask);
  long length = egd_sys2(SYS_getcwd, capture->link, sizeof capture->link);
  if (length < 0) return (int)length;
  int64_t cwd = egd_capture_string(capture, capture->link);
  if (cwd < 0) return (int)cwd;
  process->cwd = (uint32_t)cwd;
  process->dumpable = (uint32_t)egd_sys1(SYS_prctl, PR_GET_DUMPABLE);
  long thp = egd_sys5(SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0);
  process->thp_disable = thp == 1;
  egd_sys2(SYS_rt_sigpending, &process->pending, 8);
  process->resume_info = (uint64_t)(uintptr_t)&stage.resume;
  for (int i = 0; i < 3; i++) {
    struct itimerval value;
    int status = (int)egd_sys2(SYS_getitimer, i, &value);
    if (status < 0) return status;
    if (value.it_value.tv_sec == 0 && value.it_value.tv_usec == 0)
      value.it_value = value.it_interval; // it fires just now
    process->timers[i] = (struct egd_image_timer_value){value.it_interval.tv_sec, value.it_interval.tv_usec,
                                                        value.it_value.tv_sec, value.it_value.tv_usec};
  }
  capture->text.used = 0;
  int64_t size = egd_table_read_file(&capture->text, "/proc/self/auxv");
  if (size < 0) return (int)size;
  if ((size_t)size > sizeof process->auxv) size = sizeof process->auxv;
  __builtin_memcpy(process->auxv, capture->text.base, (size_t)size);
  process->auxv_bytes = (uint32_t)size;
  // The kernel does not take addresses back from anywhere else than what it shows in stat.
  capture->text.used = 0;
  size = egd_table_read_file(&capture->text, "/proc/self/stat");
  if (size < 0) return (int)size;
  const char *at = capture->text.base + size;
  while (at > capture->text.base && *at != ')') at--;
  uint64_t fields[60] = {0};
  at++;
  for (unsigned i = 3; i < 60 && *at != '\0'; i++) {
    egd_text_skip_blanks(&at);
    if (*at == '-') at++;
    fields[i] = egd_text_number(&at, 10);
    while (*at != ' ' && *at != '\0') at++;
  }
  process->start_code = fields[26], process->end_code = fields[27], process->start_stack = fields[28];
  process->start_data = fields[45], process->end_data = fields[46], process->start_brk = fields[47];
  process->arg_start = fields[48], process->arg_end = fields[49], process->env_start = fields[50],
  process->env_end = fields[51];
  process->brk = (uint64_t)egd_sys1(SYS_brk, 0);
  return 0;
}

static int capture_signals(struct egd_capture *capture) {
  for (int i = 1; i <= 64; i++) {
    int status = (int)egd_sys4(SYS_rt_sigaction, i, NULL, &capture->signals[i - 1], 8);
    if (status < 0) return status;
  }
  return 0;
}

static int open_capture(const struct egd_image_request *request, struct egd_capture **ret_capture) {
  struct egd_table state;
  egd_table_init(&state, EGD_WINDOW_STATE);
  struct egd_capture *capture = egd_table_add(&state, sizeof *capture);
  if (capture == NULL) return -ENOMEM;
  capture->request = request;
  egd_table_init(&capture->strings, EGD_WINDOW_STRINGS);
  egd_table_init(&capture->text, EGD_WINDOW_TEXT);
  egd_table_init(&capture->files, EGD_WINDOW_FILES);
  egd_table_init(&capture->regions, EGD_WINDOW_REGIONS);
  egd_table_init(&capture->runs, EGD_WINDOW_RUNS);
  egd_table_init(&capture->fds, EGD_WINDOW_FDS);
  egd_table_init(&capture->polls, EGD_WINDOW_POLLS);
  egd_table_init(&capture->timers, EGD_WINDOW_TIMERS);
  egd_table_init(&capture->objects, EGD_WINDOW_OBJECTS);
  egd_table_init(&capture->content, EGD_WINDOW_CONTENT);
  egd_table_init(&capture->blocks, EGD_WINDOW_BLOCKS);
  egd_table_init(&capture->extras, EGD_WINDOW_EXTRAS);
  *ret_capture = capture;
  return 0;
}

// Everything up to the point where the contexts are saved.
static int prepare(const struct egd_image_request *request, struct egd_capture **ret_capture) {
  struct egd_capture *capture;
  egd_scratch_release();
  int status = open_capture(request, &capture);
  if (status < 0) return status;
  atomic_fetch_add(&stage.round, 1);
  atomic_store(&stage.resumed, 0);
  atomic_store(&stage.arrived, 1);
  atomic_store(&stage.slots, 0);
  for (size_t i = 0; i < EGD_IMAGE_MAX_THREADS && stage.threads[i].tid != 0; i++) stage.threads[i].tid = 0;
  record_thread(&stage.threads[0], EGD_THREAD_CALLER);
  atomic_store(&stage.slots, 1);
  status = capture_process(capture);
  if (status == 0) status = stop_threads(capture->process.pid);
  if (status == 0) status = capture_signals(capture);
  if (status == 0) status = egd_capture_fds(capture);
  if (status == 0) status = egd_capture_timers(capture);
  if (status == 0) status = egd_capture_shared_memory(capture);
  capture->threads = stage.threads;
  capture->nthreads = atomic_load(&stage.slots);
  *ret_capture = capture;
  return status;
}

static void put_back(void) {
  release_threads();
  egd_scratch_release();
}

// The process as it is goes on from here.
static __attribute__((noinline)) int save(struct egd_capture *capture, int *ret_child) {
  if (!capture->request->async) {
    int status = egd_image_write(capture);
    return status < 0 ? status : EGD_IMAGE_TAKEN;
  }
  long parent = egd_sys0(SYS_getpid);
  capture->total_pages = egd_total_pages(capture);
  long child = egd_sys5(SYS_clone, 0, 0, 0, 0, 0);
  if (child == 0) {
    egd_sys2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    int status = egd_sys0(SYS_getppid) == parent ? egd_image_write(capture) : -ECHILD;
    egd_sys1(SYS_exit_group, status == 0 ? 0 : 1);
  }
  if (child < 0) return (int)child;
  if (ret_child != NULL) *ret_child = (int)child;
  return EGD_IMAGE_TAKEN;
}

// A new incarnation: the loader has done all but take itself away, which it may when no thread executes it any more.
static __attribute__((noinline)) int arrive(void) {
  uint32_t others = stage.resume.threads - 1, resumed;
  while ((resumed = atomic_load(&stage.resumed)) < others) futex_wait(&stage.resumed, resumed, 0);
  egd_loader_release();
  egd_scratch_release();
  release_threads();
  return EGD_IMAGE_RESTORED;
}

int egd_image_take(const struct egd_image_request *request, int *ret_child) {
  uint64_t all = ~0ull;
  int status = (int)egd_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &stage.old_mask, 8);
  if (status < 0) return status;
  struct egd_capture *capture;
  int outcome = prepare(request, &capture);
  if (outcome < 0) {
    put_back();
  } else if (egd_context_save(&stage.threads[0].context) == 0) {
    outcome = save(capture, ret_child);
    put_back();
  } else {
    outcome = arrive();
  }
  egd_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &stage.old_mask, NULL, 8);
  return outcome;
}
