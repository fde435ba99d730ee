// egida-agent: how it starts.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/log.h"
#include "common/nodedir.h"
#include "common/securepath.h"
#include "common/status.h"
#include "pmix_agent/agent.h"

#define START_NS 30000000000ull // for the steward's first answer

struct job {
  char id[64], job_dir[512];
  uint64_t hash, log_limit;
  uint32_t nranks, nnodes;
  struct egd_plan plan;
  bool divergence_warn, verbose;
};

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

static bool make_segment(struct agent *agent, const struct job *job) {
  if (agent->adopted) {
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
  atomic_store(&agent->seg->agent_incarnation, agent->incarnation);
  if (agent->control[0] && !agent->adopted) {
    memcpy(agent->seg->control, agent->control, sizeof(agent->control));
    atomic_store(&agent->seg->lease_until_ns, egd_boottime_ns() + START_NS);
  }
  return true;
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
      .listen = agent->listen[0] ? agent->listen : NULL,
      .callbacks = agent_mover_callbacks,
  };
  options.callbacks.arg = agent;
  memcpy(options.secret, agent->secret, sizeof(options.secret));
  char why[512] = "";
  int status = egd_mover_create(&options, &agent->mover, why, sizeof(why));
  if (status != EGD_OK) egd_log("%s: %s", egd_status_string(status), why);
  return status == EGD_OK;
}

static bool make_folder(struct agent *agent, int lock) {
  char path[PATH_MAX];
  int status = EGD_OK;
  if (agent->control[0])
    status = egd_node_dir(agent->job_dir, agent->node, path);
  else
    snprintf(path, sizeof(path), "%s/node-%u", agent->job_dir, agent->node);
  if (status == EGD_OK && agent->control[0]) {
    if (lock < 0) lock = egd_node_lock(path);
    if (lock < 0) {
      egd_log("%s has an agent already", path);
      return false;
    }
    fcntl(lock, F_SETFD, FD_CLOEXEC); // held until this process ends
    egd_node_sweep(path);
  }
  // What an agent before a loss of power left there is of no use to anybody.
  if (status == EGD_OK && agent->control[0] && !agent->adopted) egd_remove_tree(path);
  if (status == EGD_OK) status = egd_secure_mkdir(path);
  if (status == EGD_OK && strlen(path) < sizeof(agent->node_dir)) {
    memcpy(agent->node_dir, path, strlen(path) + 1);
    return true;
  }
  egd_log("cannot make the folder %s: %s; $TMPDIR may name another place for it", path, strerror(errno));
  return false;
}

// Tasks of the batch system find the segment by it.
static bool write_pid_file(struct agent *agent) {
  char text[64];
  int n = snprintf(text, sizeof(text), "%d %d\n", getpid(), agent->segment_fd);
  if (egd_secure_write(agent->node_dir, "agent.pid", text, (size_t)n, false) == EGD_OK) return true;
  egd_log("cannot write %s/agent.pid: %s", agent->node_dir, strerror(errno));
  return false;
}

static bool listen_for_watchdogs(struct agent *agent) {
  agent->listener = egd_unix_listen(agent->node_dir, "agent.sock");
  if (agent->listener >= 0 && egd_reactor_add(agent->reactor, agent->listener, EPOLLIN, on_connection, agent) == EGD_OK)
    return true;
  egd_log("cannot listen on %s/agent.sock: %s", agent->node_dir, strerror(errno));
  return false;
}

// "0,1,2": ranks whose watchdogs are tasks of the batch system and come by themselves.
static bool await_ranks(struct agent *agent, const char *list) {
  for (char *end; *list; list = *end == ',' ? end + 1 : end) {
    unsigned long r = strtoul(list, &end, 10);
    if (end == list || r >= agent->seg->nranks || (*end && *end != ',')) {
      egd_log("--ranks: '%s' is no list of ranks below %u", list, agent->seg->nranks);
      return false;
    }
    agent->ranks[r].here = agent->ranks[r].awaited = true;
  }
  return true;
}

static bool usage(void) {
  fprintf(stderr,
          "egida-agent: it is started by egida: egida-agent [--adopt] [--control=HOST:PORT] [--ranks=LIST] [--lock=FD] "
          "JOB-DIR NODE INCARNATION\n");
  return false;
}

bool agent_start(struct agent *agent, int argc, char **argv) {
  static const struct option options[] = {{"adopt", no_argument, NULL, 'a'},
                                          {"control", required_argument, NULL, 'c'},
                                          {"ranks", required_argument, NULL, 'r'},
                                          {"lock", required_argument, NULL, 'l'},
                                          {0}};
  const char *ranks = "";
  int lock = -1; // of the node, if who started this agent took it
  egd_log_set_name("egida-agent");
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (c == 'a')
      agent->adopted = true;
    else if (c == 'c' && strlen(optarg) < sizeof(agent->control))
      strcpy(agent->control, optarg);
    else if (c == 'r')
      ranks = optarg;
    else if (c == 'l')
      lock = atoi(optarg);
    else
      return usage();
  }
  if (argc - optind != 3 || strlen(argv[optind]) >= sizeof(agent->job_dir) - 16) return usage();
  snprintf(agent->job_dir, sizeof(agent->job_dir), "%s", argv[optind]);
  agent->node = (uint32_t)strtoul(argv[optind + 1], NULL, 10);
  agent->incarnation = (uint32_t)strtoul(argv[optind + 2], NULL, 10);
  char name[64];
  snprintf(name, sizeof(name), "egida-agent (node %u)", agent->node);
  egd_log_set_name(name);
  // Away from the terminal and the signals of a batch system: the launcher decides.
  setsid();
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  if (agent->control[0]) signal(SIGTERM, SIG_IGN);
  struct job job = {.nranks = 0};
  if (!read_job(agent->job_dir, &job) || !read_secret(agent)) return false;
  egd_log_set_verbose(job.verbose);
  if (!make_folder(agent, lock) || egd_reactor_create(&agent->reactor) != EGD_OK || !make_segment(agent, &job))
    return false;
  agent->ranks = calloc(job.nranks, sizeof(*agent->ranks));
  if (!agent->ranks) return false;
  for (uint32_t r = 0; r < job.nranks; r++) agent->ranks[r] = (struct agent_rank){.rank = r, .watchdog_pidfd = -1};
  if (!await_ranks(agent, ranks) || !make_doorbell(agent) || !agent_connect(agent) || !make_mover(agent)) return false;
  if (agent->adopted) agent_adopt_watchdogs(agent);
  if (!listen_for_watchdogs(agent) || !write_pid_file(agent)) return false;
  agent_greet(agent);
  return true;
}
