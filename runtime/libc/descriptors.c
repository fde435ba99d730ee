// What the descriptors of the rank stand for. The table follows open, dup and close; a descriptor that it does not know
// (made before the runtime, or by another thread) is looked at when it is first used.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include "runtime/libc/internal.h"

#define DESCRIPTORS 4096
#define RUNTIME_FIRST 960 // EGD_SEGMENT_FD and what follows
#define RUNTIME_LAST 975
#define SLACK_NS 2000000000ll // clocks of file servers and of the kernel's time stamps
#define PROC_MAGIC 0x9fa0
#define SYSFS_MAGIC 0x62656572
#define CGROUP_MAGIC 0x27e0eb
#define CGROUP2_MAGIC 0x63677270

static struct egd_file *files[DESCRIPTORS];

bool egd_fd_is_ours(long fd) {
  return fd >= RUNTIME_FIRST && fd <= RUNTIME_LAST;
}

static void release(struct egd_file *file) {
  if (file && --file->references == 0) egd_free(file, sizeof *file + file->path_size);
}

void egd_file_set(long fd, struct egd_file *file) {
  if (file) file->references++;
  if (fd < 0 || fd >= DESCRIPTORS) {
    release(file);
    return;
  }
  release(files[fd]);
  files[fd] = file;
}

void egd_file_drop(long fd) {
  if (fd >= 0 && fd < DESCRIPTORS) egd_file_set(fd, NULL);
}

/// The first known descriptor from *fd on; NULL: no more.
struct egd_file *egd_file_next(long *fd) {
  for (; *fd < DESCRIPTORS; ++*fd)
    if (files[*fd]) return files[*fd];
  return NULL;
}

/// Made by the kernel on the spot (/proc, /sys, control groups)?
bool egd_fd_is_pseudo(long fd) {
  struct statfs fs;
  if (egd_sys2(SYS_fstatfs, fd, &fs) != 0) return false;
  return fs.f_type == PROC_MAGIC || fs.f_type == SYSFS_MAGIC || fs.f_type == CGROUP_MAGIC || fs.f_type == CGROUP2_MAGIC;
}

static bool may_change(const struct stat *st, long fd, bool writable) {
  int64_t mtime_ns = st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec;
  return writable || mtime_ns >= egd_libc.start_ns - SLACK_NS || egd_fd_is_pseudo(fd);
}

static uint8_t kind_of(const struct stat *st, long fd) {
  if (fd == egd_libc.pmi_fd) return EGD_FILE_PMI;
  if (S_ISREG(st->st_mode)) return EGD_FILE_REGULAR;
  if (S_ISDIR(st->st_mode)) return EGD_FILE_DIRECTORY;
  if (S_ISFIFO(st->st_mode)) return EGD_FILE_PIPE;
  if (S_ISCHR(st->st_mode) && major(st->st_rdev) == 1) {
    if (minor(st->st_rdev) == 8 || minor(st->st_rdev) == 9) return EGD_FILE_RANDOM;
    return EGD_FILE_SINK;
  }
  return EGD_FILE_STREAM;
}

static long link_of(long fd, char *to, size_t size) {
  static const char folder[] = "/proc/self/fd/";
  char link[32], digits[12];
  int n = 0, at = sizeof folder - 1;
  memcpy(link, folder, sizeof folder);
  for (long rest = fd; n == 0 || rest; rest /= 10) digits[n++] = (char)('0' + rest % 10);
  while (n) link[at++] = digits[--n];
  link[at] = 0;
  long length = egd_sys3(SYS_readlink, link, to, size - 1);
  to[length > 0 ? length : 0] = 0;
  return length > 0 ? length : 0;
}

void egd_absolute(long folder, const char *path, struct egd_path *ret_path) {
  size_t length = path ? strlen(path) : 0, used = 0;
  char *to = ret_path->text;
  if (!path || path[0] != '/') {
    if (folder == AT_FDCWD) {
      long r = egd_sys2(SYS_getcwd, to, sizeof ret_path->text);
      used = r > 0 ? (size_t)r - 1 : 0;
    } else {
      used = (size_t)link_of(folder, to, sizeof ret_path->text);
    }
    if (used + 1 < sizeof ret_path->text) to[used++] = '/';
  }
  if (length > sizeof ret_path->text - 1 - used) length = sizeof ret_path->text - 1 - used;
  if (length) memcpy(to + used, path, length);
  to[used + length] = 0;
}

/// Look at an open descriptor and enter it. `path` is for messages; NULL: unknown. NULL: it is not open.
struct egd_file *egd_file_classify(long fd, const char *path) {
  struct stat st;
  if (fd < 0 || fd >= DESCRIPTORS || egd_sys2(SYS_fstat, fd, &st) != 0) return NULL;
  long flags = egd_sys2(SYS_fcntl, fd, F_GETFL);
  char found[512];
  if (!path) {
    link_of(fd, found, sizeof found);
    path = found;
  }
  uint32_t size = (uint32_t)strlen(path) + 1;
  struct egd_file *file = egd_calloc(sizeof *file + size);
  file->path_size = size;
  memcpy(file->path, path, size);
  file->kind = kind_of(&st, fd);
  file->writable = (flags & O_ACCMODE) != O_RDONLY;
  file->append = flags & O_APPEND;
  file->device = st.st_dev;
  file->inode = st.st_ino;
  file->size = st.st_size;
  file->mtime_ns = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
  file->volatile_reads = file->kind != EGD_FILE_REGULAR || may_change(&st, fd, file->writable);
  egd_file_set(fd, file);
  return file;
}

struct egd_file *egd_file_of(long fd) {
  if (fd < 0 || egd_fd_is_ours(fd)) return NULL;
  if (fd >= DESCRIPTORS) {
    EGD_SAY_ONCE("the program uses descriptor %d; those above %d are not protected", (int)fd, DESCRIPTORS - 1);
    return NULL;
  }
  return files[fd] ? files[fd] : egd_file_classify(fd, NULL);
}

// Standard input is a spool file of the job if the watchdog made it so.
static bool is_spool(const struct egd_file *file) {
  static const char name[] = "/stdin";
  char path[sizeof egd_rank.seg->job_dir + sizeof name];
  struct stat st;
  size_t length = strlen(egd_rank.seg->job_dir);
  memcpy(path, egd_rank.seg->job_dir, length);
  memcpy(path + length, name, sizeof name);
  return file->kind == EGD_FILE_REGULAR && egd_sys2(SYS_stat, path, &st) == 0 && st.st_dev == file->device &&
         st.st_ino == file->inode;
}

void egd_descriptors_init(void) {
  for (int fd = 0; fd < 3; fd++) {
    struct egd_file *file = egd_file_classify(fd, NULL);
    if (!file) continue;
    if (fd > 0)
      file->kind = (uint8_t)fd;
    else if (is_spool(file))
      file->kind = EGD_FILE_STDIN;
  }
}

void egd_file_moved(long fd, struct egd_file *file) {
  if (fd < 3) file->position = egd_sys3(SYS_lseek, fd, 0, SEEK_CUR);
}

// 0, 1 and 2 are those of the new process: what the application had put there, or elsewhere from there, is put back.
void egd_descriptors_restored(void) {
  struct egd_file *file;
  for (long fd = 0; (file = egd_file_next(&fd)); fd++) {
    if (fd > 2 && (file->kind == EGD_FILE_STDOUT || file->kind == EGD_FILE_STDERR)) {
      egd_sys3(SYS_dup3, file->kind, fd, 0);
    } else if (fd < 3 && (file->kind == EGD_FILE_REGULAR || file->kind == EGD_FILE_SINK)) {
      long flags = (file->writable ? O_RDWR : O_RDONLY) | (file->append ? O_APPEND : 0);
      long got = egd_sys4(SYS_openat, AT_FDCWD, file->path, flags, 0);
      if (got == -EACCES && file->writable)
        got = egd_sys4(SYS_openat, AT_FDCWD, file->path, O_WRONLY | (flags & O_APPEND), 0);
      if (got < 0)
        egd_die("recovery: file %s, which the program has as descriptor %d, cannot be opened again (error %d)",
                file->path, (int)fd, (int)-got);
      egd_sys3(SYS_lseek, got, file->position, SEEK_SET);
      if (got != fd) {
        egd_sys3(SYS_dup3, got, fd, 0);
        egd_sys1(SYS_close, got);
      }
    }
  }
}

/// Are both ends of the pipe here? Then the rank talks to itself through it.
bool egd_pipe_is_private(const struct egd_file *end) {
  const struct egd_file *file;
  for (long fd = 3; (file = egd_file_next(&fd)); fd++)
    if (file->kind == EGD_FILE_PIPE && file->inode == end->inode && file->device == end->device &&
        file->writable != end->writable)
      return true;
  return false;
}

// ---- system calls ----------------------------------------------------------------------------------------------------

long egd_policy_close(struct egd_call *c, const struct egd_row *row) {
  if (egd_fd_is_ours(c->a[0])) return -EBADF;
  egd_file_drop((int)c->a[0]);
  return egd_raw(c);
}

long egd_policy_close_range(struct egd_call *c, const struct egd_row *row) {
  unsigned long first = (unsigned)c->a[0], last = (unsigned)c->a[1];
  if (first > last) return -EINVAL;
  if (!(c->a[2] & 4)) // CLOSE_RANGE_CLOEXEC
    for (unsigned long fd = first; fd <= last && fd < DESCRIPTORS; fd++)
      if (!egd_fd_is_ours((long)fd)) egd_file_drop((long)fd);
  long r = 0;
  if (first < RUNTIME_FIRST)
    r = egd_sys3(SYS_close_range, first, last < RUNTIME_FIRST ? last : RUNTIME_FIRST - 1, c->a[2]);
  if (r == 0 && last > RUNTIME_LAST)
    r = egd_sys3(SYS_close_range, first > RUNTIME_LAST ? first : RUNTIME_LAST + 1, last, c->a[2]);
  return r;
}

// The kernel gives the same numbers again when everything before was the same: compared, for it is the first thing to
// go wrong when it was not.
static long same_number(struct egd_call *c, long r) {
  int64_t value;
  if (egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, NULL, 0, NULL)) {
    if (value != r)
      egd_die("replay: system call %d on descriptors answers %d, but the log has %d", (int)c->nr, (int)r, (int)value);
  } else {
    egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, r, NULL, 0);
  }
  return r;
}

long egd_policy_dup(struct egd_call *c, const struct egd_row *row) {
  struct egd_file *file = egd_file_of((int)c->a[0]);
  if (c->nr != SYS_dup && egd_fd_is_ours((int)c->a[1])) return -EBADF;
  long r = egd_raw(c);
  if (r >= 0 && r != (int)c->a[0]) egd_file_set(r, file);
  return same_number(c, r);
}

long egd_policy_fcntl(struct egd_call *c, const struct egd_row *row) {
  struct egd_file *file = egd_file_of((int)c->a[0]);
  long r;
  int64_t value;
  switch (c->a[1]) {
  case F_DUPFD:
  case F_DUPFD_CLOEXEC:
    r = egd_raw(c);
    if (r >= 0) egd_file_set(r, file);
    return same_number(c, r);
  case F_SETFL:
    r = egd_raw(c);
    if (r == 0 && file) file->append = c->a[2] & O_APPEND;
    return r;
  case F_GETLK:
  case F_SETLK:
  case F_SETLKW:
  case F_OFD_GETLK:
  case F_OFD_SETLK:
  case F_OFD_SETLKW:
    if (!egd_rank.logging) return egd_run(c, row);
    if (egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, (void *)c->a[2], sizeof(struct flock), NULL)) return value;
    r = egd_run(c, row);
    egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, r, (void *)c->a[2], sizeof(struct flock));
    return r;
  default:
    return egd_raw(c);
  }
}

long egd_policy_pipe(struct egd_call *c, const struct egd_row *row) {
  int *fds = (int *)c->a[0];
  long r = egd_raw(c);
  if (r != 0) return r;
  for (int i = 0; i < 2; i++) {
    egd_file_drop(fds[i]);
    egd_file_classify(fds[i], "pipe");
  }
  if (egd_rank.logging)
    EGD_SAY_ONCE("the program uses pipes: what another process has put into one is lost when its rank fails");
  same_number(c, fds[0] * 65536l + fds[1]);
  return 0;
}

long egd_policy_socket(struct egd_call *c, const struct egd_row *row) {
  long r = egd_raw(c);
  if (c->nr != SYS_socketpair && r >= 0) egd_file_drop(r);
  if (!egd_rank.logging) return r;
  if (c->nr == SYS_socket || c->nr == SYS_socketpair)
    EGD_SAY_ONCE("the program makes sockets: what goes through them cannot be protected");
  else
    EGD_SAY_ONCE("the program makes event descriptors (system call %d): their state is lost if its rank fails",
                 (int)c->nr);
  return r < 0 ? r : same_number(c, r);
}

// connect, bind, listen to the outside.
long egd_policy_connect(struct egd_call *c, const struct egd_row *row) {
  int family = 0;
  socklen_t size = sizeof family;
  if (egd_rank.logging && !egd_libc.allow_degraded &&
      egd_sys5(SYS_getsockopt, c->a[0], SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 &&
      (family == AF_INET || family == AF_INET6))
    egd_die(
        "the program connects or listens on the network by itself (system call %d), and no rank can be recovered with "
        "such a connection; run it with --allow-degraded if that may be lost",
        (int)c->nr);
  return egd_run(c, row);
}

long egd_policy_mmap(struct egd_call *c, const struct egd_row *row) {
  if (egd_rank.logging && !(c->a[3] & MAP_ANONYMOUS) && (c->a[3] & MAP_TYPE) != MAP_PRIVATE && (c->a[2] & PROT_WRITE)) {
    struct egd_file *file = egd_file_of((int)c->a[4]);
    EGD_SAY_ONCE("the program maps file %s shared and writable: changes made through memory are not protected",
                 file ? file->path : "?");
  }
  return egd_raw(c);
}

// Calls that every program can do without: it falls back to read and write.
long egd_policy_refuse(struct egd_call *c, const struct egd_row *row) {
  if (!egd_rank.seg) return egd_raw(c);
  return c->nr == SYS_sendfile || c->nr == SYS_splice || c->nr == SYS_tee || c->nr == SYS_vmsplice ? -EINVAL : -ENOSYS;
}

// The position of a file that replay does not read is moved by what the log says.
long egd_policy_lseek(struct egd_call *c, const struct egd_row *row) {
  struct egd_file *file = egd_file_of((int)c->a[0]);
  int64_t value;
  if (file && file->kind == EGD_FILE_STDIN) return -ESPIPE;
  long r;
  if (egd_rank.logging && egd_take(EGD_EVENT_SYSCALL, SYS_lseek, &value, NULL, 0, NULL)) {
    r = value;
    if (value >= 0) egd_sys3(SYS_lseek, c->a[0], value, SEEK_SET);
  } else {
    r = egd_raw(c);
    egd_event_log(EGD_EVENT_SYSCALL, SYS_lseek, r, NULL, 0);
  }
  if (file) egd_file_moved((int)c->a[0], file);
  return r;
}

long egd_policy_getdents(struct egd_call *c, const struct egd_row *row) {
  int64_t value;
  if (!egd_rank.logging) return egd_raw(c);
  unsigned char *entries = (unsigned char *)c->a[1];
  if (egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, entries, (size_t)c->a[2], NULL)) {
    // The next live call goes on behind the last entry.
    int64_t next = -1;
    for (int64_t at = 0; at < value;) {
      uint16_t length;
      memcpy(&next, entries + at + 8, sizeof next);
      memcpy(&length, entries + at + 16, sizeof length);
      at += length;
    }
    if (next >= 0) egd_sys3(SYS_lseek, c->a[0], next, SEEK_SET);
    return value;
  }
  long r = egd_raw(c);
  egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, r, entries, r > 0 ? (size_t)r : 0);
  return r;
}

long egd_policy_ioctl(struct egd_call *c, const struct egd_row *row) {
  unsigned long request = (unsigned)c->a[1];
  size_t size = _IOC_DIR(request) & _IOC_READ ? _IOC_SIZE(request) : 0;
  if (request == TCGETS) size = 36; // the kernel's struct termios
  if (request == TIOCGWINSZ) size = sizeof(struct winsize);
  if (request == FIONREAD || request == TIOCGPGRP || request == TIOCOUTQ) size = sizeof(int);
  int64_t value;
  if (!egd_rank.logging) return egd_run(c, row);
  if (request == FIONBIO || request == FIOCLEX || request == FIONCLEX) return egd_raw(c);
  if (egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, (void *)c->a[2], size, NULL)) return value;
  long r = egd_run(c, row);
  egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, r, (void *)c->a[2], r >= 0 ? size : 0);
  return r;
}
