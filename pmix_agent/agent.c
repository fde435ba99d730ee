// egida-agent: start, the launcher's commands, and the end.
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

struct job {
  char id[64], job_dir[512];
  uint64_t hash, log_limit;
  uint32_t nranks, nnodes;
  struct egd_plan plan;
  bool divergence_warn, verbose;
};

void agent_report(struct agent *agent, json_t *message) {
  egd_link_send(agent->launcher, message);
}

static void trouble(struct agent *agent, bool fatal, const char *what) {
  agent_report(agent, json_pack("{ss si sb ss}", "op", "trouble", "node", agent->node, "fatal", fatal, "what", what));
}

// ---- the end ------------------------------------------------------------------------------------------------------------

static void tell_all(struct agent *agent, const char *op) {
  for (uint32_t r = 0; r < agent->seg->nranks; r++)
    if (agent->ranks[r].here) agent_tell(agent, r, json_pack("{ss}", "op", op));
}

static void end(struct agent *agent) {
  if (agent->ending) return;
  agent->ending = true;
  agent->end_ns = egd_monotonic_ns() + LEAVE_NS;
  tell_all(agent, "leave");
}

static void suspend(struct agent *agent) {
  if (agent->suspending || agent->ending) return;
  agent->suspending = true;
  agent->end_ns = egd_monotonic_ns() + SUSPEND_NS;
  tell_all(agent, "quiesce");
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
      egd_log("this node was given up by the launcher; its ranks end");
      end(agent);
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

static void on_command(void *arg, struct egd_link *link, json_t *message) {
  struct agent *agent = arg;
  struct egd_segment *seg = agent->seg;
  const char *op = json_string_value(json_object_get(message, "op"));
  json_t *number = json_object_get(message, "rank");
  json_int_t r = json_is_integer(number) ? json_integer_value(number) : -1;
  uint32_t incarnation = (uint32_t)json_integer_value(json_object_get(message, "incarnation"));
  if (!op || r >= seg->nranks) return;
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
    suspend(agent);
  } else if (strcmp(op, "end") == 0) {
    end(agent);
  }
}

static void on_binary(void *arg, struct egd_link *link, const unsigned char *data, size_t length) {
  struct agent *agent = arg;
  struct egd_control_head head;
  if (length != sizeof(head)) return;
  memcpy(&head, data, sizeof(head));
  if (head.kind == EGD_CONTROL_ACK && head.rank < agent->seg->nranks) agent_acknowledged(agent, head.rank, head.value);
}

static void on_launcher_lost(void *arg, struct egd_link *link) {
  struct agent *agent = arg;
  egd_link_destroy(link);
  agent->launcher = NULL;
  suspend(agent); // the job can be resumed from images of its last state
}

// ---- rounds ---------------------------------------------------------------------------------------------------------------

static void on_tick(void *arg) {
  struct agent *agent = arg;
  agent_look(agent);
  look_at_end(agent);
  egd_reactor_after(agent->reactor, AGENT_TICK_NS, on_tick, agent);
}

static void on_doorbell(void *arg, int fd, uint32_t events) {
  char buffer[4096];
  while (read(fd, buffer, sizeof(buffer)) == (ssize_t)sizeof(buffer)) {
  }
  agent_look(arg);
}

static void on_connection(void *arg, int fd, uint32_t events) {
  agent_accept(arg);
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

// ---- start ----------------------------------------------------------------------------------------------------------------

static bool hex_bytes(const char *text, void *to, size_t size) {
  unsigned char *p = to;
  if (!text || strlen(text) != 2 * size) return false;
  for (size_t i = 0; i < size; i++) {
    unsigned value;
    if (sscanf(text + 2 * i, "%2x", &value) != 1) return false;
    p[i] = (unsigned char)value;
  }
  return true;
}

static bool read_job(const char *job_dir, struct job *job) {
  char path[PATH_MAX], *text;
  snprintf(path, sizeof(path), "%s/job.json", job_dir);
  int status = egd_secure_read(path, 1 << 20, &text, NULL);
  if (status != EGD_OK) {
    egd_log("cannot read %s: %s (%s)", path, egd_status_string(status), strerror(errno));
    return false;
  }
  json_t *root = json_loads(text, 0, NULL);
  free(text);
  const char *id = json_string_value(json_object_get(root, "id"));
  const char *hash = json_string_value(json_object_get(root, "hash"));
  job->nranks = (uint32_t)json_integer_value(json_object_get(root, "nranks"));
  job->nnodes = (uint32_t)json_integer_value(json_object_get(root, "nodes"));
  job->log_limit = (uint64_t)json_integer_value(json_object_get(root, "log_limit"));
  job->divergence_warn = json_is_true(json_object_get(root, "divergence_warn"));
  job->verbose = json_is_true(json_object_get(root, "verbose"));
  job->hash = hash ? strtoull(hash, NULL, 16) : 0;
  snprintf(job->id, sizeof(job->id), "%s", id ? id : "");
  bool good = id && hash && hex_bytes(json_string_value(json_object_get(root, "plan")), &job->plan, sizeof(job->plan));
  json_decref(root);
  if (!good) egd_log("%s is damaged or of another version of Egida; start the job anew", path);
  return good;
}

static bool read_secret(struct agent *agent) {
  char path[PATH_MAX], *data;
  size_t length;
  snprintf(path, sizeof(path), "%s/secret", agent->job_dir);
  if (egd_secure_read(path, 4096, &data, &length) != EGD_OK) {
    egd_log("cannot read %s: %s", path, strerror(errno));
    return false;
  }
  bool good = length == EGD_SECRET_SIZE;
  if (good) memcpy(agent->secret, data, EGD_SECRET_SIZE);
  free(data);
  if (!good) egd_log("%s is damaged; start the job anew", path);
  return good;
}

static bool make_segment(struct agent *agent, const struct job *job, bool adopt) {
  if (adopt) {
    agent->segment_fd = agent_find_segment(agent->node_dir, job->hash);
    if (agent->segment_fd < 0) {
      egd_log("no watchdog of node %u is alive: there is nothing to take over", agent->node);
      return false;
    }
  } else {
    int status = egd_segment_create(job->nranks, agent->node, job->nnodes, job->id, job->hash, agent->job_dir,
                                    agent->node_dir, &job->plan, job->log_limit, &agent->segment_fd);
    if (status != EGD_OK) {
      egd_log("cannot make the node segment for %u ranks: %s", job->nranks, egd_status_string(status));
      return false;
    }
  }
  int status = egd_segment_map(agent->segment_fd, &agent->seg);
  if (status != EGD_OK) {
    egd_log("cannot map the node segment (%s): is address space limited (ulimit -v)?", egd_status_string(status));
    return false;
  }
  atomic_store(&agent->seg->agent_pid, getpid());
  atomic_store(&agent->seg->divergence_warn, job->divergence_warn);
  agent->birth_wanted = atomic_load(&agent->seg->birth);
  return true;
}

static bool make_doorbell(struct agent *agent) {
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/doorbell", agent->node_dir);
  if (mkfifo(path, 0600) != 0 && errno != EEXIST) goto failed;
  // Open for writing too: the end of a rank must not look like the end of the stream.
  agent->doorbell = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (agent->doorbell >= 0)
    return egd_reactor_add(agent->reactor, agent->doorbell, EPOLLIN, on_doorbell, agent) == EGD_OK;
failed:
  egd_log("cannot make %s: %s", path, strerror(errno));
  return false;
}

static bool make_mover(struct agent *agent) {
  struct egd_mover_options options = {
      .reactor = agent->reactor,
      .seg = agent->seg,
      .segment_fd = agent->segment_fd,
      .incarnation = agent->incarnation,
      .callbacks =
          {.arg = agent, .stable = on_stable, .adopted = on_mover_adopted, .safe = on_safe, .trouble = on_trouble},
  };
  memcpy(options.secret, agent->secret, sizeof(options.secret));
  char why[512] = "";
  int status = egd_mover_create(&options, &agent->mover, why, sizeof(why));
  if (status != EGD_OK) egd_log("%s: %s", egd_status_string(status), why);
  return status == EGD_OK;
}

static bool connect_launcher(struct agent *agent, bool adopt) {
  static const struct egd_link_handlers handlers = {
      .json = on_command, .binary = on_binary, .closed = on_launcher_lost};
  int fd = egd_unix_connect(agent->job_dir, "control.sock");
  if (fd < 0 ||
      egd_link_create(agent->reactor, fd, EGD_CONTROL_MAX_BODY, &handlers, agent, &agent->launcher) != EGD_OK) {
    egd_log("cannot reach the launcher by %s/control.sock: %s", agent->job_dir, strerror(errno));
    return false;
  }
  agent_report(agent, json_pack("{ss ss si si si sb ss}", "op", "hello", "role", "agent", "node", agent->node, "pid",
                                getpid(), "incarnation", agent->incarnation, "adopt", adopt, "address",
                                egd_mover_address(agent->mover)));
  return true;
}

int main(int argc, char **argv) {
  static struct agent agent;
  bool adopt = argc == 5 && strcmp(argv[4], "--adopt") == 0;
  egd_log_set_name("egida-agent");
  if ((argc != 4 && !adopt) || strlen(argv[1]) >= sizeof(agent.job_dir) - 16) {
    fprintf(stderr, "egida-agent: it is started by egida run: egida-agent JOB-DIR NODE INCARNATION [--adopt]\n");
    return 64;
  }
  struct job job = {.nranks = 0};
  snprintf(agent.job_dir, sizeof(agent.job_dir), "%s", argv[1]);
  agent.node = (uint32_t)strtoul(argv[2], NULL, 10);
  agent.incarnation = (uint32_t)strtoul(argv[3], NULL, 10);
  snprintf(agent.node_dir, sizeof(agent.node_dir), "%.490s/node-%u", agent.job_dir, agent.node);
  char name[64];
  snprintf(name, sizeof(name), "egida-agent (node %u)", agent.node);
  egd_log_set_name(name);
  // Away from the terminal: Ctrl-C is the launcher's to handle.
  setsid();
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  if (!read_job(agent.job_dir, &job) || !read_secret(&agent)) return 71;
  egd_log_set_verbose(job.verbose);
  if (egd_secure_mkdir(agent.node_dir) != EGD_OK) {
    egd_log("cannot make the folder %s: %s", agent.node_dir, strerror(errno));
    return 71;
  }
  if (egd_reactor_create(&agent.reactor) != EGD_OK || !make_segment(&agent, &job, adopt)) return 71;
  agent.ranks = calloc(job.nranks, sizeof(*agent.ranks));
  if (!agent.ranks) return 71;
  for (uint32_t r = 0; r < job.nranks; r++) agent.ranks[r] = (struct agent_rank){.rank = r, .watchdog_pidfd = -1};
  if (!make_doorbell(&agent) || !make_mover(&agent)) return 71;
  if (!connect_launcher(&agent, adopt)) return 71;
  if (adopt) agent_adopt_watchdogs(&agent);
  agent.listener = egd_unix_listen(agent.node_dir, "agent.sock");
  if (agent.listener < 0 || egd_reactor_add(agent.reactor, agent.listener, EPOLLIN, on_connection, &agent) != EGD_OK) {
    egd_log("cannot listen on %s/agent.sock: %s", agent.node_dir, strerror(errno));
    return 71;
  }
  egd_reactor_set_hooks(agent.reactor, before_sleep, after_sleep, &agent);
  on_tick(&agent);
  int status = egd_reactor_run(agent.reactor);
  egd_mover_destroy(agent.mover);
  return status == EGD_OK ? 0 : 71;
}
