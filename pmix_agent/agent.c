// egida-agent: the launcher's commands, the rounds, and the end.
#include "pmix_agent/agent.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/log.h"
#include "common/securepath.h"
#include "common/status.h"
#include "pmix_agent/control.h"

#define SUSPEND_NS 4500000000ull // the watchdogs' time for a last image, and a little
#define LEAVE_NS 1000000000ull

void agent_report(struct agent *agent, json_t *message) {
  egd_link_send(agent->launcher, message);
}

static void trouble(struct agent *agent, bool fatal, const char *what) {
  agent_report(agent, json_pack("{ss si sb ss}", "op", "trouble", "node", agent->node, "fatal", fatal, "what", what));
}

// ---- the end ------------------------------------------------------------------------------------------------------------

static void tell_all(struct agent *agent, const char *op) {
  for (uint32_t r = 0; r < agent->seg->nranks; r++)
    if (agent->ranks[r].here) agent_tell(agent, r, json_pack("{ss si}", "op", op, "code", agent->exit_code));
}

static void end(struct agent *agent) {
  if (agent->ending) return;
  agent->ending = true;
  agent->end_ns = egd_monotonic_ns() + LEAVE_NS;
  tell_all(agent, "leave");
}

void agent_suspend(struct agent *agent) {
  if (agent->suspending || agent->ending) return;
  agent->suspending = true;
  agent->end_ns = egd_monotonic_ns() + SUSPEND_NS;
  agent_extend_lease(agent, SUSPEND_NS + LEAVE_NS);
  tell_all(agent, "quiesce");
}

void agent_fenced(struct agent *agent, const char *why) {
  if (agent->ending) return;
  egd_log("this node was given up: %s; its ranks end here and go on elsewhere", why);
  if (agent->launcher) egd_link_destroy(agent->launcher);
  agent->launcher = NULL;
  agent->fenced = true;
  for (uint32_t r = 0; r < agent->seg->nranks; r++) {
    int pid = agent->ranks[r].here ? atomic_load(&egd_cb(agent->seg, r)->pid) : 0;
    if (pid > 0) kill(pid, SIGKILL);
  }
  end(agent);
}

static void look_at_end(struct agent *agent) {
  uint64_t now_ns = egd_monotonic_ns();
  if (agent->suspending && !agent->ending && (agent_is_empty(agent) || now_ns >= agent->end_ns)) end(agent);
  if (!agent->ending) return;
  if (!agent_is_empty(agent)) {
    if (now_ns < agent->end_ns) return;
    for (uint32_t r = 0; r < agent->seg->nranks; r++)
      if (agent->ranks[r].watchdog_pid > 0) kill(agent->ranks[r].watchdog_pid, SIGKILL);
    agent->end_ns = now_ns + LEAVE_NS;
    return;
  }
  // The launcher is lost or ends the whole job: what a resumed one needs of this node.
  if (agent->suspending || agent->fenced) egd_mover_keep(agent->mover);
  agent->flushing = agent->launcher != NULL;
  agent_look(agent);
  agent_report(agent, json_pack("{ss si}", "op", "ended", "node", agent->node));
  egd_link_drain(agent->launcher, 10000000000u);
  egd_reactor_stop(agent->reactor);
}

// ---- start-up begins anew -----------------------------------------------------------------------------------------------

static void begin_anew(struct agent *agent, uint32_t birth) {
  agent->birth_wanted = birth;
  for (uint32_t r = 0; r < agent->seg->nranks; r++) {
    struct agent_rank *rank = &agent->ranks[r];
    rank->run_pending = false;
    json_decref(rank->death);
    rank->death = NULL;
    if (rank->here) agent_kill_rank(agent, r, SIGKILL);
  }
  agent_continue_anew(agent);
}

// Called until all local ranks are dead; their slices are forgotten only then.
void agent_continue_anew(struct agent *agent) {
  struct egd_segment *seg = agent->seg;
  for (uint32_t r = 0; r < seg->nranks; r++)
    if (agent->ranks[r].here && !agent_rank_is_dead(agent, r)) return;
  for (uint32_t r = 0; r < seg->nranks; r++) {
    struct agent_rank *rank = &agent->ranks[r];
    if (rank->here) {
      char path[PATH_MAX];
      snprintf(path, sizeof(path), "%s/images/rank-%u", agent->job_dir, r);
      egd_remove_tree(path);
      egd_secure_mkdir(path);
    }
    int watchdog = atomic_load(&egd_cb(seg, r)->watchdog_pid);
    egd_segment_reset_slice(agent->segment_fd, seg, r);
    atomic_store(&egd_cb(seg, r)->watchdog_pid, watchdog);
    struct agent_rank fresh = {.rank = r,
                               .here = rank->here,
                               .awaited = rank->awaited,
                               .watchdog_pid = rank->watchdog_pid,
                               .watchdog_pidfd = rank->watchdog_pidfd,
                               .link = rank->link};
    json_decref(rank->death);
    *rank = fresh;
  }
  atomic_store(&seg->birth, agent->birth_wanted);
  egd_mover_begin_anew(agent->mover);
  agent_report(agent, json_pack("{ss si si}", "op", "anew-done", "node", agent->node, "birth", agent->birth_wanted));
}

// ---- commands -------------------------------------------------------------------------------------------------------------

static void follow_view(struct agent *agent, json_t *message) {
  json_t *nodes = json_object_get(message, "nodes"), *home = json_object_get(message, "home"), *entry;
  size_t nnodes = json_array_size(nodes), nranks = json_array_size(home), i;
  if (nnodes == 0 || nnodes > EGD_MOVER_MAX_NODES || nranks != agent->seg->nranks) return;
  struct egd_mover_node *list = calloc(nnodes, sizeof(*list));
  uint32_t *homes = calloc(nranks, sizeof(*homes));
  struct egd_mover_view view = {.epoch = (uint64_t)json_integer_value(json_object_get(message, "epoch")),
                                .nnodes = (uint32_t)nnodes,
                                .nranks = (uint32_t)nranks,
                                .nodes = list,
                                .home = homes};
  if (list && homes) {
    json_array_foreach(nodes, i, entry) {
      const char *address = json_string_value(json_object_get(entry, "address"));
      list[i].alive = json_is_true(json_object_get(entry, "alive"));
      list[i].incarnation = (uint32_t)json_integer_value(json_object_get(entry, "incarnation"));
      snprintf(list[i].address, sizeof(list[i].address), "%s", address ? address : "");
    }
    json_array_foreach(home, i, entry) homes[i] = (uint32_t)json_integer_value(entry);
    int status = egd_mover_set_view(agent->mover, &view);
    if (status == EGD_ERR_FOREIGN) {
      agent_fenced(agent, "the job's view says so");
    } else if (status == EGD_OK) {
      agent_report(agent,
                   json_pack("{ss si sI}", "op", "view-ack", "node", agent->node, "epoch", (json_int_t)view.epoch));
    } else {
      trouble(agent, true, "the view of the job does not fit this node");
    }
  }
  free(list);
  free(homes);
}

static void on_mover_adopted(void *arg, uint32_t r, enum egd_status status, uint64_t bytes, const char *why) {
  struct agent *agent = arg;
  struct agent_rank *rank = &agent->ranks[r];
  if (!rank->adopting) return;
  rank->adopting = false;
  agent_report(agent, json_pack("{ss si si sb sI ss}", "op", "adopted", "node", agent->node, "rank", r, "ok",
                                status == EGD_OK, "bytes", (json_int_t)bytes, "why", why ? why : ""));
  if (status != EGD_OK) {
    rank->here = false;
    return;
  }
  rank->settling = true;
  agent_run_rank(agent, r, rank->incarnation, true);
}

static void adopt_rank(struct agent *agent, uint32_t r, uint32_t incarnation) {
  struct agent_rank *rank = &agent->ranks[r];
  rank->here = rank->adopting = true;
  rank->incarnation = incarnation;
  int status = egd_mover_adopt_rank(agent->mover, r);
  if (status != EGD_OK) on_mover_adopted(agent, r, status, 0, egd_status_string(status));
}

void agent_command(struct agent *agent, const char *op, json_t *message) {
  struct egd_segment *seg = agent->seg;
  json_t *number = json_object_get(message, "rank");
  json_int_t r = json_is_integer(number) ? json_integer_value(number) : -1;
  uint32_t incarnation = (uint32_t)json_integer_value(json_object_get(message, "incarnation"));
  if (r >= seg->nranks) return;
  if (strcmp(op, "view") == 0) {
    follow_view(agent, message);
  } else if (strcmp(op, "run") == 0 && r >= 0) {
    agent_run_rank(agent, (uint32_t)r, incarnation, json_is_true(json_object_get(message, "restore")));
  } else if (strcmp(op, "adopt-rank") == 0 && r >= 0) {
    adopt_rank(agent, (uint32_t)r, incarnation);
  } else if (strcmp(op, "pmi-reply") == 0 && r >= 0) {
    agent_tell(agent, (uint32_t)r, json_incref(message));
  } else if (strcmp(op, "begin") == 0) {
    atomic_store(&seg->started, 1);
    agent_look(agent);
  } else if (strcmp(op, "anew") == 0) {
    begin_anew(agent, (uint32_t)json_integer_value(json_object_get(message, "birth")));
  } else if (strcmp(op, "kill") == 0 && r >= 0) {
    agent_kill_rank(agent, (uint32_t)r, (int)json_integer_value(json_object_get(message, "signal")));
  } else if (strcmp(op, "fault") == 0 && r >= 0) {
    struct egd_rank_cb *cb = egd_cb(seg, (uint32_t)r);
    atomic_store(&cb->fault_count, (uint64_t)json_integer_value(json_object_get(message, "count")));
    atomic_store(&cb->fault_done, 0);
    atomic_store(&cb->fault_point, (uint32_t)json_integer_value(json_object_get(message, "point")));
  } else if (strcmp(op, "checkpoint") == 0) {
    for (uint32_t i = 0; i < seg->nranks; i++)
      if (agent->ranks[i].here && (r < 0 || i == (uint32_t)r)) agent_request_image(agent, i);
  } else if (strcmp(op, "suspend") == 0) {
    agent->exit_code = (int)json_integer_value(json_object_get(message, "code"));
    agent_suspend(agent);
  } else if (strcmp(op, "end") == 0) {
    agent->exit_code = (int)json_integer_value(json_object_get(message, "code"));
    end(agent);
  }
}

// ---- rounds ---------------------------------------------------------------------------------------------------------------

static void on_tick(void *arg) {
  struct agent *agent = arg;
  agent_look_at_lease(agent);
  agent_look(agent);
  look_at_end(agent);
  egd_reactor_after(agent->reactor, AGENT_TICK_NS, on_tick, agent);
}

static bool before_sleep(void *arg) {
  struct agent *agent = arg;
  atomic_store(&agent->seg->agent_sleeping, 1);
  bool idle = egd_mover_before_sleep(agent->mover) && !agent_has_news(agent);
  if (!idle) agent_look(agent);
  return idle;
}

static void after_sleep(void *arg) {
  struct agent *agent = arg;
  atomic_store(&agent->seg->agent_sleeping, 0);
  egd_mover_after_sleep(agent->mover);
}

static void on_stable(void *arg, uint64_t cut) {
  agent_look(arg);
}

static void on_safe(void *arg, uint64_t epoch) {
  struct agent *agent = arg;
  agent_report(agent, json_pack("{ss si sI}", "op", "safe", "node", agent->node, "epoch", (json_int_t)epoch));
}

static void on_trouble(void *arg, bool fatal, const char *what) {
  trouble(arg, fatal, what);
}

const struct egd_mover_callbacks agent_mover_callbacks = {
    .stable = on_stable, .adopted = on_mover_adopted, .safe = on_safe, .trouble = on_trouble};

// On a cluster's node nobody else does.
static void remove_traces(const struct agent *agent) {
  char lock[sizeof(agent->node_dir) + 8];
  snprintf(lock, sizeof(lock), "%s.lock", agent->node_dir);
  egd_remove_tree(agent->node_dir);
  unlink(lock);
}

int main(int argc, char **argv) {
  static struct agent agent;
  if (!agent_start(&agent, argc, argv)) return 71;
  egd_reactor_set_hooks(agent.reactor, before_sleep, after_sleep, &agent);
  on_tick(&agent);
  int status = egd_reactor_run(agent.reactor);
  egd_mover_destroy(agent.mover);
  if (agent.control[0]) remove_traces(&agent);
  return status == EGD_OK ? 0 : 71;
}
