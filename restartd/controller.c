// The life of a job: agents, view, start-up, failures (controller_ranks.c, controller_nodes.c), the end.
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/log.h"
#include "common/securepath.h"
#include "common/status.h"
#include "pmix_agent/control.h"
#include "restartd/controller_private.h"
#include "restartd/upstream.h"

#define END_NS 15000000000ull // then agents that did not end are killed
#define STORE_FLUSH_NS 250000000ull

bool egd_controller_protects(const struct egd_controller *c) {
  return c->options.plan.flags & EGD_PLAN_LOG_DETERMINANTS && c->options.plan.flags & EGD_PLAN_CHECKPOINT;
}

// ---- the end ------------------------------------------------------------------------------------------------------------

static void begin_end(struct egd_controller *c, enum egd_store_outcome outcome, int exit_code, const char *op) {
  egd_store_event(c->store, c->options.job_id, "ended", -1, -1, c->verdict[0] ? c->verdict : "all ranks ended well",
                  NULL);
  c->ending = true;
  c->outcome = outcome;
  c->exit_code = exit_code;
  c->end_ns = egd_monotonic_ns() + END_NS;
  egd_controller_send_all(c, json_pack("{ss si}", "op", op, "code", exit_code));
}

void egd_controller_finish(struct egd_controller *c, enum egd_store_outcome outcome, int exit_code, const char *verdict,
                           ...) {
  if (c->ending) return;
  va_list args;
  va_start(args, verdict);
  vsnprintf(c->verdict, sizeof(c->verdict), verdict, args);
  va_end(args);
  begin_end(c, outcome, exit_code, "end");
}

void egd_controller_suspend(struct egd_controller *c, int number) {
  if (c->ending) return;
  if (!c->started || !(c->options.plan.flags & EGD_PLAN_CHECKPOINT)) {
    egd_controller_finish(c, EGD_STORE_CANCELLED, 128 + number, "%s: the job ends", strsignal(number));
    return;
  }
  snprintf(c->verdict, sizeof(c->verdict),
           "%s: the job stops; with images of the last state of all ranks, --egida-resume=%s goes on from there",
           strsignal(number), c->options.job_id);
  begin_end(c, EGD_STORE_CANCELLED, 128 + number, "suspend");
}

static bool all_ended(const struct egd_controller *c) {
  for (uint32_t n = 0; n < c->nnodes; n++)
    if (c->options.cluster ? c->nodes[n].link != NULL : c->nodes[n].agent_pid > 0) return false;
  return true;
}

static void look_at_end(struct egd_controller *c) {
  if (!c->ending) return;
  uint64_t now_ns = egd_monotonic_ns();
  if (all_ended(c)) {
    egd_reactor_stop(c->reactor);
  } else if (now_ns >= c->end_ns) {
    for (uint32_t n = 0; n < c->nnodes; n++) {
      if (c->nodes[n].agent_pid > 0) kill(c->nodes[n].agent_pid, SIGKILL);
      if (c->options.cluster && c->nodes[n].link) { // its lease ends by itself
        egd_link_destroy(c->nodes[n].link);
        c->nodes[n].link = NULL;
      }
    }
    c->end_ns = now_ns + 1000000000u;
  }
}

// ---- progress -------------------------------------------------------------------------------------------------------------

// The images of the last state are the only ones until the resumed ranks took over.
static void end_resuming(struct egd_controller *c) {
  for (uint32_t r = 0; r < c->nranks; r++)
    if (!c->ranks[r].durable_seen) return;
  c->resuming = false;
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/suspended", c->job_dir);
  egd_remove_tree(path);
  egd_store_job_started(c->store, c->options.job_id, 0);
}

static void begin_job(struct egd_controller *c) {
  // A rank whose determinants nobody else holds yet would be lost with its node.
  for (uint32_t n = 0; n < c->nnodes; n++)
    if (c->nodes[n].alive && c->nodes[n].safe_epoch < c->epoch) return;
  for (uint32_t r = 0; r < c->nranks; r++) {
    const struct rank *rank = &c->ranks[r];
    bool ready =
        c->options.plan.flags & EGD_PLAN_CHECKPOINT ? rank->durable_seen : rank->notes & EGD_NOTE_MPI_INITIALIZED;
    if (!ready) return;
  }
  c->started = true;
  egd_store_event(c->store, c->options.job_id, "started", -1, -1, "all ranks run, their output may leave", NULL);
  egd_controller_send_all(c, json_pack("{ss}", "op", "begin"));
  egd_store_job_started(c->store, c->options.job_id, 0);
  egd_verbose("start-up is over");
}

void egd_controller_begin_anew(struct egd_controller *c) {
  if (c->anew) c->anew_sent = false; // another failure on top: once more
  c->anew = true;
  c->birth++;
  c->anew_sent = false;
  egd_controller_advance(c);
}

static bool anew_is_done(struct egd_controller *c) {
  if (!c->anew_sent) {
    c->anew_sent = true;
    egd_controller_send_all(c, json_pack("{ss si}", "op", "anew", "birth", c->birth));
  }
  for (uint32_t n = 0; n < c->nnodes; n++)
    if (c->nodes[n].alive && c->nodes[n].anew_done < c->birth) return false;
  egd_pmi_begin_anew(c);
  egd_output_begin_anew(c);
  for (uint32_t r = 0; r < c->nranks; r++) {
    struct rank *rank = &c->ranks[r];
    rank->phase = RANK_TO_START;
    rank->incarnation = 0;
    rank->pid = 0;
    rank->notes = rank->image = 0;
    rank->durable_seen = rank->recovering = false;
    // Images belong to a start-up: those of lost nodes' ranks too.
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/images/rank-%u", c->job_dir, r);
    egd_remove_tree(path);
    egd_secure_mkdir(path);
  }
  c->anew = false;
  return true;
}

static void run_rank(struct egd_controller *c, struct rank *rank) {
  enum rank_phase phase = rank->phase;
  rank->phase = RANK_UP;
  if (phase == RANK_TO_ADOPT) {
    egd_recovery_mark(&rank->times, EGD_RECOVERY_FENCED, 0);
    egd_controller_send(
        c, rank->home,
        json_pack("{ss si si}", "op", "adopt-rank", "rank", rank->number, "incarnation", rank->incarnation));
  }
  egd_injections_arm(c, rank);
  if (phase != RANK_TO_ADOPT)
    egd_controller_send(c, rank->home,
                        json_pack("{ss si si sb}", "op", "run", "rank", rank->number, "incarnation", rank->incarnation,
                                  "restore", phase == RANK_TO_RESTART));
}

void egd_controller_advance(struct egd_controller *c) {
  if (c->ending) return;
  if (c->epoch == 0) { // the first view, once all agents are there; a cluster's spares come when they can
    for (uint32_t n = 0; n < c->nnodes; n++)
      if (!c->nodes[n].greeted && (c->nodes[n].alive || !c->options.cluster)) return;
    if (!c->options.cluster || egd_cluster_has_all_ranks(c)) egd_controller_send_view(c);
    return;
  }
  if (!egd_controller_view_is_followed(c) || (c->options.cluster && !egd_cluster_leases_ended(c))) return;
  if (c->anew && !anew_is_done(c)) return;
  for (uint32_t r = 0; r < c->nranks; r++)
    if (c->ranks[r].phase < RANK_UP) run_rank(c, &c->ranks[r]);
  if (!c->launched) {
    c->launched = true;
    egd_injections_start(c);
  }
  if (!c->started) begin_job(c);
  if (c->resuming) end_resuming(c);
}

// ---- messages -------------------------------------------------------------------------------------------------------------

static void on_hello(struct egd_controller *c, struct client *client, json_t *message) {
  const char *role = json_string_value(json_object_get(message, "role"));
  json_int_t n = json_integer_value(json_object_get(message, "node"));
  json_int_t incarnation = json_integer_value(json_object_get(message, "incarnation"));
  if (!role || strcmp(role, "agent") != 0 || n < 0 || n >= c->nnodes) return;
  struct node *node = &c->nodes[n];
  if (client->by_tcp) {
    if (client->refused || !egd_cluster_hello(c, client, message, node, (uint32_t)incarnation)) return;
  } else if (incarnation != node->incarnation || !node->alive) { // fenced
    return;
  }
  const char *address = json_string_value(json_object_get(message, "address"));
  snprintf(node->address, sizeof(node->address), "%s", address ? address : "");
  client->node = node;
  node->link = client->link;
  node->greeted = true;
  egd_store_node_up(c->store, c->options.job_id, (int)n, node->incarnation, node->address, node->agent_pid, node->spare,
                    0);
  if (c->ending) {
    egd_link_send(node->link, json_pack("{ss si}", "op", "end", "code", c->exit_code));
    return;
  }
  if (c->started) egd_link_send(node->link, json_pack("{ss}", "op", "begin"));
  if (c->epoch > 0) {
    c->anew_sent = false;
    egd_controller_send_first_view(c, node);
    egd_controller_send_view(c);
  }
  egd_controller_advance(c);
}

static void on_trouble(struct egd_controller *c, struct node *node, json_t *message) {
  const char *what = json_string_value(json_object_get(message, "what"));
  if (!what) what = json_string_value(json_object_get(message, "why"));
  if (!what) what = "unknown trouble";
  if (json_is_false(json_object_get(message, "fatal")))
    egd_log("node %u: %s", node->number, what);
  else
    egd_controller_finish(c, EGD_STORE_VERDICT, EGD_EXIT_JOB_VERDICT, "node %u: %s", node->number, what);
}

static void on_json(void *arg, struct egd_link *link, json_t *message) {
  struct client *client = arg;
  struct egd_controller *c = client->controller;
  struct node *node = client->node;
  const char *op = json_string_value(json_object_get(message, "op"));
  if (!op) return;
  if (!node) {
    if (strcmp(op, "hello") == 0) on_hello(c, client, message);
    if (!client->by_tcp) egd_controller_request(c, client, op, message);
    return;
  }
  if (node->link != link) return;
  if (strcmp(op, "beat") == 0) {
    egd_cluster_beat(c, node, message);
  } else if (strcmp(op, "view-ack") == 0) {
    node->acked_epoch = (uint64_t)json_integer_value(json_object_get(message, "epoch"));
    egd_controller_advance(c);
  } else if (strcmp(op, "anew-done") == 0) {
    node->anew_done = (uint32_t)json_integer_value(json_object_get(message, "birth"));
    node->safe_epoch = 0; // what was held is forgotten
    egd_controller_advance(c);
  } else if (strcmp(op, "trouble") == 0 || strcmp(op, "broken") == 0) {
    on_trouble(c, node, message);
  } else if (strcmp(op, "safe") == 0) {
    node->safe_epoch = (uint64_t)json_integer_value(json_object_get(message, "epoch"));
    egd_controller_look_safe(c);
    if (!c->started) egd_controller_advance(c);
  } else if (strcmp(op, "signalled") == 0) {
    egd_controller_suspend(c, SIGTERM);
  } else if (strcmp(op, "ended") == 0) {
    node->ended = true;
  } else {
    egd_controller_rank_message(c, node, op, message);
  }
}

static void on_binary(void *arg, struct egd_link *link, const unsigned char *data, size_t length) {
  struct client *client = arg;
  if (client->node && client->node->link == link) egd_output_take(client->controller, client->node, data, length);
}

static void on_closed(void *arg, struct egd_link *link) {
  struct client *client = arg;
  if (client->node && client->node->link == link) client->node->link = NULL; // SIGCHLD tells what it means
  egd_controller_drop_client(client);
}

void egd_controller_drop_client(struct client *client) {
  struct client **at = &client->controller->clients;
  while (*at && *at != client) at = &(*at)->next;
  if (*at) *at = client->next;
  egd_link_destroy(client->link);
  free(client->wanted);
  free(client);
}

void egd_controller_add_client(struct egd_controller *c, int connection, bool by_tcp) {
  static const struct egd_link_handlers handlers = {.json = on_json, .binary = on_binary, .closed = on_closed};
  struct client *client = calloc(1, sizeof(*client));
  if (client) {
    client->controller = c;
    client->by_tcp = by_tcp;
  }
  if (!client || egd_link_create(c->reactor, connection, by_tcp ? EGD_CONTROL_STRANGER_BODY : EGD_CONTROL_MAX_BODY,
                                 &handlers, client, &client->link) != EGD_OK) {
    free(client);
    close(connection);
    return;
  }
  client->next = c->clients;
  c->clients = client;
  if (by_tcp) egd_cluster_connected(c, client);
}

static void on_connection(void *arg, int fd, uint32_t events) {
  int connection = egd_unix_accept(fd);
  if (connection >= 0) egd_controller_add_client(arg, connection, false);
}

// ---- signals ----------------------------------------------------------------------------------------------------------------

static void reap(struct egd_controller *c) {
  int status, pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
    for (uint32_t n = 0; n < c->nnodes; n++)
      if (c->nodes[n].agent_pid == pid) {
        // Its last words may still be in the socket: they are read before its end is judged.
        c->nodes[n].agent_pid = c->nodes[n].link && c->ending ? 0 : pid;
        if (c->nodes[n].agent_pid) egd_controller_agent_gone(c, &c->nodes[n]);
      }
}

static void on_signal(void *arg, int fd, uint32_t events) {
  struct egd_controller *c = arg;
  struct signalfd_siginfo info;
  while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
    if (info.ssi_signo == SIGCHLD) {
      reap(c);
      continue;
    }
    int number = (int)info.ssi_signo;
    if (c->ending && c->outcome == EGD_STORE_CANCELLED) c->end_ns = 0; // asked twice: at once
    c->interrupted = false;
    if (c->options.cluster && number == SIGTERM)
      egd_controller_suspend(c, number);
    else
      egd_controller_finish(c, EGD_STORE_CANCELLED, 128 + number, "%s: the job ends",
                            number == SIGINT ? "interrupted" : strsignal(number));
  }
  look_at_end(c);
}

static void on_tick(void *arg) {
  struct egd_controller *c = arg;
  reap(c);
  look_at_end(c);
  egd_store_flush(c->store);
  egd_reactor_after(c->reactor, c->ending ? 20000000u : STORE_FLUSH_NS, on_tick, c);
}

static bool open_signals(struct egd_controller *c) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return c->signal_fd >= 0 && egd_reactor_add(c->reactor, c->signal_fd, EPOLLIN, on_signal, c) == EGD_OK;
}

// ---- run ----------------------------------------------------------------------------------------------------------------

static bool set_up(struct egd_controller *c) {
  if (!c->ranks || !c->nodes || !c->kvs || egd_reactor_create(&c->reactor) != EGD_OK) {
    egd_log("out of memory");
    return false;
  }
  for (uint32_t n = 0; n < c->nnodes; n++) c->nodes[n] = (struct node){.number = n, .spare = n >= c->options.nodes};
  for (uint32_t r = 0; r < c->nranks; r++) {
    c->ranks[r].number = r;
    c->ranks[r].home = (uint32_t)((uint64_t)r * c->options.nodes / c->nranks);
    c->ranks[r].phase = c->options.gather ? RANK_TO_ADOPT : c->options.resume ? RANK_TO_RESTART : RANK_TO_START;
    c->ranks[r].from_node = c->nnodes;
    if (c->options.resume) c->ranks[r].notes = EGD_NOTE_MPI_INITIALIZED;
  }
  c->started = c->resuming = c->options.resume;
  if (!open_signals(c) || !egd_output_open(c) || !egd_input_open(c)) return false;
  egd_upstream_start(c->options.upstream, c->reactor);
  if (c->options.resume && !egd_pmi_load(c)) {
    egd_log("%s/pmi.json is missing or damaged; the job cannot be resumed", c->job_dir);
    return false;
  }
  c->listener = egd_unix_listen(c->job_dir, "control.sock");
  if (c->listener < 0 || egd_reactor_add(c->reactor, c->listener, EPOLLIN, on_connection, c) != EGD_OK) {
    egd_log("cannot listen on %s/control.sock: %s", c->job_dir, strerror(errno));
    return false;
  }
  if (c->options.cluster) return egd_cluster_open(c);
  for (uint32_t n = 0; n < c->nnodes; n++)
    if (!egd_controller_start_agent(c, &c->nodes[n], false)) return false;
  return true;
}

static void tear_down(struct egd_controller *c) {
  for (uint32_t n = 0; n < c->nnodes; n++) {
    char path[PATH_MAX];
    if (c->nodes && c->nodes[n].agent_pid > 0) kill(c->nodes[n].agent_pid, c->options.cluster ? SIGTERM : SIGKILL);
    if (c->nodes) json_decref(c->nodes[n].watchdogs);
    snprintf(path, sizeof(path), "%s/node-%u", c->job_dir, n);
    egd_remove_tree(path);
  }
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/control.sock", c->job_dir);
  unlink(path);
  for (uint32_t r = 0; c->ranks && r < c->nranks; r++) free(c->ranks[r].barriers);
  if (c->positions) egd_output_close(c);
  if (c->reactor) egd_upstream_stop(c->options.upstream);
  egd_reactor_destroy(c->reactor);
  json_decref(c->kvs);
  free(c->ranks);
  free(c->nodes);
}

// What agents said just before they ended.
static void read_last_words(struct egd_controller *c) {
  for (int i = 0; i < 64 && c->clients; i++) egd_reactor_once(c->reactor, 0);
}

int egd_controller_run(const struct egd_controller_options *options) {
  struct egd_controller c = {.options = *options,
                             .store = options->store,
                             .job_dir = options->job_dir,
                             .nranks = options->nranks,
                             .nnodes = options->nodes + options->spares,
                             .move_to = options->nodes + options->spares,
                             .listener = -1,
                             .tcp_listener = -1,
                             .signal_fd = -1,
                             .stdin_fd = -1,
                             .exit_code = 1,
                             .outcome = EGD_STORE_FAILED};
  c.ranks = calloc(c.nranks, sizeof(*c.ranks));
  c.nodes = calloc(c.nnodes, sizeof(*c.nodes));
  c.kvs = json_object();
  if (set_up(&c)) {
    on_tick(&c);
    if (egd_reactor_run(c.reactor) != EGD_OK) egd_log("the event loop failed: %s", strerror(errno));
    read_last_words(&c);
    egd_output_flush(&c);
  } else {
    snprintf(c.verdict, sizeof(c.verdict), "%s", "");
  }
  if (c.output_lost && c.exit_code == 0) {
    c.exit_code = 1;
    snprintf(c.verdict, sizeof(c.verdict), "all ranks ended well, but output was lost (see above)");
  }
  if (c.verdict[0]) egd_log("%s", c.verdict);
  egd_store_job_end(c.store, c.options.job_id, c.outcome, c.exit_code, c.verdict[0] ? c.verdict : NULL, 0);
  tear_down(&c);
  return c.exit_code;
}
