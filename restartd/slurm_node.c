#include "restartd/slurm_node.h"

#include <stdio.h>

#include "common/status.h"
#include "config.h"

#ifdef HAVE_SLURM

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/reactor.h"

#define SILENCE_NS 1000000000ull

static int slurm_trouble(const char *what, char *why, size_t why_size) {
  int error = errno;
  snprintf(why, why_size, "%s: %s", what, slurm_strerror(error));
  return error == ESLURM_ACCESS_DENIED || error == ESLURM_USER_ID_MISSING ? EGD_ERR_PERMISSION : EGD_ERR_IO;
}

static int check_job(uint32_t number, uid_t uid, const char *node, char *why, size_t why_size) {
  job_info_msg_t *message;
  if (slurm_load_job(&message, number, SHOW_ALL) != SLURM_SUCCESS) return slurm_trouble("the job", why, why_size);
  bool owned = false, runs = false, held = false;
  for (uint32_t i = 0; i < message->record_count;
       i++) { // an array task or a part of a heterogeneous job may be among them
    const slurm_job_info_t *job = &message->job_array[i];
    uint32_t state = job->job_state & JOB_STATE_BASE;
    if (job->job_id != number) continue;
    owned = uid == 0 || job->user_id == uid;
    runs = state == JOB_RUNNING || state == JOB_SUSPENDED;
    hostlist_t nodes = job->nodes ? slurm_hostlist_create(job->nodes) : NULL;
    held = nodes && slurm_hostlist_find(nodes, node) >= 0;
    if (nodes) slurm_hostlist_destroy(nodes);
  }
  slurm_free_job_info_msg(message);
  if (owned && runs && held) return EGD_OK;
  snprintf(why, why_size,
           !owned  ? "job %u is another user's"
           : !runs ? "job %u does not run"
                   : "job %u does not hold the node",
           number);
  return EGD_ERR_INVALID;
}

// True if something listens there, at any moment of the next second.
static bool answers(const char *host, uint16_t port) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *info;
  char service[8];
  snprintf(service, sizeof service, "%u", port);
  if (getaddrinfo(host, service, &hints, &info) != 0) return false;
  bool connected = false;
  uint64_t end_ns = egd_monotonic_ns() + SILENCE_NS;
  for (uint64_t now_ns; !connected && (now_ns = egd_monotonic_ns()) < end_ns;) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connected = fd >= 0 && connect(fd, info->ai_addr, info->ai_addrlen) == 0;
    if (fd >= 0 && !connected && errno == EINPROGRESS) {
      struct pollfd wait = {.fd = fd, .events = POLLOUT};
      int error = 0;
      socklen_t size = sizeof error;
      connected = poll(&wait, 1, (int)((end_ns - now_ns) / 1000000u) + 1) == 1 &&
                  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
    }
    if (fd >= 0) close(fd);
    if (!connected) usleep(100000); // refused at once: a slurmd that is being restarted is not a lost node
  }
  freeaddrinfo(info);
  return connected;
}

static int check_silence(const char *node, char *why, size_t why_size) {
  node_info_msg_t *message;
  char name[256];
  snprintf(name, sizeof name, "%s", node);
  if (slurm_load_node_single(&message, name, SHOW_ALL) != SLURM_SUCCESS)
    return slurm_trouble("the node", why, why_size);
  int status = EGD_ERR_INVALID;
  snprintf(why, why_size, "Slurm knows no such node");
  if (message->record_count == 1) {
    const node_info_t *info = &message->node_array[0];
    status = answers(info->node_addr ? info->node_addr : name, info->port) ? EGD_ERR_INVALID : EGD_OK;
    snprintf(why, why_size, "its slurmd answers");
  }
  slurm_free_node_info_msg(message);
  return status;
}

int egd_slurm_node_down(uint32_t job, uid_t uid, const char *node, char *why, size_t why_size) {
  slurm_init(NULL);
  int status = check_job(job, uid, node, why, why_size);
  if (status == EGD_OK) status = check_silence(node, why, why_size);
  if (status != EGD_OK) return status;
  char name[256], reason[96];
  snprintf(name, sizeof name, "%s", node);
  snprintf(reason, sizeof reason, "egida: does not answer, lost by job %u", job);
  update_node_msg_t update;
  slurm_init_update_node_msg(&update);
  update.node_names = name;
  update.node_state = NODE_STATE_DOWN;
  update.reason = reason;
  update.reason_uid = geteuid();
  if (slurm_update_node(&update) != SLURM_SUCCESS) return slurm_trouble("it can't be marked DOWN", why, why_size);
  snprintf(why, why_size, "marked DOWN");
  return EGD_OK;
}

#else

int egd_slurm_node_down(uint32_t job, uid_t uid, const char *node, char *why, size_t why_size) {
  snprintf(why, why_size, "this egida-restartd was built without libslurm");
  return EGD_ERR_UNSUPPORTED;
}

#endif
