// Descriptors and timers of the process. Runs while all threads stand still, before the fork: offsets, counters and bytes in pipes
// are shared with the forked copy and go on changing.
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <signal.h>
#include <time.h>
#include "runtime/checkpoint/internal.h"
#include "runtime/checkpoint/text.h"
#include "runtime/syscall.h"

// Content of unlinked files and shared memory is copied to memory before the fork; more would threaten the application itself.
#define MAX_OBJECT_BYTES (1ull << 30)

struct directory_entry {
  uint64_t inode;
  int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

int64_t egd_capture_string(struct egd_capture *capture, const char *text) {
  size_t length = egd_text_length(text) + 1;
  char *at = egd_table_add(&capture->strings, length);
  if (at == NULL) return -ENOMEM;
  __builtin_memcpy(at, text, length);
  return at - capture->strings.base;
}

static void name_of_fd(char *to, size_t size, const char *folder, int fd) {
  to[0] = '\0';
  egd_text_append(to, size, folder);
  egd_text_append_number(to, size, (uint64_t)fd, 10);
}

// Run for `length` bytes at `where`, to be copied into `content`; its data offset is one in `content` until the file is written.
static char *object_piece(struct egd_capture *capture, struct egd_image_object *object, uint64_t where, size_t length) {
  size_t begin = capture->content.used;
  char *data = egd_table_add(&capture->content, (length + EGD_IMAGE_PAGE - 1) & ~(size_t)(EGD_IMAGE_PAGE - 1));
  struct egd_image_run *run = egd_table_add(&capture->runs, sizeof *run);
  if (data == NULL || run == NULL) return NULL;
  *run = (struct egd_image_run){.where = where, .length = length, .data = begin};
  object->nruns++;
  return data;
}

static int read_object(struct egd_capture *capture, struct egd_image_object *object, int fd) {
  name_of_fd(capture->small, sizeof capture->small, "/proc/self/fd/", fd);
  int again = (int)egd_sys4(SYS_openat, AT_FDCWD, capture->small, O_RDONLY | O_CLOEXEC, 0);
  if (again < 0) return again;
  int status = 0;
  uint64_t total = 0;
  for (uint64_t at = 0; at < object->size && status == 0;) {
    long data = egd_sys3(SYS_lseek, again, at, SEEK_DATA);
    if (data == -ENXIO) break;
    if (data < 0) data = (long)at; // no holes known here
    long hole = egd_sys3(SYS_lseek, again, data, SEEK_HOLE);
    if (hole < 0 || (uint64_t)hole > object->size) hole = (long)object->size;
    uint64_t length = (uint64_t)(hole - data);
    total += length;
    if (total > MAX_OBJECT_BYTES) {
      status = -EFBIG;
      break;
    }
    char *to = object_piece(capture, object, (uint64_t)data, length);
    status = to == NULL ? -ENOMEM : egd_read_all(again, to, length, (uint64_t)data);
    at = (uint64_t)hole;
  }
  egd_sys1(SYS_close, again);
  return status;
}

int64_t egd_capture_object(struct egd_capture *capture, uint32_t kind, uint64_t device, uint64_t inode,
                           const char *name, int fd) {
  struct egd_image_object *objects = (void *)capture->objects.base;
  size_t count = capture->objects.used / sizeof *objects;
  for (size_t i = 0; i < count && kind != EGD_OBJECT_PIPE; i++)
    if (objects[i].device == device && objects[i].inode == inode && objects[i].kind != EGD_OBJECT_PIPE)
      return (int64_t)i;
  struct egd_image_object *object = egd_table_add(&capture->objects, sizeof *object);
  int64_t name_at = egd_capture_string(capture, name);
  if (object == NULL || name_at < 0) return -ENOMEM;
  object->kind = kind;
  object->name = (uint32_t)name_at;
  object->device = device, object->inode = inode;
  object->first_run = capture->runs.used / sizeof(struct egd_image_run);
  if (fd >= 0) {
    struct stat info;
    int status = (int)egd_sys2(SYS_fstat, fd, &info);
    if (status < 0) return status;
    object->size = (uint64_t)info.st_size;
    long seals = egd_sys3(SYS_fcntl, fd, F_GET_SEALS, 0);
    if (seals > 0 && kind == EGD_OBJECT_MEMORY) object->seals = (uint32_t)seals;
    status = read_object(capture, object, fd);
    if (status < 0) return status;
  }
  return (int64_t)count;
}

// tee() leaves the bytes where they are.
static int64_t capture_pipe_bytes(struct egd_capture *capture, int fd, uint64_t inode) {
  int available = 0;
  if (egd_sys3(SYS_ioctl, fd, FIONREAD, &available) < 0 || available <= 0) return EGD_IMAGE_NO_INDEX;
  int copy[2];
  int status = (int)egd_sys2(SYS_pipe2, copy, O_CLOEXEC | O_NONBLOCK);
  if (status < 0) return status;
  long capacity = egd_sys3(SYS_fcntl, fd, F_GETPIPE_SZ, 0);
  if (capacity > 0) egd_sys3(SYS_fcntl, copy[1], F_SETPIPE_SZ, capacity);
  long got = egd_sys4(SYS_tee, fd, copy[1], available, 2 /* SPLICE_F_NONBLOCK */);
  int64_t index = EGD_IMAGE_NO_INDEX;
  if (got > 0) {
    index = egd_capture_object(capture, EGD_OBJECT_PIPE, 0, inode, "", -1);
    if (index >= 0) {
      struct egd_image_object *object = (struct egd_image_object *)(void *)capture->objects.base + index;
      object->size = (uint64_t)got;
      char *to = object_piece(capture, object, 0, (size_t)got);
      for (long done = 0; to != NULL && done < got;) {
        long n = egd_sys3(SYS_read, copy[0], to + done, got - done);
        if (n <= 0) break;
        done += n;
      }
      if (to == NULL) index = -ENOMEM;
    }
  } else if (got < 0 && got != -EAGAIN)
    index = got;
  egd_sys1(SYS_close, copy[0]);
  egd_sys1(SYS_close, copy[1]);
  return index;
}

static const char *read_fdinfo(struct egd_capture *capture, int fd) {
  name_of_fd(capture->small, sizeof capture->small, "/proc/self/fdinfo/", fd);
  capture->text.used = 0;
  return egd_table_read_file(&capture->text, capture->small) < 0 ? NULL : capture->text.base;
}

static int capture_polls(struct egd_capture *capture, int poll_fd, const char *info) {
  for (const char *line = info; *line != '\0';) {
    if (egd_text_starts(line, "tfd:")) {
      struct egd_image_poll *poll = egd_table_add(&capture->polls, sizeof *poll);
      if (poll == NULL) return -ENOMEM;
      poll->poll_fd = poll_fd;
      line += 4;
      egd_text_skip_blanks(&line);
      poll->fd = (int)egd_text_number(&line, 10);
      egd_text_skip_blanks(&line);
      if (egd_text_starts(line, "events:")) line += 7;
      egd_text_skip_blanks(&line);
      poll->events = (uint32_t)egd_text_number(&line, 16);
      egd_text_skip_blanks(&line);
      if (egd_text_starts(line, "data:")) line += 5;
      egd_text_skip_blanks(&line);
      poll->data = egd_text_number(&line, 16);
    }
    while (*line != '\0' && *line != '\n') line++;
    if (*line == '\n') line++;
  }
  return 0;
}

static uint64_t info_number(const char *info, const char *key, unsigned base) {
  const char *at = egd_text_find(info, key);
  return at == NULL ? 0 : egd_text_number(&at, base);
}

// "key: (seconds, nanoseconds)"
static void info_time(const char *info, const char *key, int64_t *ret_s, int64_t *ret_ns) {
  const char *at = egd_text_find(info, key);
  if (at == NULL || *at++ != '(') return;
  *ret_s = egd_text_signed(&at);
  if (*at == ',') at++;
  egd_text_skip_blanks(&at);
  *ret_ns = egd_text_signed(&at);
}

static int describe_anonymous(struct egd_capture *capture, struct egd_image_fd *entry) {
  const char *name = capture->link + egd_text_length("anon_inode:");
  const char *info = read_fdinfo(capture, entry->fd);
  entry->kind = EGD_FD_BROKEN;
  if (info == NULL) return 0;
  if (egd_text_equal(name, "[eventfd]")) {
    entry->kind = EGD_FD_EVENT;
    entry->argument[0] = info_number(info, "eventfd-count:", 16);
    entry->argument[1] = info_number(info, "eventfd-semaphore:", 10);
  } else if (egd_text_equal(name, "[eventpoll]")) {
    entry->kind = EGD_FD_POLL;
    return capture_polls(capture, entry->fd, info);
  } else if (egd_text_equal(name, "[timerfd]")) {
    entry->kind = EGD_FD_TIMER;
    entry->argument[0] = info_number(info, "clockid:", 10);
    entry->argument[1] = info_number(info, "settime flags:", 8);
    info_time(info, "it_value:", &entry->timer.value_s, &entry->timer.value_sub);
    info_time(info, "it_interval:", &entry->timer.interval_s, &entry->timer.interval_sub);
  } else if (egd_text_equal(name, "[signalfd]")) {
    entry->kind = EGD_FD_SIGNAL;
    entry->argument[0] = info_number(info, "sigmask:", 16);
  } else if (egd_text_starts(name, "inotify")) {
    entry->kind = EGD_FD_WATCH;
  }
  return 0;
}

static int describe_path(struct egd_capture *capture, struct egd_image_fd *entry) {
  const char *path = capture->link;
  char *own = capture->small;
  own[0] = '\0';
  egd_text_append(own, sizeof capture->small, "/proc/");
  egd_text_append_number(own, sizeof capture->small, capture->process.pid, 10);
  egd_text_append(own, sizeof capture->small, "/");
  if (egd_text_starts(path, own)) {
    const char *rest = path + egd_text_length(own);
    own[0] = '\0';
    egd_text_append(own, sizeof capture->small, "/proc/self/");
    egd_text_append(own, sizeof capture->small, rest);
    path = own;
  }
  int64_t at = egd_capture_string(capture, path);
  if (at < 0) return (int)at;
  entry->kind = EGD_FD_PATH;
  entry->path = (uint32_t)at;
  return 0;
}

static int describe_object(struct egd_capture *capture, struct egd_image_fd *entry, const struct stat *info) {
  bool memory = egd_text_starts(capture->link, "/memfd:");
  char *name = capture->link + (memory ? egd_text_length("/memfd:") : 0);
  char *end = name + egd_text_length(name);
  if (egd_text_ends(name, " (deleted)")) end -= egd_text_length(" (deleted)");
  if (!memory)
    while (end > name + 1 && *end != '/') end--;
  *end = '\0';
  int64_t index = egd_capture_object(capture, memory ? EGD_OBJECT_MEMORY : EGD_OBJECT_UNLINKED, info->st_dev,
                                     info->st_ino, name, entry->fd);
  if (index < 0) return (int)index;
  entry->kind = EGD_FD_OBJECT;
  entry->argument[0] = (uint64_t)index;
  return 0;
}

static int describe_fd(struct egd_capture *capture, struct egd_image_fd *entry, const struct stat *info) {
  bool standard = entry->fd <= 2;
  switch (info->st_mode & S_IFMT) {
  case S_IFREG:
    if (info->st_nlink == 0 || egd_text_starts(capture->link, "/memfd:")) return describe_object(capture, entry, info);
    return describe_path(capture, entry);
  case S_IFCHR:
    if (standard && (info->st_rdev >> 8) != 1) { // not /dev/null and its like: a terminal
      entry->kind = EGD_FD_INHERITED;
      return 0;
    }
    return describe_path(capture, entry);
  case S_IFDIR:
  case S_IFBLK:
    return describe_path(capture, entry);
  case S_IFIFO:
    if (!egd_text_starts(capture->link, "pipe:")) return describe_path(capture, entry);
    if (standard) {
      entry->kind = EGD_FD_INHERITED;
      return 0;
    }
    entry->kind = EGD_FD_PIPE;
    entry->argument[0] = info->st_ino;
    entry->argument[1] = EGD_IMAGE_NO_INDEX;
    long capacity = egd_sys3(SYS_fcntl, entry->fd, F_GETPIPE_SZ, 0);
    entry->argument[2] = capacity > 0 ? (uint64_t)capacity : 0;
    if ((entry->status_flags & O_ACCMODE) != O_WRONLY) {
      int64_t index = capture_pipe_bytes(capture, entry->fd, info->st_ino);
      if (index < 0) return (int)index;
      entry->argument[1] = (uint64_t)index;
    }
    return 0;
  case S_IFSOCK:
    entry->kind = standard ? EGD_FD_INHERITED : EGD_FD_BROKEN;
    return 0;
  default:
    if (egd_text_starts(capture->link, "anon_inode:")) return describe_anonymous(capture, entry);
    entry->kind = EGD_FD_BROKEN;
    return 0;
  }
}

static int capture_fd(struct egd_capture *capture, int fd) {
  const struct egd_image_request *request = capture->request;
  for (size_t i = 0; i < request->nexcluded_fds; i++)
    if (request->excluded_fds[i] == fd) return 0;
  struct stat info;
  if (egd_sys2(SYS_fstat, fd, &info) < 0) return 0; // closed since the listing
  long flags = egd_sys3(SYS_fcntl, fd, F_GETFL, 0), fd_flags = egd_sys3(SYS_fcntl, fd, F_GETFD, 0);
  if (flags < 0 || fd_flags < 0) return 0;
  struct egd_image_fd entry = {.fd = fd,
                               .status_flags = (uint32_t)flags,
                               .fd_flags = (uint32_t)fd_flags,
                               .duplicate_of = -1,
                               .mode = info.st_mode,
                               .device = info.st_dev,
                               .inode = info.st_ino};
  const struct egd_image_fd *before = (void *)capture->fds.base;
  size_t count = capture->fds.used / sizeof entry;
  for (size_t i = 0; i < count && entry.duplicate_of < 0; i++)
    if (before[i].duplicate_of < 0 && before[i].device == entry.device && before[i].inode == entry.inode &&
        egd_sys5(SYS_kcmp, capture->process.pid, capture->process.pid, KCMP_FILE, before[i].fd, fd) == 0)
      entry.duplicate_of = before[i].fd;
  if (entry.duplicate_of < 0) {
    name_of_fd(capture->small, sizeof capture->small, "/proc/self/fd/", fd);
    long length = egd_sys3(SYS_readlink, capture->small, capture->link, sizeof capture->link - 1);
    if (length < 0) return (int)length;
    capture->link[length] = '\0';
    long offset = egd_sys3(SYS_lseek, fd, 0, SEEK_CUR);
    entry.offset = offset > 0 ? (uint64_t)offset : 0;
    int status = describe_fd(capture, &entry, &info);
    if (status < 0) return status;
  }
  struct egd_image_fd *to = egd_table_add(&capture->fds, sizeof *to);
  if (to == NULL) return -ENOMEM;
  *to = entry;
  return 0;
}

int egd_capture_fds(struct egd_capture *capture) {
  int folder = (int)egd_sys4(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (folder < 0) return folder;
  char entries[1024] __attribute__((aligned(8)));
  int status = 0;
  for (;;) {
    long got = egd_sys3(SYS_getdents64, folder, entries, sizeof entries);
    if (got < 0) status = (int)got;
    if (got <= 0) break;
    for (long at = 0; at < got && status == 0;) {
      const struct directory_entry *entry = (const void *)(entries + at);
      at += entry->length;
      const char *name = entry->name;
      if (*name < '0' || *name > '9') continue;
      int fd = (int)egd_text_number(&name, 10);
      if (fd != folder) status = capture_fd(capture, fd);
    }
    if (status < 0) break;
  }
  egd_sys1(SYS_close, folder);
  return status;
}

int egd_capture_timers(struct egd_capture *capture) {
  capture->text.used = 0;
  int64_t length = egd_table_read_file(&capture->text, "/proc/self/timers");
  if (length == -ENOENT) return 0; // a kernel without this file: timers are lost
  if (length < 0) return (int)length;
  const char *line = capture->text.base;
  struct egd_image_timer *timer = NULL;
  while (*line != '\0') {
    if (egd_text_starts(line, "ID: ")) {
      timer = egd_table_add(&capture->timers, sizeof *timer);
      if (timer == NULL) return -ENOMEM;
      line += 4;
      timer->id = (int)egd_text_number(&line, 10);
      struct itimerspec value;
      long got = egd_sys2(SYS_timer_gettime, timer->id, &value);
      if (got < 0) return (int)got;
      timer->value = (struct egd_image_timer_value){value.it_interval.tv_sec, value.it_interval.tv_nsec,
                                                    value.it_value.tv_sec, value.it_value.tv_nsec};
      if (timer->value.value_s == 0 && timer->value.value_sub == 0) { // about to fire again
        timer->value.value_s = timer->value.interval_s;
        timer->value.value_sub = timer->value.interval_sub;
      }
    } else if (timer != NULL && egd_text_starts(line, "signal: ")) {
      line += 8;
      timer->signal = (int)egd_text_number(&line, 10);
      if (*line == '/') line++;
      timer->value_pointer = egd_text_number(&line, 16);
    } else if (timer != NULL && egd_text_starts(line, "notify: ")) {
      line += 8;
      timer->notify = egd_text_starts(line, "none") ? SIGEV_NONE : SIGEV_SIGNAL;
      while (*line != '\n' && *line != '\0' && *line != '/') line++;
      if (egd_text_starts(line, "/tid.")) {
        timer->notify |= SIGEV_THREAD_ID;
        line += 5;
        timer->thread = (uint32_t)egd_text_number(&line, 10);
      }
    } else if (timer != NULL && egd_text_starts(line, "ClockID: ")) {
      line += 9;
      timer->clock = (int)egd_text_signed(&line);
    }
    while (*line != '\0' && *line != '\n') line++;
    if (*line == '\n') line++;
  }
  return 0;
}
