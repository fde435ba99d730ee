// Lost nodes: each request is looked into by a process of its own, which may wait and may die.
#include "restartd/service_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/status.h"
#include "restartd/slurm_node.h"

#define AT_A_TIME 4
#define PATIENCE_S 30

struct answer {
  int status;
  char why[256];
};

struct request {
  struct egd_node_requests *requests;
  struct egd_session *session; // NULL: it ended
  pid_t pid;                   // 0: free
  int fd;
  uint32_t slurm_job;
  char node[256];
};

struct egd_node_requests {
  struct egd_service *service;
  struct request all[AT_A_TIME];
  bool said_no_rights;
};

struct egd_node_requests *egd_node_requests_create(struct egd_service *service) {
  struct egd_node_requests *requests = calloc(1, sizeof *requests);
  if (requests) requests->service = service;
  return requests;
}

static void tell(struct egd_session *session, uint32_t slurm_job, const char *node, bool done, const char *why) {
  if (session)
    egd_link_send(session->link, json_pack("{ss si ss sb ss}", "op", "node-lost", "slurm_job", slurm_job, "node", node,
                                           "done", done, "why", why));
}

static void on_answer(void *arg, int fd, uint32_t events) {
  struct request *request = arg;
  struct egd_node_requests *requests = request->requests;
  struct answer answer = {0};
  if (read(fd, &answer, sizeof answer) != sizeof answer) {
    answer.status = EGD_ERR_IO;
    snprintf(answer.why, sizeof answer.why, "Slurm can't be asked (is its configuration there? see SLURM_CONF)");
  }
  answer.why[sizeof answer.why - 1] = 0;
  if (answer.status == EGD_ERR_PERMISSION) {
    if (!requests->said_no_rights)
      egd_log("Slurm does not let uid %u mark lost nodes DOWN (%s): it waits for its own SlurmdTimeout; run as "
              "SlurmUser, or make this user an operator (sacctmgr)",
              (unsigned)geteuid(), answer.why);
    requests->said_no_rights = true;
  } else {
    egd_log("node %s, lost by Slurm job %u: %s", request->node, request->slurm_job, answer.why);
  }
  tell(request->session, request->slurm_job, request->node, answer.status == EGD_OK, answer.why);
  egd_reactor_remove(requests->service->reactor, fd);
  close(fd);
  kill(request->pid, SIGKILL); // it has said all
  waitpid(request->pid, NULL, 0);
  request->pid = 0;
}

static void look_into(uint32_t slurm_job, uid_t uid, const char *node, int out) {
  struct answer answer = {0};
  sigset_t none;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  alarm(PATIENCE_S);
  // The history and its lock are the parent's, which may be killed and started again while this waits.
  dup2(out, 3);
  close_range(4, ~0U, 0);
  answer.status = egd_slurm_node_down(slurm_job, uid, node, answer.why, sizeof answer.why);
  _exit(write(3, &answer, sizeof answer) == sizeof answer ? 0 : 1);
}

void egd_node_requests_add(struct egd_node_requests *requests, struct egd_session *session, uint32_t slurm_job,
                           const char *node) {
  struct request *request = NULL;
  for (unsigned i = 0; i < AT_A_TIME; i++)
    if (!requests->all[i].pid) request = &requests->all[i];
  int ends[2];
  if (!request || pipe2(ends, O_CLOEXEC) != 0) return tell(session, slurm_job, node, false, "too many nodes at a time");
  pid_t pid = fork();
  if (pid == 0) look_into(slurm_job, session->job.uid, node, ends[1]);
  close(ends[1]);
  if (pid < 0 || egd_reactor_add(requests->service->reactor, ends[0], EPOLLIN, on_answer, request) != EGD_OK) {
    close(ends[0]);
    if (pid > 0) kill(pid, SIGKILL), waitpid(pid, NULL, 0);
    return tell(session, slurm_job, node, false, "no process can be started");
  }
  *request = (struct request){requests, session, pid, ends[0], slurm_job, ""};
  snprintf(request->node, sizeof request->node, "%s", node);
}

void egd_node_requests_forget(struct egd_node_requests *requests, struct egd_session *session) {
  for (unsigned i = 0; i < AT_A_TIME; i++)
    if (requests->all[i].session == session) requests->all[i].session = NULL;
}

void egd_node_requests_destroy(struct egd_node_requests *requests) {
  for (unsigned i = 0; requests && i < AT_A_TIME; i++) {
    struct request *request = &requests->all[i];
    if (!request->pid) continue;
    kill(request->pid, SIGKILL);
    waitpid(request->pid, NULL, 0);
    egd_reactor_remove(requests->service->reactor, request->fd);
    close(request->fd);
  }
  free(requests);
}
