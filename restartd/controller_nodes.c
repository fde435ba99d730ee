// Nodes and their agents, as the controller sees them.
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/install.h"
#include "common/log.h"
#include "common/securepath.h"
#include "common/status.h"
#include "restartd/controller_private.h"

bool egd_controller_start_agent(struct egd_controller *c, struct node *node, bool adopt) {
  char program[PATH_MAX], number[16], incarnation[16];
  if (egd_install_find(EGD_PART_AGENT, program) != EGD_OK) {
    egd_log("a part of Egida is missing: %s; install it anew, or set EGIDA_LIBDIR to the folder that has it", program);
    return false;
  }
  snprintf(number, sizeof(number), "%u", node->number);
  snprintf(incarnation, sizeof(incarnation), "%u", node->incarnation);
  int pid = fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execl(program, "egida-agent", c->job_dir, number, incarnation, adopt ? "--adopt" : NULL, (char *)NULL);
    egd_log("cannot execute %s: %s", program, strerror(errno));
    _exit(127);
  }
  if (pid < 0) {
    egd_log("the system refuses a new process: %s; is there a limit (ulimit -u)?", strerror(errno));
    return false;
  }
  node->agent_pid = pid;
  node->alive = true;
  node->greeted = false;
  return true;
}

void egd_controller_send(struct egd_controller *c, uint32_t node, json_t *message) {
  egd_link_send(c->nodes[node].link, message);
}

void egd_controller_send_all(struct egd_controller *c, json_t *message) {
  for (uint32_t n = 0; n < c->nnodes; n++)
    if (c->nodes[n].alive && c->nodes[n].link) egd_link_send(c->nodes[n].link, json_incref(message));
  json_decref(message);
}

// Who adopts a rank must have seen it elsewhere before. `newcomer` (NULL: all) sees ranks that it is to adopt where they
// were lost; a rank of a job of which nothing is left was on a node that nobody ever was.
static json_t *pack_view(const struct egd_controller *c, const struct node *newcomer, bool before) {
  json_t *nodes = json_array(), *home = json_array();
  for (uint32_t n = 0; n < c->nnodes; n++)
    json_array_append_new(nodes, json_pack("{sb si ss}", "alive", c->nodes[n].alive, "incarnation",
                                           c->nodes[n].incarnation, "address", c->nodes[n].address));
  if (c->options.gather)
    json_array_append_new(nodes, json_pack("{sb si ss}", "alive", false, "incarnation", 0, "address", ""));
  for (uint32_t r = 0; r < c->nranks; r++) {
    const struct rank *rank = &c->ranks[r];
    bool is_to_come = before && rank->phase == RANK_TO_ADOPT && (!newcomer || rank->home == newcomer->number);
    json_array_append_new(home, json_integer(is_to_come ? rank->from_node : rank->home));
  }
  return json_pack("{ss sI so so}", "op", "view", "epoch", (json_int_t)c->epoch, "nodes", nodes, "home", home);
}

void egd_controller_send_view(struct egd_controller *c) {
  if (c->epoch == 0 && c->options.gather) {
    c->epoch++;
    egd_controller_send_all(c, pack_view(c, NULL, true));
  }
  c->epoch++;
  egd_controller_send_all(c, pack_view(c, NULL, false));
}

static int read_pid(const char *path) {
  FILE *file = fopen(path, "re");
  int pid = 0;
  if (file && fscanf(file, "%d", &pid) != 1) pid = 0;
  if (file) fclose(file);
  return pid;
}

static int watchdog_of(const struct egd_controller *c, const struct node *node, uint32_t rank) {
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/node-%u/watchdog-%u.pid", c->job_dir, node->number, rank);
  return read_pid(path);
}

// Does `rank` have a living watchdog there?
static bool has_watchdog(const struct egd_controller *c, const struct node *node, uint32_t rank) {
  if (!c->options.cluster) {
    int pid = watchdog_of(c, node, rank);
    return pid > 0 && kill(pid, 0) == 0;
  }
  size_t i;
  json_t *entry;
  json_array_foreach(node->watchdogs, i, entry) if (json_integer_value(entry) == rank) return true;
  return false;
}

// An agent takes the ranks of its first view for ranks that run there already.
void egd_controller_send_first_view(struct egd_controller *c, struct node *node) {
  for (uint32_t r = 0; r < c->nranks; r++) {
    struct rank *rank = &c->ranks[r];
    bool unborn = rank->phase == RANK_UP && rank->recovering && rank->from_node != rank->home && rank->pid == 0;
    if (rank->home != node->number || !unborn) continue;
    if (!has_watchdog(c, node, r)) rank->phase = RANK_TO_ADOPT; // its adoption ended with the agent before
  }
  egd_link_send(node->link, pack_view(c, node, true));
}

bool egd_controller_view_is_followed(const struct egd_controller *c) {
  for (uint32_t n = 0; n < c->nnodes; n++) {
    const struct node *node = &c->nodes[n];
    if (node->alive && (!node->greeted || !node->link || node->acked_epoch < c->epoch)) return false;
  }
  return c->epoch > 0;
}

static bool has_living_watchdog(const struct egd_controller *c, const struct node *node) {
  for (uint32_t r = 0; r < c->nranks; r++)
    if (c->ranks[r].home == node->number && has_watchdog(c, node, r)) return true;
  return false;
}

void egd_controller_agent_gone(struct egd_controller *c, struct node *node) {
  node->agent_pid = 0;
  if (c->options.cluster) return; // what started it there has ended; heartbeats tell about the agent
  if (node->link) egd_link_destroy(node->link);
  node->link = NULL;
  if (c->ending || !node->alive) return;
  if (!node->greeted) {
    egd_controller_finish(c, EGD_STORE_FAILED, 1, "the agent of node %u did not start (its message is above)",
                          node->number);
    return;
  }
  if (!has_living_watchdog(c, node)) {
    egd_controller_node_lost(c, node, "all its processes are gone", false);
    return;
  }
  egd_log("the agent of node %u is gone; its ranks run on, a new agent takes over", node->number);
  egd_store_event(c->store, c->options.job_id, "agent-lost", -1, (int)node->number, "a new agent takes over", NULL);
  node->incarnation++;
  if (!egd_controller_start_agent(c, node, true))
    egd_controller_finish(c, EGD_STORE_VERDICT, EGD_EXIT_JOB_VERDICT, "node %u has no agent", node->number);
}

static uint32_t load_of(const struct egd_controller *c, uint32_t node) {
  uint32_t load = 0;
  for (uint32_t r = 0; r < c->nranks; r++) load += c->ranks[r].home == node;
  return load;
}

// An empty node if there is one, else the one with the fewest ranks; nnodes = none.
static uint32_t choose_home(const struct egd_controller *c) {
  if (c->move_to < c->nnodes && c->nodes[c->move_to].alive) return c->move_to;
  uint32_t best = c->nnodes, best_load = UINT32_MAX;
  for (uint32_t n = 0; n < c->nnodes; n++) {
    if (!c->nodes[n].alive) continue;
    uint32_t load = load_of(c, n);
    if (load < best_load) {
      best = n;
      best_load = load;
    }
  }
  return best;
}

void egd_controller_node_lost(struct egd_controller *c, struct node *node, const char *why, bool injected) {
  if (!node->alive || c->ending) return;
  node->alive = node->greeted = false;
  node->incarnation++;
  if (c->options.cluster) egd_cluster_fence(c, node, node->incarnation - 1);
  egd_log("%s is %s (%s)", egd_controller_node_name(c, node->number), node->retired ? "given up" : "lost", why);
  egd_store_event(c->store, c->options.job_id, "node-lost", -1, (int)node->number, why, NULL);
  egd_store_node_lost(c->store, c->options.job_id, (int)node->number, node->incarnation - 1, why, 0);
  struct egd_store_failure failure = {.job = c->options.job_id,
                                      .rank = -1,
                                      .node = (int)node->number,
                                      .incarnation = node->incarnation - 1,
                                      .exit_code = -1,
                                      .injected = injected,
                                      .cause = why};
  int64_t number = egd_store_failure(c->store, &failure);
  uint32_t spare = choose_home(c);
  bool whole = spare < c->nnodes && load_of(c, spare) == 0; // a spare takes them all
  bool any = false;
  for (uint32_t r = 0; r < c->nranks; r++) {
    struct rank *rank = &c->ranks[r];
    if (rank->home != node->number) continue;
    any = true;
    uint32_t home = whole ? spare : choose_home(c);
    if (home == c->nnodes) {
      egd_controller_finish(
          c, EGD_STORE_VERDICT, EGD_EXIT_JOB_VERDICT, "%s is lost and no node is left for its ranks (%s give more)",
          egd_controller_node_name(c, node->number), c->options.cluster ? "spares" : "--nodes and --spares");
      return;
    }
    if (!egd_controller_protects(c)) {
      egd_controller_finish(c, EGD_STORE_FAILED, 128 + SIGKILL, "rank %u was lost with %s", r,
                            egd_controller_node_name(c, node->number));
      return;
    }
    egd_controller_rank_lost(c, rank, home, number);
    if (c->ending) return;
  }
  // The view first: what is forgotten for a new start-up must be forgotten under the new homes.
  egd_controller_send_view(c);
  if (any && !c->started) {
    egd_log("start-up was not over; all ranks start anew");
    egd_controller_begin_anew(c);
  } else {
    egd_controller_advance(c);
  }
}

static void kill_processes(struct egd_controller *c, struct node *node) {
  char path[PATH_MAX];
  // The agent first: nobody may report what follows.
  if (node->agent_pid > 0) kill(node->agent_pid, SIGKILL);
  int watchdogs[c->nranks];
  for (uint32_t r = 0; r < c->nranks; r++) {
    watchdogs[r] = c->ranks[r].home == node->number ? watchdog_of(c, node, r) : 0;
    if (watchdogs[r] > 0) kill(watchdogs[r], SIGKILL);
    if (c->ranks[r].home == node->number && c->ranks[r].pid > 0) kill(c->ranks[r].pid, SIGKILL);
  }
  for (uint32_t r = 0; r < c->nranks; r++)
    for (int i = 0; watchdogs[r] > 0 && kill(watchdogs[r], 0) == 0 && i < 200; i++) usleep(1000);
  snprintf(path, sizeof(path), "%s/node-%u", c->job_dir, node->number);
  egd_remove_tree(path);
  if (node->link) egd_link_destroy(node->link);
  node->link = NULL;
}

void egd_controller_kill_node(struct egd_controller *c, struct node *node) {
  if (!node->alive) return;
  kill_processes(c, node);
  egd_controller_node_lost(c, node, "injected", true);
}

void egd_controller_empty_node(struct egd_controller *c, struct node *node, uint32_t to) {
  node->retired = true;
  c->move_to = to;
  if (!c->options.cluster) kill_processes(c, node);
  egd_controller_node_lost(c, node, "its ranks move on request", false);
  c->move_to = c->nnodes;
}
