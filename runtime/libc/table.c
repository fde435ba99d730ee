// What is done with each system call, one line each. A call that is not listed passes: its effect is on this process's
// own memory or kernel state, and is the same when it is repeated (docs/syscalls.md).
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "runtime/libc/internal.h"

#define NUMBERS 512
#define SCRATCH 16384

static egd_policy result, masked_wait;

#define R EGD_ROW_RESTARTS
#define AGAIN EGD_ROW_RERUN
#define NONE                                                                                                           \
  {                                                                                                                    \
    { 0, 0 }                                                                                                           \
  }
#define ONE(arg, size)                                                                                                 \
  {                                                                                                                    \
    { arg, size }                                                                                                      \
  }
#define TWO(arg, size, arg2, size2)                                                                                    \
  {                                                                                                                    \
    {arg, size}, {                                                                                                     \
      arg2, size2                                                                                                      \
    }                                                                                                                  \
  }
#define SETS                                                                                                           \
  {                                                                                                                    \
    {2, EGD_OUT_FDSET}, {3, EGD_OUT_FDSET}, {4, EGD_OUT_FDSET}, {                                                      \
      5, 16                                                                                                            \
    }                                                                                                                  \
  } // and the time that is left

static const struct egd_row rows[] = {
    // input and output
    {SYS_read, egd_policy_read, NONE, R, 0},
    {SYS_pread64, egd_policy_read, NONE, R, 0},
    {SYS_readv, egd_policy_read, NONE, R, 0},
    {SYS_preadv, egd_policy_read, NONE, R, 0},
    {SYS_preadv2, egd_policy_read, NONE, R, 0},
    {SYS_write, egd_policy_write, NONE, R, 0},
    {SYS_pwrite64, egd_policy_write, NONE, R, 0},
    {SYS_writev, egd_policy_write, NONE, R, 0},
    {SYS_pwritev, egd_policy_write, NONE, R, 0},
    {SYS_pwritev2, egd_policy_write, NONE, R, 0},
    {SYS_sendfile, egd_policy_refuse, NONE, 0, 0},
    {SYS_copy_file_range, egd_policy_refuse, NONE, 0, 0},
    {SYS_splice, egd_policy_refuse, NONE, 0, 0},
    {SYS_tee, egd_policy_refuse, NONE, 0, 0},
    {SYS_vmsplice, egd_policy_refuse, NONE, 0, 0},
    {SYS_io_uring_setup, egd_policy_refuse, NONE, 0, 0},
    {SYS_io_setup, egd_policy_refuse, NONE, 0, 0},
    {SYS_fsync, result, NONE, 0, 0},
    {SYS_fdatasync, result, NONE, 0, 0},
    {SYS_sync, result, NONE, 0, 0},
    {SYS_syncfs, result, NONE, 0, 0},
    {SYS_sync_file_range, result, NONE, 0, 0},
    {SYS_ioctl, egd_policy_ioctl, NONE, R, 0},
    {SYS_lseek, egd_policy_lseek, NONE, 0, 0},
    // descriptors
    {SYS_open, egd_policy_open, NONE, 0, 1},
    {SYS_openat, egd_policy_open, NONE, 0, 2},
    {SYS_openat2, egd_policy_open, NONE, 0, 2},
    {SYS_creat, egd_policy_open, NONE, 0, 1},
    {SYS_close, egd_policy_close, NONE, 0, 0},
    {SYS_close_range, egd_policy_close_range, NONE, 0, 0},
    {SYS_dup, egd_policy_dup, NONE, 0, 0},
    {SYS_dup2, egd_policy_dup, NONE, 0, 0},
    {SYS_dup3, egd_policy_dup, NONE, 0, 0},
    {SYS_fcntl, egd_policy_fcntl, NONE, R, 0},
    {SYS_flock, result, NONE, R, 0},
    {SYS_pipe, egd_policy_pipe, NONE, 0, 0},
    {SYS_pipe2, egd_policy_pipe, NONE, 0, 0},
    {SYS_eventfd, egd_policy_socket, NONE, 0, 0},
    {SYS_eventfd2, egd_policy_socket, NONE, 0, 0},
    {SYS_signalfd, egd_policy_refuse, NONE, 0, 0},
    {SYS_signalfd4, egd_policy_refuse, NONE, 0, 0},
    {SYS_timerfd_create, egd_policy_socket, NONE, 0, 0},
    {SYS_inotify_init, egd_policy_socket, NONE, 0, 0},
    {SYS_inotify_init1, egd_policy_socket, NONE, 0, 0},
    {SYS_epoll_create, egd_policy_socket, NONE, 0, 0},
    {SYS_epoll_create1, egd_policy_socket, NONE, 0, 0},
    {SYS_socket, egd_policy_socket, NONE, 0, 0},
    {SYS_socketpair, egd_policy_socket, NONE, 0, 0},
    {SYS_connect, egd_policy_connect, NONE, 0, 0},
    {SYS_bind, egd_policy_connect, NONE, 0, 0},
    {SYS_listen, egd_policy_connect, NONE, 0, 0},
    {SYS_mmap, egd_policy_mmap, NONE, 0, 0},
    // looking at files
    {SYS_stat, result, ONE(2, 144), 0, 0},
    {SYS_lstat, result, ONE(2, 144), 0, 0},
    {SYS_fstat, result, ONE(2, 144), 0, 0},
    {SYS_newfstatat, result, ONE(3, 144), 0, 0},
    {SYS_statx, result, ONE(5, 256), 0, 0},
    {SYS_statfs, result, ONE(2, 120), 0, 0},
    {SYS_fstatfs, result, ONE(2, 120), 0, 0},
    {SYS_access, result, NONE, 0, 0},
    {SYS_faccessat, result, NONE, 0, 0},
    {SYS_faccessat2, result, NONE, 0, 0},
    {SYS_readlink, result, ONE(2, EGD_OUT_RESULT), 0, 0},
    {SYS_readlinkat, result, ONE(3, EGD_OUT_RESULT), 0, 0},
    {SYS_getcwd, result, ONE(1, EGD_OUT_RESULT), 0, 0},
    {SYS_getxattr, result, ONE(3, EGD_OUT_RESULT), 0, 0},
    {SYS_lgetxattr, result, ONE(3, EGD_OUT_RESULT), 0, 0},
    {SYS_fgetxattr, result, ONE(3, EGD_OUT_RESULT), 0, 0},
    {SYS_listxattr, result, ONE(2, EGD_OUT_RESULT), 0, 0},
    {SYS_getdents64, egd_policy_getdents, NONE, 0, 0},
    {SYS_getdents, egd_policy_refuse, NONE, 0, 0},
    // changing files
    {SYS_truncate, egd_policy_change, NONE, 0, 0},
    {SYS_ftruncate, egd_policy_change, NONE, 0, 0},
    {SYS_fallocate, egd_policy_change, NONE, 0, 0},
    {SYS_unlink, egd_policy_change, NONE, EGD_ROW_REMOVES, 1},
    {SYS_unlinkat, egd_policy_change, NONE, EGD_ROW_REMOVES | EGD_ROW_AT, 2},
    {SYS_rmdir, egd_policy_change, NONE, EGD_ROW_REMOVES, 1},
    {SYS_rename, egd_policy_rename, NONE, EGD_ROW_REMOVES, 1},
    {SYS_renameat, egd_policy_rename, NONE, EGD_ROW_REMOVES | EGD_ROW_AT, 2},
    {SYS_renameat2, egd_policy_rename, NONE, EGD_ROW_REMOVES | EGD_ROW_AT, 2},
    {SYS_mkdir, egd_policy_change, NONE, EGD_ROW_CREATES, 1},
    {SYS_mkdirat, egd_policy_change, NONE, EGD_ROW_CREATES | EGD_ROW_AT, 2},
    {SYS_mknod, egd_policy_change, NONE, EGD_ROW_CREATES, 1},
    {SYS_mknodat, egd_policy_change, NONE, EGD_ROW_CREATES | EGD_ROW_AT, 2},
    {SYS_link, egd_policy_change, NONE, EGD_ROW_CREATES, 2},
    {SYS_linkat, egd_policy_change, NONE, EGD_ROW_CREATES | EGD_ROW_AT, 4},
    {SYS_symlink, egd_policy_change, NONE, EGD_ROW_CREATES, 2},
    {SYS_symlinkat, egd_policy_change, NONE, EGD_ROW_CREATES | EGD_ROW_AT, 3},
    {SYS_chmod, egd_policy_change, NONE, 0, 0},
    {SYS_fchmod, egd_policy_change, NONE, 0, 0},
    {SYS_fchmodat, egd_policy_change, NONE, 0, 0},
    {SYS_chown, egd_policy_change, NONE, 0, 0},
    {SYS_fchown, egd_policy_change, NONE, 0, 0},
    {SYS_lchown, egd_policy_change, NONE, 0, 0},
    {SYS_fchownat, egd_policy_change, NONE, 0, 0},
    {SYS_utime, egd_policy_change, NONE, 0, 0},
    {SYS_utimes, egd_policy_change, NONE, 0, 0},
    {SYS_futimesat, egd_policy_change, NONE, 0, 0},
    {SYS_utimensat, egd_policy_change, NONE, 0, 0},
    {SYS_setxattr, egd_policy_change, NONE, 0, 0},
    {SYS_lsetxattr, egd_policy_change, NONE, 0, 0},
    {SYS_fsetxattr, egd_policy_change, NONE, 0, 0},
    {SYS_removexattr, egd_policy_change, NONE, 0, 0},
    {SYS_lremovexattr, egd_policy_change, NONE, 0, 0},
    {SYS_fremovexattr, egd_policy_change, NONE, 0, 0},
    // time and chance
    {SYS_clock_gettime, egd_policy_clock, NONE, 0, 0},
    {SYS_gettimeofday, egd_policy_gettimeofday, NONE, 0, 0},
    {SYS_time, egd_policy_time, NONE, 0, 0},
    {SYS_times, result, ONE(1, 32), 0, 0},
    {SYS_getrusage, result, ONE(2, 144), 0, 0},
    {SYS_sysinfo, result, ONE(1, 112), 0, 0},
    {SYS_getrandom, egd_policy_random, NONE, R, 0},
    {SYS_getcpu, result, TWO(1, 4, 2, 4), 0, 0},
    {SYS_sched_getaffinity, result, ONE(3, EGD_OUT_RESULT), 0, 0},
    {SYS_prlimit64, result, ONE(4, 16), AGAIN, 0},
    // waiting
    {SYS_nanosleep, egd_policy_sleep, NONE, 0, 0},
    {SYS_clock_nanosleep, egd_policy_sleep, NONE, 0, 0},
    {SYS_poll, result, ONE(1, EGD_OUT_POLL), 0, 0},
    {SYS_ppoll, masked_wait, TWO(1, EGD_OUT_POLL, 3, 16), 0, 4},
    {SYS_select, result, SETS, 0, 0},
    {SYS_pselect6, masked_wait, SETS, 0, 6},
    {SYS_epoll_wait, result, ONE(2, EGD_OUT_VECTOR), 0, 0},
    {SYS_epoll_pwait, masked_wait, ONE(2, EGD_OUT_VECTOR), 0, 5},
    {SYS_epoll_pwait2, masked_wait, ONE(2, EGD_OUT_VECTOR), 0, 5},
    {SYS_wait4, result, TWO(2, 4, 4, 144), R, 0},
    {SYS_waitid, result, TWO(3, 128, 5, 144), R, 0},
    {SYS_pause, egd_policy_sigsuspend, NONE, 0, 0},
    {SYS_rt_sigsuspend, egd_policy_sigsuspend, NONE, 0, 0},
    {SYS_rt_sigtimedwait, result, ONE(2, 128), 0, 0},
    {SYS_rt_sigpending, result, ONE(1, 8), 0, 0},
    // signals and timers
    {SYS_rt_sigaction, egd_policy_sigaction, NONE, 0, 0},
    {SYS_rt_sigprocmask, egd_policy_sigprocmask, NONE, 0, 0},
    {SYS_rt_sigreturn, egd_policy_sigreturn, NONE, 0, 0},
    {SYS_sigaltstack, egd_policy_sigaltstack, NONE, 0, 0},
    {SYS_alarm, result, NONE, AGAIN, 0},
    {SYS_setitimer, result, ONE(3, 32), AGAIN, 0},
    {SYS_getitimer, result, ONE(2, 32), 0, 0},
    {SYS_timer_settime, result, ONE(4, 32), AGAIN, 0},
    {SYS_timer_gettime, result, ONE(2, 32), 0, 0},
    {SYS_kill, egd_policy_kill, NONE, 0, 0},
    {SYS_tkill, egd_policy_kill, NONE, 0, 0},
    {SYS_tgkill, egd_policy_kill, NONE, 0, 0},
    {SYS_rt_sigqueueinfo, egd_policy_kill, NONE, 0, 0},
    {SYS_rt_tgsigqueueinfo, egd_policy_kill, NONE, 0, 0},
    // the process
    {SYS_fork, egd_policy_clone, NONE, 0, 0},
    {SYS_vfork, egd_policy_clone, NONE, 0, 0},
    {SYS_clone, egd_policy_clone, NONE, 0, 0},
    {SYS_clone3, egd_policy_clone, NONE, 0, 0},
    {SYS_getpid, egd_policy_getpid, NONE, 0, 0},
    {SYS_gettid, egd_policy_gettid, NONE, 0, 0},
    {SYS_getppid, egd_policy_getppid, NONE, 0, 0},
    {SYS_uname, egd_policy_uname, NONE, 0, 0},
    {SYS_exit, egd_policy_exit, NONE, 0, 0},
    {SYS_exit_group, egd_policy_exit, NONE, 0, 0},
    {SYS_prctl, egd_policy_prctl, NONE, 0, 0},
};

static const struct egd_row *by_number[NUMBERS];

void egd_rows_init(void) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) by_number[rows[i].nr] = &rows[i];
}
const struct egd_row *egd_row_find(long nr) {
  return nr >= 0 && nr < NUMBERS ? by_number[nr] : NULL;
}

static size_t out_size(const struct egd_call *c, struct egd_out out, long value) {
  switch (out.size) {
  case EGD_OUT_RESULT:
    return (size_t)value;
  case EGD_OUT_POLL:
    return (size_t)c->a[1] * 8;
  case EGD_OUT_FDSET:
    return (size_t)(c->a[0] + 63) / 64 * 8;
  case EGD_OUT_VECTOR:
    return (size_t)value * 12; // packed struct epoll_event
  default:
    return (size_t)out.size;
  }
}

// Executed once; what it answered and wrote to memory is in the log.
static long result(struct egd_call *c, const struct egd_row *row) {
  static unsigned char scratch[SCRATCH];
  int64_t value;
  size_t length = 0;
  if (!egd_rank.logging) return egd_run(c, row);
  // One buffer is filled directly; several, or one that a repeated call would overwrite, go through the scratch area.
  bool single = !row->out[1].arg && !(row->flags & EGD_ROW_RERUN);
  void *first = row->out[0].arg ? (void *)c->a[row->out[0].arg - 1] : NULL;
retry:
  if (egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, single ? first : scratch, single ? SIZE_MAX / 2 : SCRATCH,
               &length)) {
    if (row->flags & EGD_ROW_RERUN) egd_raw(c);
    size_t done = 0;
    for (int i = 0; !single && length && i < OUTS; i++) {
      void *to = row->out[i].arg ? (void *)c->a[row->out[i].arg - 1] : NULL;
      size_t size = to ? out_size(c, row->out[i], value) : 0;
      if (to) memcpy(to, scratch + done, size);
      done += size;
    }
    return value;
  }
  long r;
  enum egd_signals_ran ran = egd_blocked(c, &r);
  if (ran == EGD_SIGNALS_NONE || (ran == EGD_SIGNALS_RESTART && (row->flags & EGD_ROW_RESTARTS))) {
    // An image may be wanted; a new incarnation that begins with it finds in the log how the call ended.
    if (egd_rank.in_runtime == 1) egd_safe_point();
    goto retry;
  }
  if (r < 0 || single) {
    egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, r, first, r >= 0 && first ? out_size(c, row->out[0], r) : 0);
    return r;
  }
  size_t used = 0;
  for (int i = 0; i < OUTS; i++) {
    const void *from = row->out[i].arg ? (void *)c->a[row->out[i].arg - 1] : NULL;
    size_t size = from ? out_size(c, row->out[i], r) : 0;
    if (used + size > SCRATCH) egd_die("system call %d of the program answers more than %d bytes", row->nr, SCRATCH);
    if (from) memcpy(scratch + used, from, size);
    used += size;
  }
  egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, r, scratch, used);
  return r;
}

// Calls that put a signal mask in place while they wait: SIGSYS must not be in it.
static long masked_wait(struct egd_call *c, const struct egd_row *row) {
  struct {
    const uint64_t *mask;
    size_t size;
  } pair;
  uint64_t mask;
  long *arg = &c->a[row->target - 1];
  if (*arg && c->nr == SYS_pselect6) {
    memcpy(&pair, (const void *)*arg, sizeof pair);
    if (pair.mask) {
      mask = *pair.mask & ~((1ull << (SIGSYS - 1) | 1ull << (EGD_IMAGE_SIGNAL - 1)));
      pair.mask = &mask;
      *arg = (long)&pair;
    }
  } else if (*arg) {
    mask = *(const uint64_t *)*arg & ~((1ull << (SIGSYS - 1) | 1ull << (EGD_IMAGE_SIGNAL - 1)));
    *arg = (long)&mask;
  }
  return result(c, row);
}
