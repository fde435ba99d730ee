// A file is output: what was done to files is not done again in replay. Before each change an intent is logged, after it
// the result. An intent without result at the end of the log is an operation that was cut off: it is completed.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "runtime/libc/internal.h"
#include "runtime/libc/intent.h"

struct opened { // logged with the result of an open
  uint64_t device, inode;
  int64_t size, mtime_ns;
  uint32_t mode, reserved;
};

static bool exists(long folder, const char *path) {
  struct stat st;
  return path && egd_sys4(SYS_newfstatat, folder, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

// ---- changes of names and attributes ----------------------------------------------------------------------------------

/// The result of `r` for the second attempt at an operation whose first one may have been done.
static long forgive(const struct egd_row *row, long r, bool existed) {
  if ((row->flags & EGD_ROW_CREATES) && r == -EEXIST && !existed) return 0;
  if ((row->flags & EGD_ROW_REMOVES) && r == -ENOENT && existed) return 0;
  return r;
}

bool egd_act_after_intent(void) {
  uint32_t incarnation = atomic_load(&egd_rank.cb->incarnation);
  egd_visible_act();
  return atomic_load(&egd_rank.cb->incarnation) != incarnation;
}

long egd_policy_change(struct egd_call *c, const struct egd_row *row) {
  if (!egd_rank.logging) return egd_raw(c);
  struct egd_intent intent = {0};
  int64_t existed, value;
  uint32_t aux = (uint32_t)c->nr;
  bool repeated = egd_take(EGD_EVENT_INTENT, aux, &existed, &intent, sizeof intent, NULL);
  if (!repeated) {
    existed = row->target && exists(row->flags & EGD_ROW_AT ? (int)c->a[row->target - 2] : AT_FDCWD,
                                    (const char *)c->a[row->target - 1]);
    egd_event_log(EGD_EVENT_INTENT, aux, existed, &intent, sizeof intent);
    repeated = egd_act_after_intent();
  }
  if (repeated) {
    if (egd_take(EGD_EVENT_SYSCALL, aux, &value, NULL, 0, NULL)) {
      if (c->nr == SYS_ftruncate && value == 0) {
        struct egd_file *file = egd_file_of((int)c->a[0]);
        if (file && file->lost) egd_raw(c);
      }
      return value;
    }
    long r = forgive(row, egd_raw(c), existed);
    egd_event_log(EGD_EVENT_SYSCALL, aux, r, NULL, 0);
    return r;
  }
  long r = egd_raw(c);
  egd_event_log(EGD_EVENT_SYSCALL, aux, r, NULL, 0);
  return r;
}

static void put_at(long from, long to, bool close_on_exec) {
  if (from == to) return;
  egd_sys3(SYS_dup3, from, to, close_on_exec ? O_CLOEXEC : 0);
  egd_sys1(SYS_close, from);
}

// A file that was opened under a name which it lost later in the log is found again when replay comes to the renaming.
long egd_policy_rename(struct egd_call *c, const struct egd_row *row) {
  bool at = row->flags & EGD_ROW_AT, replayed = egd_rank.replaying;
  long r = egd_policy_change(c, row);
  if (!replayed || r != 0) return r;
  const char *old = (const char *)c->a[at ? 1 : 0], *new = (const char *)c->a[at ? 3 : 1];
  long folder = at ? (int)c->a[2] : AT_FDCWD;
  struct egd_path old_path;
  egd_absolute(at ? (int)c->a[0] : AT_FDCWD, old, &old_path);
  struct egd_file *file;
  for (long fd = 0; (file = egd_file_next(&fd)); fd++) {
    struct stat st;
    if (!file->lost || strcmp(file->path, old_path.text) != 0) continue;
    long position = egd_sys3(SYS_lseek, fd, 0, SEEK_CUR);
    int flags = (file->writable ? O_RDWR : O_RDONLY) | (file->append ? O_APPEND : 0);
    long found = egd_sys4(SYS_openat, folder, new, flags, 0);
    if (found == -EACCES) found = egd_sys4(SYS_openat, folder, new, flags ^ O_RDWR ^ O_WRONLY, 0);
    if (found < 0) continue;
    if (egd_sys2(SYS_fstat, found, &st) != 0 || st.st_ino != file->inode || st.st_dev != file->device) {
      egd_sys1(SYS_close, found);
      continue;
    }
    put_at(found, fd, egd_sys2(SYS_fcntl, fd, F_GETFD) & FD_CLOEXEC);
    egd_sys3(SYS_lseek, fd, position, SEEK_SET);
    file->lost = false;
  }
  return r;
}

// ---- open -------------------------------------------------------------------------------------------------------------

struct opening {
  long folder;
  const char *path;
  long flags, mode;
};

static struct opening opening_of(const struct egd_call *c) {
  switch (c->nr) {
  case SYS_creat:
    return (struct opening){AT_FDCWD, (const char *)c->a[0], O_CREAT | O_WRONLY | O_TRUNC, c->a[1]};
  case SYS_open:
    return (struct opening){AT_FDCWD, (const char *)c->a[0], c->a[1], c->a[2]};
  default:
    return (struct opening){(int)c->a[0], (const char *)c->a[1], c->a[2], c->a[3]};
  }
}

// The rank's own streams by name: its descriptors 1 and 2 lead past the output ring.
static int stream_named(const char *path) {
  if (!path || path[0] != '/') return 0;
  if (strcmp(path, "/dev/stdout") == 0 || strcmp(path, "/dev/fd/1") == 0 || strcmp(path, "/proc/self/fd/1") == 0)
    return 1;
  if (strcmp(path, "/dev/stderr") == 0 || strcmp(path, "/dev/fd/2") == 0 || strcmp(path, "/proc/self/fd/2") == 0)
    return 2;
  return 0;
}

static void enter(long fd, const struct opening *o, struct opened *ret_info) {
  struct stat st;
  struct egd_path path;
  egd_absolute(o->folder, o->path, &path);
  struct egd_file *file = egd_file_classify(fd, path.text);
  memset(ret_info, 0, sizeof *ret_info);
  if (!file || egd_sys2(SYS_fstat, fd, &st) != 0) return;
  *ret_info = (struct opened){file->device, file->inode, file->size, file->mtime_ns, st.st_mode, 0};
}

/// Put something under number `fd` for a file that is no longer there. What the log skips is still written to it, so
/// that a temporary file that was removed while open is whole again.
static void stand_in(long fd, const struct opening *o, const struct opened *info) {
  bool folder = S_ISDIR(info->mode);
  long got = folder ? egd_sys4(SYS_openat, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0)
                    : egd_sys2(SYS_memfd_create, "egida: removed file", 0);
  if (got < 0) egd_die("replay: cannot make a memory file for %s, which was removed (error %d)", o->path, (int)-got);
  put_at(got, fd, o->flags & O_CLOEXEC);
  struct egd_path path;
  egd_absolute(o->folder, o->path, &path);
  struct egd_file *file = egd_file_classify(fd, path.text);
  file->lost = true;
  file->kind = folder ? EGD_FILE_DIRECTORY : EGD_FILE_REGULAR;
  file->writable = (o->flags & O_ACCMODE) != O_RDONLY;
  file->append = o->flags & O_APPEND;
  file->device = info->device;
  file->inode = info->inode;
}

static long open_again(const struct opening *o, long fd, const struct opened *info) {
  struct stat st;
  if ((o->flags & O_TMPFILE) == O_TMPFILE) {
    stand_in(fd, o, info);
    return fd;
  }
  long got = egd_sys4(SYS_openat, o->folder, o->path, o->flags & ~(O_CREAT | O_EXCL | O_TRUNC), 0);
  // A file that was created without the right to open it again, or that is replaced by now.
  bool same = got >= 0 && egd_sys2(SYS_fstat, got, &st) == 0;
  if (same && (S_ISREG(info->mode) || S_ISDIR(info->mode)) && !egd_fd_is_pseudo(got))
    same = st.st_ino == info->inode && st.st_dev == info->device;
  if (!same) {
    if (got >= 0) egd_sys1(SYS_close, got);
    stand_in(fd, o, info);
    return fd;
  }
  put_at(got, fd, o->flags & O_CLOEXEC);
  struct egd_path path;
  egd_absolute(o->folder, o->path, &path);
  struct egd_file *file = egd_file_classify(fd, path.text);
  if (file && file->kind == EGD_FILE_REGULAR) {
    file->size = info->size;
    file->mtime_ns = info->mtime_ns;
  }
  return fd;
}

long egd_policy_open(struct egd_call *c, const struct egd_row *row) {
  struct opened info;
  if (c->nr == SYS_openat2) return -ENOSYS; // callers fall back to openat
  struct opening o = opening_of(c);
  int stream = stream_named(o.path);
  if (stream) { // a duplicate of the descriptor, wherever that leads now
    long r = egd_sys3(SYS_fcntl, stream, o.flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
    if (r >= 0) egd_file_set(r, egd_file_of(stream));
    return r;
  }
  if (!egd_rank.logging) {
    long r = egd_run(c, row);
    if (r >= 0) enter(r, &o, &info);
    return r;
  }
  bool creates = (o.flags & (O_CREAT | O_TRUNC)) || (o.flags & O_TMPFILE) == O_TMPFILE;
  struct egd_intent intent = {0};
  int64_t existed = 0, value;
  uint32_t aux = (uint32_t)c->nr;
  bool cut_off = false;
  if (egd_rank.replaying && creates) cut_off = egd_take(EGD_EVENT_INTENT, aux, &existed, &intent, sizeof intent, NULL);
  if (egd_take(EGD_EVENT_SYSCALL, aux, &value, &info, sizeof info, NULL))
    return value < 0 ? value : open_again(&o, value, &info);
  if (creates && !cut_off) {
    existed = exists(o.folder, o.path);
    egd_event_log(EGD_EVENT_INTENT, aux, existed, &intent, sizeof intent);
    cut_off = egd_act_after_intent();
    if (cut_off && egd_take(EGD_EVENT_SYSCALL, aux, &value, &info, sizeof info, NULL))
      return value < 0 ? value : open_again(&o, value, &info);
  }
  long flags = o.flags;
  if (cut_off && !existed) flags &= ~O_EXCL; // it is there because we made it
  long r;
  do r = egd_sys4(SYS_openat, o.folder, o.path, flags, o.mode);
  while (r == -EINTR && egd_signals_interrupted() != EGD_SIGNALS_FINAL);
  memset(&info, 0, sizeof info);
  if (r >= 0) enter(r, &o, &info);
  egd_event_log(EGD_EVENT_SYSCALL, aux, r, &info, sizeof info);
  return r;
}
