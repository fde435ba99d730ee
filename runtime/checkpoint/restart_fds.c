// Descriptors of the image.
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include "runtime/checkpoint/restart.h"
#include "runtime/checkpoint/text.h"
#include "runtime/syscall.h"

#define USUAL_FLAGS (O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_DIRECT | O_DIRECTORY | O_NOATIME | O_PATH)

static bool is_kept(int fd) {
  for (size_t i = 0; i < egd_loader.nkept; i++)
    if (egd_loader.kept[i] == fd) return true;
  return false;
}

static const struct egd_image_fd *entry_of(int fd) {
  for (size_t i = 0; i < egd_loader.nfds; i++)
    if (egd_loader.fds[i].fd == fd) return &egd_loader.fds[i];
  return NULL;
}

static bool is_inherited(int fd) {
  const struct egd_image_fd *entry = entry_of(fd);
  return entry != NULL && entry->duplicate_of < 0 && entry->kind == EGD_FD_INHERITED;
}

// Give `fd` a number that the image does not use; the old one is closed.
static int out_of_the_way(int fd) {
  int minimum = 3;
  for (;;) {
    int again = (int)egd_sys3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, minimum);
    if (again < 0) egd_refuse("no free descriptor; raise the limit of open files", NULL, again);
    if (entry_of(again) == NULL) {
      egd_sys1(SYS_close, fd);
      return again;
    }
    egd_sys1(SYS_close, again);
    minimum = again + 1;
  }
}

void egd_loader_prepare_fds(void) {
  egd_loader.image = out_of_the_way(egd_loader.image);
  int copy = (int)egd_sys3(SYS_fcntl, 2, F_DUPFD_CLOEXEC, 3);
  if (copy >= 0) egd_loader.messages = out_of_the_way(copy);
  int folder = (int)egd_sys4(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (folder < 0) egd_refuse("cannot open /proc/self/fd", NULL, folder);
  long got;
  while ((got = egd_sys3(SYS_getdents64, folder, egd_loader.text, sizeof egd_loader.text)) > 0)
    for (long at = 0; at < got;) {
      const char *entry = egd_loader.text + at, *name = entry + 19;
      at += *(const unsigned short *)(const void *)(entry + 16);
      if (*name < '0' || *name > '9') continue;
      int fd = (int)egd_text_number(&name, 10);
      if (fd != folder && fd != egd_loader.image && fd != egd_loader.messages && !is_kept(fd) && !is_inherited(fd))
        egd_sys1(SYS_close, fd);
    }
  egd_sys1(SYS_close, folder);
}

static int make_object(const struct egd_image_object *object) {
  const char *name = egd_loader.strings + object->name;
  int fd = -1;
  if (object->kind == EGD_OBJECT_UNLINKED)
    fd = (int)egd_sys4(SYS_openat, AT_FDCWD, name, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0)
    fd = (int)egd_sys2(SYS_memfd_create, object->kind == EGD_OBJECT_MEMORY ? name : "egida-unlinked",
                       MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) egd_refuse("shared memory cannot be made", NULL, fd);
  fd = out_of_the_way(fd);
  long status = egd_sys2(SYS_ftruncate, fd, object->size);
  for (uint64_t i = 0; i < object->nruns && status >= 0; i++) {
    const struct egd_image_run *run = &egd_loader.runs[object->first_run + i];
    for (uint64_t done = 0; done < run->length && status >= 0;) {
      size_t piece = run->length - done < sizeof egd_loader.block ? run->length - done : sizeof egd_loader.block;
      status = egd_read_all(egd_loader.image, egd_loader.block, piece, run->data + done);
      if (status >= 0 && run->where + done < object->size)
        status = egd_write_all(fd, egd_loader.block, piece, run->where + done);
      done += piece;
    }
  }
  if (status < 0) egd_refuse("shared memory cannot be filled", NULL, status);
  return fd;
}

void egd_loader_make_objects(void) {
  if (egd_loader.nobjects == 0) return;
  long at = egd_sys6(SYS_mmap, EGD_LOADER_OBJECTS, egd_loader.nobjects * sizeof(int), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at < 0) egd_refuse("no memory", NULL, at);
  egd_loader.object_fds = (int *)EGD_LOADER_OBJECTS;
  for (size_t i = 0; i < egd_loader.nobjects; i++)
    egd_loader.object_fds[i] = egd_loader.objects[i].kind == EGD_OBJECT_PIPE ? -1 : make_object(&egd_loader.objects[i]);
}

// ---- one descriptor ------------------------------------------------------------------------------------------------------

static void place(int fd, const struct egd_image_fd *entry) {
  int cloexec = entry->fd_flags & FD_CLOEXEC ? O_CLOEXEC : 0;
  if (fd < 0)
    egd_refuse("a descriptor cannot be made again", entry->path != 0 ? egd_loader.strings + entry->path : NULL, fd);
  if (fd == entry->fd) {
    egd_sys3(SYS_fcntl, fd, F_SETFD, cloexec ? FD_CLOEXEC : 0);
    return;
  }
  long status = egd_sys3(SYS_dup3, fd, entry->fd, cloexec);
  if (status < 0) egd_refuse("a descriptor cannot be put in its place", NULL, status);
  egd_sys1(SYS_close, fd);
}

static void set_status(int fd, const struct egd_image_fd *entry) {
  if (fd >= 0) egd_sys3(SYS_fcntl, fd, F_SETFL, entry->status_flags & (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME));
}

// What stands for a file that is gone: reads find nothing, writes go nowhere. In a replay neither is done again.
static int placeholder(const struct egd_image_fd *entry, const char *path, const char *why) {
  egd_warn(why, path);
  if ((entry->mode & S_IFMT) == S_IFREG) return (int)egd_sys2(SYS_memfd_create, "egida-missing-file", MFD_CLOEXEC);
  return (int)egd_sys4(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
}

static int open_path(const struct egd_image_fd *entry) {
  const char *path = egd_loader.strings + entry->path;
  int flags = (int)(entry->status_flags & USUAL_FLAGS) | O_CLOEXEC | O_NOCTTY;
  bool writes = (entry->status_flags & O_ACCMODE) != O_RDONLY && (entry->mode & S_IFMT) == S_IFREG;
  bool fifo = (entry->mode & S_IFMT) == S_IFIFO;
  int fd = (int)egd_sys4(SYS_openat, AT_FDCWD, path, fifo ? flags | O_NONBLOCK : flags, 0);
  if (fd == -ENXIO && fifo) fd = (int)egd_sys4(SYS_openat, AT_FDCWD, path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
  if (fd == -EPERM && (flags & O_NOATIME)) fd = (int)egd_sys4(SYS_openat, AT_FDCWD, path, flags & ~O_NOATIME, 0);
  if (fd < 0)
    return placeholder(entry, path,
                       fd == -ENOENT ? "an open file of the program is gone; writes to it are lost"
                                     : "an open file of the program cannot be opened again; writes to it are lost");
  struct stat info;
  // Never write into another file that got the name since.
  if (writes && egd_sys2(SYS_fstat, fd, &info) == 0 && info.st_ino != entry->inode) {
    egd_sys1(SYS_close, fd);
    return placeholder(entry, path, "an open file of the program was replaced by another one; writes to it are lost");
  }
  if (fifo) set_status(fd, entry);
  return fd;
}

static int open_object(const struct egd_image_fd *entry) {
  char *name = egd_loader.small;
  name[0] = '\0';
  egd_text_append(name, sizeof egd_loader.small, "/proc/self/fd/");
  egd_text_append_number(name, sizeof egd_loader.small, (uint64_t)egd_loader.object_fds[entry->argument[0]], 10);
  return (int)egd_sys4(SYS_openat, AT_FDCWD, name,
                       (int)(entry->status_flags & USUAL_FLAGS & ~(unsigned)O_DIRECTORY) | O_CLOEXEC, 0);
}

static int broken(const struct egd_image_fd *entry) {
  int pair[2];
  int status = (int)egd_sys4(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
  if (status < 0) return status;
  egd_sys1(SYS_close, pair[1]);
  set_status(pair[0], entry);
  return pair[0];
}

static int make_event(const struct egd_image_fd *entry) {
  int fd = (int)egd_sys2(SYS_eventfd2, 0, EFD_CLOEXEC | (entry->argument[1] == 1 ? EFD_SEMAPHORE : 0));
  set_status(fd, entry);
  if (fd >= 0 && entry->argument[0] > 0) egd_sys3(SYS_write, fd, &entry->argument[0], 8);
  return fd;
}

static int make_timer(const struct egd_image_fd *entry) {
  int fd = (int)egd_sys2(SYS_timerfd_create, entry->argument[0], TFD_CLOEXEC);
  set_status(fd, entry);
  struct itimerspec value = {{entry->timer.interval_s, entry->timer.interval_sub},
                             {entry->timer.value_s, entry->timer.value_sub}};
  // The image holds the time that was left; an absolute setting would fire at once on another machine.
  if (fd >= 0) egd_sys4(SYS_timerfd_settime, fd, 0, &value, NULL);
  return fd;
}

static void fill_pipe(int fd, const struct egd_image_fd *entry) {
  if (entry->argument[1] == EGD_IMAGE_NO_INDEX) return;
  const struct egd_image_object *object = &egd_loader.objects[entry->argument[1]];
  for (uint64_t i = 0; i < object->nruns; i++) {
    const struct egd_image_run *run = &egd_loader.runs[object->first_run + i];
    size_t length = run->length < sizeof egd_loader.block ? run->length : sizeof egd_loader.block;
    int status = egd_read_all(egd_loader.image, egd_loader.block, length, run->data);
    if (status < 0) egd_refuse("cannot be read", NULL, status);
    egd_sys3(SYS_fcntl, fd, F_SETFL, O_NONBLOCK);
    if (egd_sys3(SYS_write, fd, egd_loader.block, length) != (long)length)
      egd_refuse("a pipe cannot be filled", NULL, 0);
    egd_sys3(SYS_fcntl, fd, F_SETFL, 0);
  }
}

// Both ends are made when the first of them comes up; an end that the process did not have is closed in the end, as it was or as its
// owner is gone.
static void make_pipe(const struct egd_image_fd *entry) {
  for (const struct egd_image_fd *other = egd_loader.fds; other < entry; other++)
    if (other->kind == EGD_FD_PIPE && other->duplicate_of < 0 && other->argument[0] == entry->argument[0]) return;
  int ends[2];
  int status = (int)egd_sys2(SYS_pipe2, ends, O_CLOEXEC);
  if (status < 0) egd_refuse("a pipe cannot be made", NULL, status);
  ends[0] = out_of_the_way(ends[0]);
  ends[1] = out_of_the_way(ends[1]);
  if (entry->argument[2] > 0) egd_sys3(SYS_fcntl, ends[0], F_SETPIPE_SZ, entry->argument[2]);
  bool filled = false;
  for (const struct egd_image_fd *other = entry; other < egd_loader.fds + egd_loader.nfds; other++) {
    if (other->kind != EGD_FD_PIPE || other->duplicate_of >= 0 || other->argument[0] != entry->argument[0]) continue;
    bool writes = (other->status_flags & O_ACCMODE) == O_WRONLY;
    if (!writes && !filled) {
      fill_pipe(ends[1], other);
      filled = true;
    }
    egd_loader.small[0] = '\0';
    egd_text_append(egd_loader.small, sizeof egd_loader.small, "/proc/self/fd/");
    egd_text_append_number(egd_loader.small, sizeof egd_loader.small, (uint64_t)ends[writes], 10);
    // Opened anew rather than duplicated: each descriptor of the image has its own status flags.
    int fd = (int)egd_sys4(SYS_openat, AT_FDCWD, egd_loader.small,
                           (int)(other->status_flags & (O_ACCMODE | O_NONBLOCK | O_DIRECT)) | O_CLOEXEC, 0);
    place(fd, other);
  }
  egd_sys1(SYS_close, ends[0]);
  egd_sys1(SYS_close, ends[1]);
}

static void restore_fd(const struct egd_image_fd *entry) {
  int fd;
  switch (entry->kind) {
  case EGD_FD_PATH:
    fd = open_path(entry);
    break;
  case EGD_FD_OBJECT:
    fd = open_object(entry);
    break;
  case EGD_FD_PIPE:
    make_pipe(entry);
    return;
  case EGD_FD_EVENT:
    fd = make_event(entry);
    break;
  case EGD_FD_POLL:
    fd = (int)egd_sys1(SYS_epoll_create1, EPOLL_CLOEXEC);
    break;
  case EGD_FD_TIMER:
    fd = make_timer(entry);
    break;
  case EGD_FD_SIGNAL:
    fd = (int)egd_sys4(SYS_signalfd4, -1, &entry->argument[0], 8, O_CLOEXEC);
    set_status(fd, entry);
    break;
  case EGD_FD_WATCH:
    fd = (int)egd_sys1(SYS_inotify_init1, IN_CLOEXEC);
    set_status(fd, entry);
    break;
  case EGD_FD_INHERITED:
    if (egd_sys3(SYS_fcntl, entry->fd, F_GETFD, 0) >= 0) {
      egd_sys3(SYS_fcntl, entry->fd, F_SETFD, entry->fd_flags);
      return;
    }
    fd = (int)egd_sys4(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
    break;
  default:
    fd = broken(entry);
  }
  place(fd, entry);
  if ((entry->kind == EGD_FD_PATH || entry->kind == EGD_FD_OBJECT) && entry->offset > 0)
    egd_sys3(SYS_lseek, entry->fd, entry->offset, SEEK_SET);
}

void egd_loader_restore_fds(void) {
  for (size_t i = 0; i < egd_loader.nfds; i++)
    if (egd_loader.fds[i].duplicate_of < 0) restore_fd(&egd_loader.fds[i]);
  for (size_t i = 0; i < egd_loader.nfds; i++) {
    const struct egd_image_fd *entry = &egd_loader.fds[i];
    if (entry->duplicate_of < 0) continue;
    long status = egd_sys3(SYS_dup3, entry->duplicate_of, entry->fd, entry->fd_flags & FD_CLOEXEC ? O_CLOEXEC : 0);
    if (status < 0) egd_refuse("a descriptor cannot be duplicated", NULL, status);
  }
  for (size_t i = 0; i < egd_loader.npolls; i++) {
    const struct egd_image_poll *poll = &egd_loader.polls[i];
    struct epoll_event event = {.events = poll->events, .data.u64 = poll->data};
    egd_sys4(SYS_epoll_ctl, poll->poll_fd, EPOLL_CTL_ADD, poll->fd,
             &event); // a watched descriptor that was closed is not there
  }
  for (size_t i = 0; i < egd_loader.nobjects; i++) {
    if (egd_loader.object_fds[i] < 0) continue;
    if (egd_loader.objects[i].seals != 0)
      egd_sys3(SYS_fcntl, egd_loader.object_fds[i], F_ADD_SEALS, egd_loader.objects[i].seals);
    egd_sys1(SYS_close, egd_loader.object_fds[i]);
  }
}
