// Output of the ranks: whole lines, each byte once; and the job's standard input.
//
// The position of a byte in its rank's output ring is the same in every incarnation. What was taken already is dropped,
// whoever sends it again. It is acknowledged when it was written, begun lines too; job_dir/output.pos keeps the
// acknowledged positions for a launcher that resumes the job.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/log.h"
#include "common/securepath.h"
#include "common/status.h"
#include "pmix_agent/control.h"
#include "restartd/controller_private.h"

#define FLUSH_NS                                                                                                       \
  500000000ull    // a begun line appears after this; soon enough for a prompt, late enough for a loaded machine
#define STEP 4096 // a pipe that polls writable takes so much without waiting

bool egd_output_open(struct egd_controller *c) {
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/output.pos", c->job_dir);
  size_t size = c->nranks * sizeof(uint64_t);
  int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
    egd_log("cannot write %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return false;
  }
  c->positions = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (c->positions == MAP_FAILED) return false;
  for (uint32_t r = 0; r < c->nranks; r++) c->ranks[r].received = c->ranks[r].acked = c->positions[r];
  return true;
}

void egd_output_close(struct egd_controller *c) {
  if (c->positions) munmap(c->positions, c->nranks * sizeof(uint64_t));
  for (uint32_t r = 0; r < c->nranks; r++)
    for (int stream = 0; stream < 2; stream++) free(c->ranks[r].lines[stream].bytes);
}

// A reader that stopped reading must not stop Ctrl-C.
static void write_out(struct egd_controller *c, int fd, const char *data, size_t length) {
  while (length > 0 && !c->interrupted && !(fd == STDOUT_FILENO && c->stdout_gone)) {
    struct pollfd wait[2] = {{.fd = fd, .events = POLLOUT}, {.fd = c->signal_fd, .events = POLLIN}};
    if (poll(wait, 2, -1) < 0 && errno != EINTR) return;
    if (!(wait[0].revents & (POLLOUT | POLLERR | POLLHUP | POLLNVAL))) {
      c->interrupted = wait[1].revents & POLLIN;
      continue;
    }
    ssize_t n = write(fd, data, length < STEP ? length : STEP);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) {
      if (fd == STDOUT_FILENO && !c->stdout_gone) {
        c->stdout_gone = true;
        c->output_lost = errno != EPIPE; // a reader that has read enough is no loss
        if (c->output_lost)
          egd_log("cannot write to standard output: %s; the job's output is lost from here on", strerror(errno));
      }
      return;
    }
    data += n;
    length -= (size_t)n;
  }
}

static void put_line(struct egd_controller *c, const struct rank *rank, int stream, const char *data, size_t length) {
  int fd = stream == 1 ? STDOUT_FILENO : STDERR_FILENO;
  char label[24];
  if (!c->options.label) {
    write_out(c, fd, data, length);
    return;
  }
  int n = snprintf(label, sizeof(label), "%u: ", rank->number);
  char *line = malloc((size_t)n + length);
  if (!line) return;
  memcpy(line, label, (size_t)n);
  memcpy(line + n, data, length);
  write_out(c, fd, line, (size_t)n + length);
  free(line);
}

static void append(struct text *text, const unsigned char *data, size_t length) {
  if (text->size - text->length < length) {
    size_t size = 2 * (text->length + length);
    char *bytes = realloc(text->bytes, size);
    if (!bytes) return;
    text->bytes = bytes;
    text->size = size;
  }
  memcpy(text->bytes + text->length, data, length);
  text->length += length;
}

// Whole lines, or all; false: there was nothing to write.
static bool write_lines(struct egd_controller *c, struct rank *rank, int stream, bool all) {
  struct text *text = &rank->lines[stream - 1];
  size_t done = 0;
  if (!c->options.label) { // whole lines in one go
    char *last = memrchr(text->bytes, '\n', text->length);
    done = all ? text->length : last ? (size_t)(last + 1 - text->bytes) : 0;
    if (done) put_line(c, rank, stream, text->bytes, done);
  } else {
    while (done < text->length) {
      char *end = memchr(text->bytes + done, '\n', text->length - done);
      size_t length = end ? (size_t)(end + 1 - (text->bytes + done)) : text->length - done;
      if (!end && !all) break;
      put_line(c, rank, stream, text->bytes + done, length);
      done += length;
    }
  }
  if (done) memmove(text->bytes, text->bytes + done, text->length - done);
  text->length -= done;
  return done > 0;
}

static bool has_begun_line(const struct rank *rank) {
  return rank->lines[0].length > 0 || rank->lines[1].length > 0;
}

static void acknowledge(struct egd_controller *c, struct rank *rank) {
  if (has_begun_line(rank)) return;
  rank->acked = rank->received;
  c->positions[rank->number] = rank->acked;
  struct egd_control_head head = {.kind = EGD_CONTROL_ACK, .rank = rank->number, .value = rank->acked};
  egd_link_send_binary(c->nodes[rank->home].link, &head, sizeof(head), NULL, 0);
}

static void flush_lines(struct egd_controller *c, struct rank *rank) {
  if (!has_begun_line(rank)) return;
  write_lines(c, rank, 1, true);
  write_lines(c, rank, 2, true);
  acknowledge(c, rank);
}

void egd_output_flush(struct egd_controller *c) {
  for (uint32_t r = 0; r < c->nranks; r++) flush_lines(c, &c->ranks[r]);
}

// Those that were begun a while ago: the rest of another one may be on its way.
static void on_flush(void *arg) {
  struct egd_controller *c = arg;
  uint64_t now_ns = egd_monotonic_ns(), next_ns = 0;
  for (uint32_t r = 0; r < c->nranks; r++) {
    struct rank *rank = &c->ranks[r];
    uint64_t due_ns = rank->line_ns + FLUSH_NS;
    if (now_ns >= due_ns)
      flush_lines(c, rank);
    else if (has_begun_line(rank) && (next_ns == 0 || due_ns < next_ns))
      next_ns = due_ns;
  }
  c->flush_timer = next_ns ? egd_reactor_after(c->reactor, next_ns - now_ns, on_flush, c) : 0;
}

static void take_records(struct egd_controller *c, struct rank *rank, uint64_t position, const unsigned char *data,
                         size_t length) {
  size_t at = 0;
  while (length - at >= sizeof(struct egd_output_record)) {
    struct egd_output_record record;
    memcpy(&record, data + at, sizeof(record));
    size_t size = (sizeof(record) + (size_t)record.length + 7) & ~(size_t)7;
    if (size > length - at || record.stream < 1 || record.stream > 2) return;
    if (position + at >= rank->received) {
      append(&rank->lines[record.stream - 1], data + at + sizeof(record), record.length);
      rank->received = position + at + size;
    }
    at += size;
  }
}

void egd_output_take(struct egd_controller *c, struct node *node, const unsigned char *frame, size_t length) {
  struct egd_control_head head;
  if (length < sizeof(head)) return;
  memcpy(&head, frame, sizeof(head));
  if (head.rank >= c->nranks) return;
  struct rank *rank = &c->ranks[head.rank];
  if (head.kind == EGD_CONTROL_RAW) {
    // Not the program's own output: messages of the runtime, of the loader, of the program's children.
    egd_output_flush(c);
    write_out(c, head.value == 1 ? STDOUT_FILENO : STDERR_FILENO, (const char *)frame + sizeof(head),
              length - sizeof(head));
    return;
  }
  if (head.kind != EGD_CONTROL_OUTPUT || node->number != rank->home) return;
  if (head.value > rank->received) {
    egd_controller_finish(c, EGD_STORE_VERDICT, EGD_EXIT_JOB_VERDICT,
                          "output of rank %u is missing: bytes %llu to %llu of its log were lost with its node",
                          head.rank, (unsigned long long)rank->received, (unsigned long long)head.value);
    return;
  }
  bool begins = !has_begun_line(rank);
  take_records(c, rank, head.value, frame + sizeof(head), length - sizeof(head));
  for (int stream = 1; stream <= 2; stream++)
    if (rank->lines[stream - 1].length > 0) begins |= write_lines(c, rank, stream, false);
  if (begins) rank->line_ns = egd_monotonic_ns();
  acknowledge(c, rank);
  if (has_begun_line(rank) && !c->flush_timer) c->flush_timer = egd_reactor_after(c->reactor, FLUSH_NS, on_flush, c);
}

void egd_output_begin_anew(struct egd_controller *c) {
  for (uint32_t r = 0; r < c->nranks; r++) c->ranks[r].received = c->ranks[r].acked = c->positions[r] = 0;
}

// ---- standard input -----------------------------------------------------------------------------------------------------

// The runtime reads the file as it grows; the mark tells it that no more comes.
static void input_ends(struct egd_controller *c) {
  if (c->stdin_fd >= 0) close(c->stdin_fd);
  c->stdin_fd = -1;
  if (egd_secure_write(c->job_dir, "stdin.eof", "", 0, false) != EGD_OK)
    egd_log("cannot write %s/stdin.eof: %s; a program that reads to the end of its input would wait", c->job_dir,
            strerror(errno));
}

// True: more may come.
static bool copy_input(struct egd_controller *c) {
  char buffer[65536];
  ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (n <= 0) return false;
  for (ssize_t done = 0; done < n;) {
    ssize_t written = write(c->stdin_fd, buffer + done, (size_t)(n - done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      egd_log("cannot keep the standard input in %s/stdin: %s; it ends here", c->job_dir, strerror(errno));
      return false;
    }
    done += written;
  }
  return true;
}

static void on_input(void *arg, int fd, uint32_t events) {
  struct egd_controller *c = arg;
  if (copy_input(c)) return;
  egd_reactor_remove(c->reactor, fd);
  input_ends(c);
}

bool egd_input_open(struct egd_controller *c) {
  char path[PATH_MAX];
  struct stat st;
  c->stdin_fd = -1;
  snprintf(path, sizeof(path), "%s/stdin", c->job_dir);
  if (c->options.resume && access(path, F_OK) == 0) { // the launcher that had the rest of it is gone
    input_ends(c);
    return true;
  }
  c->stdin_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (c->stdin_fd < 0) {
    egd_log("cannot make %s: %s", path, strerror(errno));
    return false;
  }
  bool readable = fstat(STDIN_FILENO, &st) == 0 && !(isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) != getpgrp());
  if (readable && S_ISREG(st.st_mode)) {
    while (copy_input(c)) {
    }
    readable = false;
  }
  if (readable && egd_reactor_add(c->reactor, STDIN_FILENO, EPOLLIN, on_input, c) == EGD_OK) return true;
  input_ends(c);
  return true;
}
