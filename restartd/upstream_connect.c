#include "restartd/upstream_connect.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "common/config.h"
#include "common/frame.h"
#include "common/link.h"
#include "common/proof.h"
#include "common/status.h"
#include "common/tcp.h"
#include "restartd/credential.h"

#define CONNECT_NS 3000000000ull
#define ANSWER_MS 6000 // the service waits 5 s for us
#define PATIENCE_S 20
#define ANSWER_MAX (16u << 10)
#define RESULT_FD 3

static struct egd_connect_result result; // of the process that connects

__attribute__((format(printf, 2, 3))) static bool fail(bool retry, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(result.why, sizeof result.why, format, arguments);
  va_end(arguments);
  result.retry = retry;
  return false;
}

// ---- the stream ---------------------------------------------------------------------------------------------------------

static int take(void *arg, uint8_t type, const unsigned char *body, size_t length) {
  *(json_t **)arg = json_loadb((const char *)body, length, JSON_REJECT_DUPLICATES, NULL);
  return type == EGD_FRAME_JSON ? EGD_ERR_EXISTS : EGD_ERR_CORRUPT;
}

// Exactly one frame: what follows is for whoever gets the connection. The service sends only one before it is asked.
static json_t *receive(int fd) {
  struct egd_frame_decoder decoder;
  unsigned char byte[256];
  json_t *message = NULL;
  int status = EGD_OK;
  egd_frame_decoder_init(&decoder, ANSWER_MAX);
  while (status == EGD_OK) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (poll(&wait, 1, ANSWER_MS) != 1) break;
    ssize_t n = recv(fd, byte, sizeof byte, 0);
    if (n <= 0) break;
    status = egd_frame_push(&decoder, byte, (size_t)n, take, &message);
  }
  egd_frame_decoder_clear(&decoder);
  return message;
}

static bool send_message(int fd, json_t *message) {
  struct egd_frame_queue queue;
  egd_frame_queue_init(&queue, SIZE_MAX);
  char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
  bool good = text && egd_frame_put(&queue, EGD_FRAME_JSON, text, strlen(text)) == EGD_OK &&
              egd_frame_flush(&queue, fd) == EGD_OK && egd_frame_queued(&queue) == 0;
  egd_frame_queue_clear(&queue);
  free(text);
  json_decref(message);
  return good;
}

// ---- who is it ----------------------------------------------------------------------------------------------------------

static bool is_trusted(const struct egd_config *config, uid_t uid) {
  if (uid == 0 || uid == geteuid()) return true;
  const struct passwd *entry = getpwnam(config->service_user);
  if (entry && entry->pw_uid == uid) return true;
  return fail(true, "what answers there runs as uid %u and not as ServiceUser %s", (unsigned)uid, config->service_user);
}

static int open_tcp(const char *address) {
  char host[256], numeric[EGD_TCP_ADDRESS], name[64], port[8];
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *info;
  const char *colon = strrchr(address, ':');
  size_t length = colon ? (size_t)(colon - address) : 0;
  bool bracketed = length > 2 && *address == '[' && address[length - 1] == ']';
  if (length == 0 || length >= sizeof host) {
    fail(false, "it is no HOST:PORT");
    return -1;
  }
  snprintf(host, sizeof host, "%.*s", (int)length - 2 * bracketed, address + bracketed);
  int error = getaddrinfo(host, colon + 1, &hints, &info);
  if (error) {
    fail(true, "%s", gai_strerror(error));
    return -1;
  }
  int fd = -1;
  errno = EINVAL;
  for (struct addrinfo *at = info; fd < 0 && at; at = at->ai_next) {
    if (getnameinfo(at->ai_addr, at->ai_addrlen, name, sizeof name, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
      continue;
    int n = snprintf(numeric, sizeof numeric, at->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", name, port);
    if (n > 0 && (size_t)n < sizeof numeric) fd = egd_tcp_connect(numeric, CONNECT_NS);
  }
  if (fd < 0) fail(true, "%s", strerror(errno));
  freeaddrinfo(info);
  return fd;
}

static int open_unix(const struct egd_config *config, const char *path) {
  char dir[256];
  struct ucred peer;
  socklen_t length = sizeof peer;
  snprintf(dir, sizeof dir, "%s", path);
  char *slash = strrchr(dir, '/');
  *slash = 0;
  int fd = egd_unix_connect(*dir ? dir : "/", slash + 1);
  if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    fail(true, "%s", strerror(errno));
    return -1;
  }
  return is_trusted(config, peer.uid) ? fd : -1;
}

static bool check_answer(const struct egd_config *config, const json_t *message, const char *theirs, const char *mine,
                         const char *job) {
  const char *credential = json_string_value(json_object_get(message, "credential"));
  char payload[EGD_CREDENTIAL_PAYLOAD];
  uid_t uid;
  if (!credential) return fail(true, "it does not prove who it is");
  egd_credential_payload(payload, "registered", mine, theirs, job);
  if (egd_credential_check(config->munge_socket, credential, payload, &uid, result.why, sizeof result.why) != EGD_OK) {
    result.retry = true;
    return false;
  }
  return is_trusted(config, uid);
}

static bool shake_hands(const struct egd_config *config, int fd, bool by_tcp, const char *job) {
  char mine[EGD_PROOF_TEXT], theirs[EGD_PROOF_TEXT], payload[EGD_CREDENTIAL_PAYLOAD], *credential = NULL;
  json_t *message = receive(fd);
  const char *nonce = json_string_value(json_object_get(message, "nonce"));
  bool good = nonce && strlen(nonce) < sizeof theirs && json_integer_value(json_object_get(message, "version")) == 1 &&
              egd_proof_nonce(mine);
  if (good) snprintf(theirs, sizeof theirs, "%s", nonce);
  json_decref(message);
  if (!good) return fail(true, "what answers there is no egida-restartd of this version");
  if (by_tcp) {
    egd_credential_payload(payload, "register", theirs, mine, job);
    int status = egd_credential_make(config->munge_socket, payload, EGD_CREDENTIAL_ANYBODY, &credential, result.why,
                                     sizeof result.why);
    result.retry = status == EGD_ERR_IO;
    if (status != EGD_OK) return false;
  }
  bool sent = send_message(fd, json_pack("{ss si ss ss ss*}", "op", "register", "version", 1, "job", job, "nonce", mine,
                                         "credential", credential));
  free(credential);
  message = sent ? receive(fd) : NULL;
  const char *op = json_string_value(json_object_get(message, "op"));
  if (op && strcmp(op, "registered") == 0) {
    json_int_t acknowledged = json_integer_value(json_object_get(message, "acknowledged"));
    result.acknowledged = acknowledged > 0 ? (uint64_t)acknowledged : 0;
    good = !by_tcp || check_answer(config, message, theirs, mine, job);
  } else if (op && strcmp(op, "refused") == 0) {
    const char *why = json_string_value(json_object_get(message, "why"));
    good = fail(json_is_true(json_object_get(message, "retry")), "%s", why ? why : "it refuses");
  } else {
    good = fail(true, "it closed the connection");
  }
  json_decref(message);
  return good;
}

// ---- the process --------------------------------------------------------------------------------------------------------

static void hand_over(int out, int fd) {
  struct iovec part = {&result, sizeof result};
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (result.connected) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  _exit(sendmsg(out, &message, MSG_NOSIGNAL) == (ssize_t)sizeof result ? 0 : 1);
}

static void child(const struct egd_config *config, const char *job, int out) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (int number = 1; number < SIGRTMIN; number++) signal(number, SIG_DFL);
  setpgid(0, 0); // a Ctrl-C is not meant for it
  alarm(PATIENCE_S);
  // Locks, listeners and pipes of the owner must not live on here.
  dup2(out, RESULT_FD);
  close_range(RESULT_FD + 1, ~0U, 0);
  const char *address = config->control_service;
  bool by_tcp = *address != '/';
  int fd = by_tcp ? open_tcp(address) : open_unix(config, address);
  result.connected = fd >= 0 && shake_hands(config, fd, by_tcp, job);
  hand_over(RESULT_FD, fd);
}

int egd_connect_begin(const struct egd_config *config, const char *job) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -1;
  // Two generations: the owner of a job has children of its own to wait for, and must not meet this one among them.
  pid_t pid = fork();
  if (pid == 0) {
    if (fork() == 0) child(config, job, ends[1]);
    _exit(0);
  }
  close(ends[1]);
  if (pid > 0) waitpid(pid, NULL, 0);
  if (pid > 0) return ends[0];
  close(ends[0]);
  return -1;
}

void egd_connect_end(int fd, struct egd_connect_result *ret_result, int *ret_connection) {
  struct egd_connect_result got = {0};
  struct iovec part = {&got, sizeof got};
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  *ret_connection = -1;
  if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) == (ssize_t)sizeof got) {
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS) memcpy(ret_connection, CMSG_DATA(header), sizeof(int));
    got.why[sizeof got.why - 1] = 0;
  } else {
    got = (struct egd_connect_result){.retry = true};
    snprintf(got.why, sizeof got.why, "no answer in %d s", PATIENCE_S);
  }
  if (*ret_connection < 0) got.connected = false;
  *ret_result = got;
  close(fd);
}
