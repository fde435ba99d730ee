#include "common/tcp.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/status.h"

int egd_tcp_resolve(const char *address, bool passive, struct addrinfo **ret_info) {
  char host[EGD_TCP_ADDRESS];
  snprintf(host, sizeof(host), "%s", address);
  char *colon = strrchr(host, ':'), *name = host;
  if (!colon) return EGD_ERR_INVALID;
  *colon = 0;
  if (*name == '[' && colon > host && colon[-1] == ']') {
    name++;
    colon[-1] = 0;
  }
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                           .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | (passive ? AI_PASSIVE : 0)};
  return getaddrinfo(name, colon + 1, &hints, ret_info) == 0 ? EGD_OK : EGD_ERR_INVALID;
}

static bool format(const struct sockaddr_storage *at, socklen_t size, bool with_port, char text[EGD_TCP_ADDRESS]) {
  char host[48], port[8];
  if (getnameinfo((const struct sockaddr *)at, size, host, sizeof(host), port, sizeof(port),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return false;
  snprintf(text, EGD_TCP_ADDRESS, at->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, with_port ? port : "0");
  return true;
}

static void no_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int egd_tcp_listen(const char *address, char bound[EGD_TCP_ADDRESS]) {
  struct addrinfo *info;
  if (egd_tcp_resolve(address, true, &info) != EGD_OK) {
    errno = EINVAL;
    return -1;
  }
  struct sockaddr_storage at;
  socklen_t size = sizeof(at);
  int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  bool listens = fd >= 0 && bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0 &&
                 getsockname(fd, (struct sockaddr *)&at, &size) == 0;
  int error = errno;
  freeaddrinfo(info);
  if (listens && format(&at, size, true, bound)) return fd;
  if (fd >= 0) close(fd);
  errno = error;
  return -1;
}

int egd_tcp_connect(const char *address, uint64_t timeout_ns) {
  struct addrinfo *info;
  if (egd_tcp_resolve(address, false, &info) != EGD_OK) {
    errno = EINVAL;
    return -1;
  }
  int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int error = fd < 0 || (connect(fd, info->ai_addr, info->ai_addrlen) != 0 && errno != EINPROGRESS) ? errno : 0;
  freeaddrinfo(info);
  struct pollfd wait = {.fd = fd, .events = POLLOUT};
  socklen_t size = sizeof(error);
  if (!error && poll(&wait, 1, (int)(timeout_ns / 1000000u)) <= 0)
    error = ETIMEDOUT;
  else if (!error)
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (!error) {
    no_delay(fd);
    return fd;
  }
  if (fd >= 0) close(fd);
  errno = error;
  return -1;
}

int egd_tcp_accept(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) no_delay(fd);
  return fd;
}

bool egd_tcp_own_address(int fd, char address[EGD_TCP_ADDRESS]) {
  struct sockaddr_storage at;
  socklen_t size = sizeof(at);
  return getsockname(fd, (struct sockaddr *)&at, &size) == 0 && format(&at, size, false, address);
}
