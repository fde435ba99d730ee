#include "restartd/service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/log.h"
#include "common/securepath.h"
#include "common/status.h"
#include "common/tcp.h"
#include "restartd/notify.h"
#include "restartd/service_private.h"
#include "restartd/store.h"
#include "restartd/store_private.h"

#define COMMIT_NS 5000000ull    // records of all jobs that come within share one sync
#define COMMIT_BYTES (4u << 20) // or so many
#define TICK_NS 1000000000ull
#define REGISTER_NS 5000000000ull // so long a connection may be without a job
#define STRANGERS 128             // connections by TCP whose user is not known yet
#define REOPEN_TICKS 10
#define OTHER_DESCRIPTORS 64

struct server {
  struct egd_service service;
  int lock_fd, unix_fd, tcp_fd, signal_fd;
  unsigned ticks;
  const struct egd_service_hooks *hooks;
};

// ---- commits ------------------------------------------------------------------------------------------------------------

void egd_service_lost_changes(struct egd_service *service) {
  egd_reactor_cancel(service->reactor, service->commit_timer);
  service->commit_timer = 0;
  service->uncommitted = 0;
  for (struct egd_session *session = service->sessions, *next; session; session = next) {
    next = session->next;
    if (session->changed) egd_session_refuse(session, true, "the history can't be written now");
  }
}

bool egd_service_commit(struct egd_service *service) {
  if (!service->uncommitted) return true;
  if (egd_store_commit(service->store) != 0) {
    egd_service_lost_changes(service);
    return false;
  }
  egd_reactor_cancel(service->reactor, service->commit_timer);
  service->commit_timer = 0;
  service->uncommitted = 0;
  for (struct egd_session *session = service->sessions, *next; session; session = next) {
    next = session->next;
    if (session->changed) egd_session_acknowledge(session);
  }
  return true;
}

static void commit_due(void *arg) {
  struct egd_service *service = arg;
  service->commit_timer = 0;
  egd_service_commit(service);
}

void egd_service_changed(struct egd_service *service, unsigned bytes) {
  service->uncommitted += bytes;
  if (service->uncommitted >= COMMIT_BYTES)
    egd_service_commit(service);
  else if (!service->commit_timer)
    service->commit_timer = egd_reactor_after(service->reactor, COMMIT_NS, commit_due, service);
}

// ---- connections --------------------------------------------------------------------------------------------------------

unsigned egd_service_sessions_of(const struct egd_service *service, uid_t uid) {
  unsigned count = 0;
  for (const struct egd_session *session = service->sessions; session; session = session->next)
    count += session->registered && session->job.uid == uid;
  return count;
}

// A listener without descriptors would turn the loop for nothing: there is always one for who comes.
static void find_room(struct egd_service *service) {
  uint64_t wanted = service->config->max_connections;
  struct rlimit limit;
  service->room = (unsigned)wanted;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted + OTHER_DESCRIPTORS) return;
  limit.rlim_cur = limit.rlim_max < wanted + OTHER_DESCRIPTORS ? limit.rlim_max : wanted + OTHER_DESCRIPTORS;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= wanted + OTHER_DESCRIPTORS) return;
  service->room = limit.rlim_cur > OTHER_DESCRIPTORS ? (unsigned)limit.rlim_cur - OTHER_DESCRIPTORS : 1;
  egd_log("MaxConnections %llu: there are only descriptors for %u; raise LimitNOFILE or ulimit -n",
          (unsigned long long)wanted, service->room);
}

// Who has no user yet must not keep out those who have one.
static bool make_room(struct egd_service *service, bool by_tcp, uid_t uid) {
  unsigned all = 0, strangers = 0, same = 0;
  struct egd_session *oldest = NULL;
  for (struct egd_session *session = service->sessions; session; session = session->next) {
    all++;
    same += session->has_user && session->job.uid == uid;
    if (session->has_user) continue;
    strangers++;
    oldest = session; // new ones are put in front
  }
  if (oldest && (strangers >= STRANGERS || all >= service->room)) {
    egd_session_refuse(oldest, true, "there are too many connections");
    all--;
  }
  return all < service->room && (by_tcp || same < service->config->max_connections_per_user + 4);
}

static void on_unix(void *arg, int listener, uint32_t events) {
  struct server *server = arg;
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (fd < 0) return;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && make_room(&server->service, false, peer.uid))
    egd_session_begin(&server->service, fd, false, peer.uid);
  else
    close(fd);
}

static void on_tcp(void *arg, int listener, uint32_t events) {
  struct server *server = arg;
  int fd = egd_tcp_accept(listener), on = 1, idle = 60, interval = 10, count = 6;
  if (fd < 0) return;
  // A host that lost power says nothing: without this its connections would stay.
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
  if (make_room(&server->service, true, 0))
    egd_session_begin(&server->service, fd, true, 0);
  else
    close(fd);
}

static void tick(void *arg) {
  struct server *server = arg;
  struct egd_service *service = &server->service;
  uint64_t now_ns = egd_monotonic_ns();
  for (struct egd_session *session = service->sessions, *next; session; session = next) {
    next = session->next;
    if (!session->registered && now_ns - session->begun_ns > REGISTER_NS)
      egd_session_refuse(session, true, "no job was registered in time");
  }
  if (++server->ticks % REOPEN_TICKS == 0) egd_store_reopen(service->store);
  egd_reactor_after(service->reactor, TICK_NS, tick, server);
}

// ---- signals ------------------------------------------------------------------------------------------------------------

static void on_signal(void *arg, int fd, uint32_t events) {
  struct server *server = arg;
  struct signalfd_siginfo info;
  while (read(fd, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGHUP) {
      egd_reactor_stop(server->service.reactor);
    } else {
      egd_notify("RELOADING=1");
      egd_log(server->hooks->reload(server->service.config) ? "the configuration was read again"
                                                            : "the configuration stays as it was");
      find_room(&server->service);
      egd_notify("READY=1");
    }
  }
}

static int open_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

// ---- beginning and end --------------------------------------------------------------------------------------------------

// One service per history: a second one would take the socket away from the first.
static bool open_database(struct server *server, const char *dir) {
  char path[PATH_MAX];
  int status = egd_secure_mkdir(dir);
  if (status != EGD_OK) {
    egd_log("Database %s: %s; it must be a folder of the user that egida-restartd runs as (uid %u), closed to others",
            dir, status == EGD_ERR_PERMISSION ? strerror(EPERM) : strerror(errno), (unsigned)geteuid());
    return false;
  }
  snprintf(path, sizeof path, "%s/lock", dir);
  server->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (server->lock_fd < 0 || flock(server->lock_fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      egd_log("Database %s is in use by another egida-restartd; end that one, or name another folder", dir);
    else
      egd_log("%s can't be opened: %s; check the folder", path, strerror(errno));
    return false;
  }
  server->service.store = egd_store_open_for_service(dir);
  return server->service.store != NULL;
}

static bool listen_unix(struct server *server, const char *path) {
  if (!*path) return true;
  char dir[PATH_MAX];
  snprintf(dir, sizeof dir, "%s", path);
  char *slash = strrchr(dir, '/');
  if (!slash || slash == dir || strlen(path) >= sizeof dir) {
    egd_log("Socket %s: an absolute path in a folder is needed", path);
    return false;
  }
  *slash = 0;
  server->unix_fd = egd_unix_listen(dir, slash + 1);
  if (server->unix_fd < 0 || chmod(path, 0666) != 0) { // who comes is asked of the kernel
    egd_log("Socket %s: %s; its folder must exist and be writable for uid %u", path, strerror(errno),
            (unsigned)geteuid());
    return false;
  }
  return egd_reactor_add(server->service.reactor, server->unix_fd, EPOLLIN, on_unix, server) == EGD_OK;
}

static bool listen_tcp(struct server *server, const char *address) {
  if (!*address) return true;
  char bound[EGD_TCP_ADDRESS];
  server->tcp_fd = egd_tcp_listen(address, bound);
  if (server->tcp_fd < 0) {
    egd_log("Listen %s: %s", address,
            errno == EINVAL ? "HOST:PORT with a numeric host is needed, e.g. 0.0.0.0:7411" : strerror(errno));
    return false;
  }
  egd_log("listening on %s", bound);
  return egd_reactor_add(server->service.reactor, server->tcp_fd, EPOLLIN, on_tcp, server) == EGD_OK;
}

static bool start(struct server *server) {
  const struct egd_config *config = server->service.config;
  struct egd_service *service = &server->service;
  if (egd_reactor_create(&service->reactor) != EGD_OK) {
    egd_log("out of memory");
    return false;
  }
  find_room(service);
  service->nodes = egd_node_requests_create(service);
  server->signal_fd = open_signals();
  return service->nodes && server->signal_fd >= 0 &&
         egd_reactor_add(service->reactor, server->signal_fd, EPOLLIN, on_signal, server) == EGD_OK &&
         open_database(server, config->database) && listen_unix(server, config->socket) &&
         listen_tcp(server, config->listen);
}

int egd_service_run(struct egd_config *config, const struct egd_service_hooks *hooks) {
  struct server server = {
      .service.config = config, .lock_fd = -1, .unix_fd = -1, .tcp_fd = -1, .signal_fd = -1, .hooks = hooks};
  struct egd_service *service = &server.service;
  if (!*config->socket && !*config->listen) {
    egd_log("neither Socket nor Listen is set: nobody could connect");
    return 1;
  }
  int exit_code = 1;
  if (start(&server)) {
    egd_log("the history is %s%s%s", egd_store_path(service->store), *config->socket ? ", the socket " : "",
            config->socket);
    hooks->ready(config);
    egd_notify("READY=1");
    egd_reactor_after(service->reactor, TICK_NS, tick, &server);
    exit_code = egd_reactor_run(service->reactor) == EGD_OK ? 0 : 1;
    egd_notify("STOPPING=1");
    egd_service_commit(service);
    if (*config->socket) unlink(config->socket);
    egd_log("ends");
  }
  while (service->sessions) egd_session_end(service->sessions);
  egd_node_requests_destroy(service->nodes);
  egd_store_close(service->store);
  egd_reactor_destroy(service->reactor);
  int fds[] = {server.unix_fd, server.tcp_fd, server.signal_fd, server.lock_fd};
  for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
    if (fds[i] >= 0) close(fds[i]);
  return exit_code;
}
