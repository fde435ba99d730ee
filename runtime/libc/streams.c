// Reading and writing, by what the descriptor stands for (descriptors.c).
//
// Every read leaves an event with its result. Data is in the event unless the file cannot have changed since it was
// opened: then the event has no data, and replay reads the file again. An answer that exceeds one event is continued in
// events of their own kind (MORE).
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include "runtime/libc/intent.h"
#include "runtime/libc/internal.h"

#define PIECE (1u << 20)  // largest event
#define MORE (1u << 15)   // in aux: further data of a read
#define VECTORS 1024      // as IOV_MAX
#define POLL_NS 5000000   // waiting for standard input
#define REQUEST_MAX 4096u // of the PMI protocol

// A transfer: one or several pieces of the application's memory, at the descriptor's position or at another.
struct transfer {
  struct iovec single;
  const struct iovec *parts;
  size_t count, length;
  int64_t offset; // -1: at the descriptor's position
};

static int transfer_of(const struct egd_call *c, struct transfer *out) {
  out->offset = -1;
  switch (c->nr) {
  case SYS_pread64:
  case SYS_pwrite64:
    out->offset = c->a[3]; // fall through
  case SYS_read:
  case SYS_write:
    out->single = (struct iovec){(void *)c->a[1], (size_t)c->a[2]};
    out->parts = &out->single;
    out->count = 1;
    break;
  case SYS_preadv:
  case SYS_pwritev:
  case SYS_preadv2:
  case SYS_pwritev2:
    out->offset = c->a[3]; // fall through
  default:
    if (c->a[2] < 0 || c->a[2] > VECTORS) return -EINVAL;
    out->parts = (const struct iovec *)c->a[1];
    out->count = (size_t)c->a[2];
  }
  if (out->offset < -1) return -EINVAL;
  out->length = 0;
  for (size_t i = 0; i < out->count; i++) out->length += out->parts[i].iov_len;
  return out->length > 0x7ffff000 && out->count > 1 ? -EINVAL : 0;
}

// The piece of the application's memory at `done`, contiguous.
static unsigned char *part_at(const struct transfer *t, size_t done, size_t *ret_length) {
  for (size_t i = 0; i < t->count; i++) {
    if (done < t->parts[i].iov_len) {
      *ret_length = t->parts[i].iov_len - done;
      return (unsigned char *)t->parts[i].iov_base + done;
    }
    done -= t->parts[i].iov_len;
  }
  *ret_length = 0;
  return NULL;
}

static long at_once(long nr, long fd, const struct transfer *t, size_t done, size_t length, int64_t offset) {
  size_t moved = 0;
  while (moved < length) {
    size_t part;
    unsigned char *memory = part_at(t, done + moved, &part);
    if (part > length - moved) part = length - moved;
    long r = egd_sys4(nr, fd, memory, part, offset + (int64_t)moved);
    if (r == -EINTR) continue;
    if (r < 0) return moved ? (long)moved : r;
    moved += (size_t)r;
    if ((size_t)r < part) break;
  }
  return (long)moved;
}

// ---- writing ---------------------------------------------------------------------------------------------------------

// The last request that replay did not repeat, and that the log has no answer for yet.
static unsigned char request[REQUEST_MAX];
static uint32_t request_length;

static long write_output(uint32_t stream, const struct transfer *t) {
  long total = 0;
  for (size_t i = 0; i < t->count; i++)
    if (t->parts[i].iov_len) total += egd_output(stream, t->parts[i].iov_base, t->parts[i].iov_len);
  return total;
}

/// Replay: a pipe within the rank is filled and emptied again, so that it holds what it held.
static void repeat_in_pipe(struct egd_call *c, const struct egd_file *file, short event, int64_t value) {
  struct pollfd ready = {(int)c->a[0], event, 0};
  if (file->kind == EGD_FILE_PIPE && value > 0 && egd_pipe_is_private(file) && egd_sys3(SYS_poll, &ready, 1, 0) == 1 &&
      (ready.revents & event))
    egd_raw(c);
}

static long write_stream(struct egd_call *c, const struct egd_row *row, struct egd_file *file,
                         const struct transfer *t) {
  int64_t value;
  if (egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, NULL, 0, NULL)) {
    if (file->kind == EGD_FILE_PMI && t->count == 1 && t->length <= REQUEST_MAX) {
      memcpy(request, t->parts[0].iov_base, t->length);
      request_length = (uint32_t)t->length;
    }
    repeat_in_pipe(c, file, POLLOUT, value);
    return value;
  }
  egd_visible_act();
  long r = egd_run(c, row);
  egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, r, NULL, 0);
  return r;
}

static void move(long fd, const struct transfer *t, int64_t to) {
  if (t->offset < 0) egd_sys3(SYS_lseek, fd, to, SEEK_SET);
}

/// Writes at a position even if the descriptor always appends.
static long write_at(long fd, const struct egd_file *file, const struct transfer *t, size_t length, int64_t offset) {
  long flags = file->append ? egd_sys2(SYS_fcntl, fd, F_GETFL) : 0;
  if (file->append) egd_sys3(SYS_fcntl, fd, F_SETFL, flags & ~O_APPEND);
  long r = at_once(SYS_pwrite64, fd, t, 0, length, offset);
  if (file->append) egd_sys3(SYS_fcntl, fd, F_SETFL, flags);
  return r;
}

static long write_file(struct egd_call *c, const struct egd_row *row, struct egd_file *file, const struct transfer *t) {
  long fd = (int)c->a[0];
  struct egd_intent intent;
  int64_t value, existed;
  uint32_t aux = (uint32_t)c->nr;
  if (!file->writable || t->length == 0) return egd_raw(c); // fails, or nothing: the same each time
  bool repeated = egd_take(EGD_EVENT_INTENT, aux, &existed, &intent, sizeof intent, NULL);
  if (!repeated) {
    struct stat st;
    egd_sys2(SYS_fstat, fd, &st);
    intent = (struct egd_intent){st.st_dev, st.st_ino, 0, t->length, (uint64_t)st.st_size};
    if (file->append)
      intent.offset = intent.size_before;
    else
      intent.offset = t->offset >= 0 ? (uint64_t)t->offset : (uint64_t)egd_sys3(SYS_lseek, fd, 0, SEEK_CUR);
    egd_event_log(EGD_EVENT_INTENT, aux, 1, &intent, sizeof intent);
    repeated = egd_act_after_intent();
  }
  if (repeated) {
    if (intent.length != t->length)
      egd_die("replay: %lu bytes are written to %s where the log has %lu", t->length, file->path, intent.length);
    if (egd_take(EGD_EVENT_SYSCALL, aux, &value, NULL, 0, NULL)) {
      if (value > 0 && file->lost) write_at(fd, file, t, (size_t)value, (int64_t)intent.offset);
      if (value > 0) move(fd, t, (int64_t)intent.offset + value);
      return value;
    }
    long r = write_at(fd, file, t, t->length, (int64_t)intent.offset);
    if (r > 0) move(fd, t, (int64_t)intent.offset + r);
    egd_event_log(EGD_EVENT_SYSCALL, aux, r, NULL, 0);
    return r;
  }
  long r = egd_run(c, row);
  egd_event_log(EGD_EVENT_SYSCALL, aux, r, NULL, 0);
  return r;
}

long egd_policy_write(struct egd_call *c, const struct egd_row *row) {
  struct egd_file *file = egd_file_of((int)c->a[0]);
  struct transfer t;
  if (!file || transfer_of(c, &t) != 0) return egd_raw(c); // the kernel names the error
  if (file->kind == EGD_FILE_STDOUT || file->kind == EGD_FILE_STDERR)
    return t.offset >= 0 ? -ESPIPE : write_output(file->kind, &t);
  if (!egd_rank.logging || file->kind == EGD_FILE_SINK) return egd_run(c, row);
  if (file->kind == EGD_FILE_REGULAR) {
    long r = write_file(c, row, file, &t);
    egd_file_moved((int)c->a[0], file);
    return r;
  }
  return write_stream(c, row, file, &t);
}

// ---- reading ---------------------------------------------------------------------------------------------------------

static bool changed(long fd, const struct egd_file *file) {
  struct stat st;
  return egd_sys2(SYS_fstat, fd, &st) != 0 || st.st_size != file->size ||
         st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec != file->mtime_ns;
}

/// Take a read event: the data of one event goes to the application's memory from `done` on.
static bool take_data(enum egd_event_kind kind, uint32_t aux, const struct transfer *t, size_t done, int64_t *ret_value,
                      size_t *ret_length) {
  static unsigned char scratch[PIECE];
  size_t room;
  unsigned char *memory = part_at(t, done, &room);
  bool direct = room >= PIECE || room >= t->length - done;
  if (!egd_take(kind, aux, ret_value, direct ? memory : scratch, direct ? room : PIECE, ret_length)) return false;
  for (size_t copied = 0; !direct && copied < *ret_length;) {
    memory = part_at(t, done + copied, &room);
    if (!memory) break;
    if (room > *ret_length - copied) room = *ret_length - copied;
    memcpy(memory, scratch + copied, room);
    copied += room;
  }
  return true;
}

static void log_data(enum egd_event_kind kind, uint32_t aux, const struct transfer *t, size_t done, int64_t value,
                     size_t length) {
  static unsigned char scratch[PIECE];
  size_t room;
  unsigned char *memory = part_at(t, done, &room);
  if (length > room) { // several parts
    for (size_t copied = 0; copied < length; copied += room) {
      memory = part_at(t, done + copied, &room);
      if (room > length - copied) room = length - copied;
      memcpy(scratch + copied, memory, room);
    }
    memory = scratch;
  }
  egd_event_log(kind, aux, value, memory, length);
}

/// The data of a long read, from `done` on, as events MORE: taken, or logged where the log ends.
static void more_data(long fd, const struct egd_file *file, uint32_t aux, const struct transfer *t, size_t done,
                      size_t length, int64_t offset, bool read_again) {
  while (done < length) {
    size_t piece = length - done < PIECE ? length - done : PIECE, got;
    int64_t value;
    if (take_data(EGD_EVENT_SYSCALL, aux | MORE, t, done, &value, &got)) {
      read_again = true; // what the log does not have is not in memory either
      done += (size_t)value;
      continue;
    }
    if (read_again && at_once(SYS_pread64, fd, t, done, piece, offset + (int64_t)done) != (long)piece)
      egd_die("a read of %s was cut off by a failure and cannot be done again: the file became shorter", file->path);
    log_data(EGD_EVENT_SYSCALL, aux | MORE, t, done, (int64_t)piece, piece);
    done += piece;
  }
}

static long read_file(struct egd_call *c, const struct egd_row *row, struct egd_file *file, const struct transfer *t) {
  long fd = (int)c->a[0];
  uint32_t aux = (uint32_t)c->nr;
  int64_t value;
  size_t got;
  if (t->length == 0) return egd_raw(c);
  int64_t offset = t->offset >= 0 ? t->offset : egd_sys3(SYS_lseek, fd, 0, SEEK_CUR);
  if (take_data(EGD_EVENT_SYSCALL, aux, t, 0, &value, &got)) {
    if (value <= 0) return value;
    if (got) {
      if (value > (int64_t)got) more_data(fd, file, aux, t, got, (size_t)value, offset, true);
      if (t->offset < 0) egd_sys3(SYS_lseek, fd, offset + value, SEEK_SET);
      return value;
    }
    if (file->lost || changed(fd, file))
      egd_die("replay must read file %s again, but it was changed during the job: start the job anew, or open it for "
              "writing in the program, so that its data is logged",
              file->path);
    long r = egd_run(c, row);
    if (r != value) egd_die("replay: reading %s gives %d bytes where the log has %d", file->path, (int)r, (int)value);
    return r;
  }
  if (!file->volatile_reads && changed(fd, file)) file->volatile_reads = true;
  long r = egd_run(c, row);
  if (r <= 0 || !file->volatile_reads) {
    egd_event_log(EGD_EVENT_SYSCALL, aux, r, NULL, 0);
    return r;
  }
  size_t first = r > PIECE ? PIECE : (size_t)r;
  log_data(EGD_EVENT_SYSCALL, aux, t, 0, r, first);
  if ((size_t)r > first) more_data(fd, file, aux, t, first, (size_t)r, offset, false);
  return r;
}

// Pipes, devices, sockets: at most one event's worth at a time, as such reads may always be short.
static long read_stream(struct egd_call *c, const struct egd_row *row, struct egd_file *file, struct transfer *t) {
  enum egd_event_kind kind = file->kind == EGD_FILE_RANDOM ? EGD_EVENT_RANDOM : EGD_EVENT_SYSCALL;
  uint32_t aux = kind == EGD_EVENT_RANDOM ? 0 : (uint32_t)c->nr;
  int64_t value;
  size_t got, room;
  // The pipe's content goes where the log's will overwrite it.
  if (egd_rank.replaying && egd_event_next_is(kind, aux)) repeat_in_pipe(c, file, POLLIN, 1);
  if (take_data(kind, aux, t, 0, &value, &got)) {
    request_length = 0;
    return value;
  }
  if (request_length && file->kind == EGD_FILE_PMI) { // the answer went to the incarnation that died: ask again
    egd_sys3(SYS_write, c->a[0], request, request_length);
    request_length = 0;
  }
  long r;
  unsigned char *memory = part_at(t, 0, &room);
  struct egd_call first = *c;
  if (t->length > PIECE && memory)
    first = (struct egd_call){SYS_read, {c->a[0], (long)memory, (long)(room < PIECE ? room : PIECE)}, c->context};
  if (egd_blocked(&first, &r) != EGD_SIGNALS_FINAL) {
    if (egd_rank.in_runtime == 1) egd_safe_point();
    return read_stream(c, row, file, t); // perhaps in a new incarnation
  }
  log_data(kind, aux, t, 0, r, r > 0 ? (size_t)r : 0);
  return r;
}

// ---- standard input ----------------------------------------------------------------------------------------------------

static int64_t input_offset; // ours: the descriptor's own position belongs to each incarnation

static bool input_ended(void) {
  static const char name[] = "/stdin.eof";
  char path[sizeof egd_rank.seg->job_dir + sizeof name];
  struct stat st;
  size_t length = strlen(egd_rank.seg->job_dir);
  memcpy(path, egd_rank.seg->job_dir, length);
  memcpy(path + length, name, sizeof name);
  return egd_sys2(SYS_stat, path, &st) == 0;
}

static long read_input(struct egd_call *c, const struct transfer *t) {
  const struct timespec pause = {0, POLL_NS};
  int64_t value;
  size_t got, length = t->length < PIECE ? t->length : PIECE;
  if (t->offset >= 0) return -ESPIPE;
  if (length == 0) return 0;
  bool ended = false;
  for (;;) {
    // Also after each safe point: a new incarnation that begins there replays what follows.
    if (take_data(EGD_EVENT_INPUT, 0, t, 0, &value, &got)) {
      if (value > 0) input_offset += value;
      return value;
    }
    if (egd_interrupted_before() == EGD_SIGNALS_FINAL) {
      egd_event_log(EGD_EVENT_INPUT, 0, -EINTR, NULL, 0);
      return -EINTR;
    }
    long r = at_once(SYS_pread64, c->a[0], t, 0, length, input_offset);
    if (r != 0 || ended) {
      if (r > 0) input_offset += r;
      log_data(EGD_EVENT_INPUT, 0, t, 0, r, r > 0 ? (size_t)r : 0);
      return r;
    }
    ended = input_ended(); // and look once more: the mark comes after the last byte
    if (ended) continue;
    if (egd_sys2(SYS_nanosleep, &pause, NULL) == -EINTR && egd_signals_interrupted() == EGD_SIGNALS_FINAL) {
      egd_event_log(EGD_EVENT_INPUT, 0, -EINTR, NULL, 0);
      return -EINTR;
    }
    egd_safe_point();
  }
}

long egd_policy_read(struct egd_call *c, const struct egd_row *row) {
  struct egd_file *file = egd_file_of((int)c->a[0]);
  struct transfer t;
  if (!file || transfer_of(c, &t) != 0) return egd_raw(c);
  if (file->kind == EGD_FILE_STDIN) return read_input(c, &t);
  if (!egd_rank.logging || file->kind == EGD_FILE_SINK) return egd_run(c, row);
  if (file->kind == EGD_FILE_REGULAR) {
    long r = read_file(c, row, file, &t);
    egd_file_moved((int)c->a[0], file);
    return r;
  }
  return read_stream(c, row, file, &t);
}
