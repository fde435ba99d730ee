#include "common/link.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/frame.h"
#include "common/status.h"

struct egd_link {
  struct egd_reactor *reactor;
  int fd; // -1: destroyed, memory goes when no handler of it runs
  bool in_handler, broken, wants_out;
  struct egd_link_handlers handlers;
  void *arg;
  struct egd_frame_decoder decoder;
  struct egd_frame_queue queue;
};

static void on_ready(void *arg, int fd, uint32_t events);

int egd_link_create(struct egd_reactor *reactor, int fd, size_t max_body, const struct egd_link_handlers *handlers,
                    void *arg, struct egd_link **ret_link) {
  struct egd_link *link = calloc(1, sizeof(*link));
  if (!link) return EGD_ERR_NO_MEMORY;
  *link = (struct egd_link){.reactor = reactor, .fd = fd, .handlers = *handlers, .arg = arg};
  egd_frame_decoder_init(&link->decoder, max_body);
  egd_frame_queue_init(&link->queue, SIZE_MAX);
  int flags = fcntl(fd, F_GETFL);
  if (flags >= 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  int status = egd_reactor_add(reactor, fd, EPOLLIN, on_ready, link);
  if (status != EGD_OK) {
    free(link);
    return status;
  }
  *ret_link = link;
  return EGD_OK;
}

static void release(struct egd_link *link) {
  egd_frame_decoder_clear(&link->decoder);
  egd_frame_queue_clear(&link->queue);
  free(link);
}

void egd_link_destroy(struct egd_link *link) {
  if (!link || link->fd < 0) return;
  if (!link->broken) egd_frame_flush(&link->queue, link->fd);
  egd_reactor_remove(link->reactor, link->fd);
  close(link->fd);
  link->fd = -1;
  if (!link->in_handler) release(link);
}

void egd_link_set_max_body(struct egd_link *link, size_t max_body) {
  link->decoder.max_body = max_body;
}

int egd_link_fd(const struct egd_link *link) {
  return link->fd;
}

static int frame(void *arg, uint8_t type, const unsigned char *body, size_t length) {
  struct egd_link *link = arg;
  if (type == EGD_FRAME_JSON) {
    json_t *message = json_loadb((const char *)body, length, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(message)) {
      json_decref(message);
      return EGD_ERR_CORRUPT;
    }
    if (link->handlers.json) link->handlers.json(link->arg, link, message);
    json_decref(message);
  } else if (type == EGD_FRAME_BINARY && link->handlers.binary) {
    link->handlers.binary(link->arg, link, body, length);
  } else {
    return EGD_ERR_CORRUPT;
  }
  return link->fd < 0 ? EGD_ERR_IO : EGD_OK;
}

static void want_out(struct egd_link *link) {
  bool wants = egd_frame_queued(&link->queue) > 0;
  if (wants == link->wants_out) return;
  link->wants_out = wants;
  egd_reactor_modify(link->reactor, link->fd, wants ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int receive(struct egd_link *link) {
  static unsigned char buffer[128 << 10]; // one thread; handlers that read another link must not be in a frame here
  for (int rounds = 0; rounds < 8; rounds++) {
    ssize_t n = read(link->fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return EGD_OK;
    if (n <= 0) return EGD_ERR_IO;
    int status = egd_frame_push(&link->decoder, buffer, (size_t)n, frame, link);
    if (status != EGD_OK || (size_t)n < sizeof(buffer)) return status;
  }
  return EGD_OK;
}

static void on_ready(void *arg, int fd, uint32_t events) {
  struct egd_link *link = arg;
  link->in_handler = true;
  int status = EGD_OK;
  if (events & EPOLLOUT && egd_frame_flush(&link->queue, fd) != EGD_OK) link->broken = true;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) status = receive(link);
  if (link->fd >= 0 && (status != EGD_OK || (link->broken && !(events & EPOLLIN)))) {
    link->broken = true;
    egd_reactor_remove(link->reactor, link->fd);
    if (link->handlers.closed) link->handlers.closed(link->arg, link);
  } else if (link->fd >= 0) {
    want_out(link);
  }
  link->in_handler = false;
  if (link->fd < 0) release(link);
}

static int sent(struct egd_link *link, int status) {
  if (status != EGD_OK) return status;
  if (!link->wants_out && egd_frame_flush(&link->queue, link->fd) != EGD_OK) {
    link->broken = true; // reading the stream's end reports it
    return EGD_ERR_IO;
  }
  want_out(link);
  return EGD_OK;
}

int egd_link_send(struct egd_link *link, json_t *message) {
  if (!message) return EGD_ERR_NO_MEMORY;
  int status = EGD_ERR_IO;
  if (link && link->fd >= 0 && !link->broken) {
    char *text = json_dumps(message, JSON_COMPACT);
    status = text ? sent(link, egd_frame_put(&link->queue, EGD_FRAME_JSON, text, strlen(text))) : EGD_ERR_NO_MEMORY;
    free(text);
  }
  json_decref(message);
  return status;
}

int egd_link_send_binary(struct egd_link *link, const void *head, size_t head_length, const void *body,
                         size_t body_length) {
  if (!link || link->fd < 0 || link->broken) return EGD_ERR_IO;
  return sent(link, egd_frame_put2(&link->queue, EGD_FRAME_BINARY, head, head_length, body, body_length));
}

size_t egd_link_queued(const struct egd_link *link) {
  return link ? egd_frame_queued(&link->queue) : 0;
}

void egd_link_drain(struct egd_link *link, uint64_t timeout_ns) {
  uint64_t end_ns = egd_monotonic_ns() + timeout_ns;
  while (link && link->fd >= 0 && egd_frame_flush(&link->queue, link->fd) == EGD_OK && egd_frame_queued(&link->queue)) {
    uint64_t now_ns = egd_monotonic_ns();
    if (now_ns >= end_ns) return;
    struct pollfd wait = {.fd = link->fd, .events = POLLOUT};
    poll(&wait, 1, (int)((end_ns - now_ns) / 1000000u) + 1);
  }
}

// ---- Unix sockets -----------------------------------------------------------------------------------------------------

// Addresses hold 107 bytes; a descriptor of the folder makes any folder fit.
static int address_in(const char *dir, const char *name, struct sockaddr_un *address) {
  int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) return -1;
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  int n = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
  if (n < 0 || (size_t)n >= sizeof(address->sun_path)) {
    close(dir_fd);
    errno = ENAMETOOLONG;
    return -1;
  }
  return dir_fd;
}

static int stream_at(const char *dir, const char *name, bool listens) {
  struct sockaddr_un address;
  int dir_fd = address_in(dir, name, &address);
  if (dir_fd < 0) return -1;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), failed = fd < 0;
  if (!failed && listens) {
    unlinkat(dir_fd, name, 0);
    failed = bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, SOMAXCONN) != 0;
  } else if (!failed) {
    failed = connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0;
  }
  int error = errno;
  close(dir_fd);
  if (failed && fd >= 0) close(fd);
  errno = error;
  return failed ? -1 : fd;
}

int egd_unix_listen(const char *dir, const char *name) {
  return stream_at(dir, name, true);
}
int egd_unix_connect(const char *dir, const char *name) {
  return stream_at(dir, name, false);
}

int egd_unix_accept(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return -1;
  struct ucred peer;
  socklen_t length = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && (peer.uid == geteuid() || peer.uid == 0))
    return fd;
  close(fd);
  return -1;
}
