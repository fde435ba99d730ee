#include "restartd/upstream.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/config.h"
#include "common/link.h"
#include "common/log.h"
#include "common/reactor.h"
#include "common/status.h"
#include "restartd/journal.h"
#include "restartd/store.h"
#include "restartd/upstream_connect.h"

#define ANSWER_MAX (64u << 10)
#define PART_BYTES (64u << 10)
#define WINDOW_BYTES (1u << 20) // what may be on its way unconfirmed
#define GATHER_NS 20000000ull   // facts that come within go together
#define RETRY_MIN_NS 250000000ull
#define RETRY_MAX_NS 10000000000ull
#define SILENCE_NS 30000000000ull // no acknowledgement for so long: the connection is of no use
#define LOST_MAX 32

struct lost_node {
  uint32_t slurm_job;
  char *name;
};

// One journal on its way. A shipment of what an earlier job left belongs to the one of the living job.
struct egd_upstream {
  const struct egd_config *config;
  struct egd_store *store;
  char *dir;
  struct egd_journal *journal;
  struct egd_reactor *reactor; // NULL: stopped
  int connecting;              // descriptor, -1: not
  struct egd_link *link;
  uint64_t timer, retry_ns;
  uint64_t sent, heard_ns; // newest sequence number given to the link; last word of the service
  size_t in_flight;        // bytes in it, counted from the last acknowledgement of all
  bool given_up, said_unreachable, failed;
  struct lost_node lost[LOST_MAX];
  unsigned nlost;
  struct egd_upstream *owner, *left; // left: an earlier job's, NULL: none now
  uint64_t left_timer;
  char **names; // earlier jobs whose journals were found
  unsigned nnames;
};

static void attempt(void *arg);
static void ship(void *arg);
static void next_left(void *arg);

static void plan(struct egd_upstream *upstream, uint64_t delay_ns, void (*fn)(void *arg)) {
  egd_reactor_cancel(upstream->reactor, upstream->timer);
  upstream->timer = egd_reactor_after(upstream->reactor, delay_ns, fn, upstream);
}

static void plan_left(struct egd_upstream *upstream) {
  egd_reactor_cancel(upstream->reactor, upstream->left_timer);
  upstream->left_timer = egd_reactor_after(upstream->reactor, 0, next_left, upstream);
}

// ---- one connection -----------------------------------------------------------------------------------------------------

static void disconnect(struct egd_upstream *upstream) {
  if (upstream->connecting >= 0) {
    egd_reactor_remove(upstream->reactor, upstream->connecting);
    close(upstream->connecting);
    upstream->connecting = -1;
  }
  egd_link_destroy(upstream->link);
  upstream->link = NULL;
}

static void try_later(struct egd_upstream *upstream) {
  disconnect(upstream);
  upstream->failed = true;
  if (upstream->owner) { // the living job's connection tells when it is worth another try
    plan_left(upstream->owner);
    return;
  }
  plan(upstream, upstream->retry_ns, attempt);
  upstream->retry_ns = 2 * upstream->retry_ns < RETRY_MAX_NS ? 2 * upstream->retry_ns : RETRY_MAX_NS;
}

static void give_up(struct egd_upstream *upstream, const char *why) {
  egd_log("the cluster's service %s does not take the history of job %s: %s", upstream->config->control_service,
          egd_journal_job(upstream->journal), why);
  upstream->given_up = true;
  try_later(upstream);
  egd_reactor_cancel(upstream->reactor, upstream->timer);
}

static void tell_lost(struct egd_upstream *upstream) {
  for (unsigned i = 0; i < upstream->nlost; i++)
    egd_link_send(upstream->link, json_pack("{ss si ss}", "op", "node-lost", "slurm_job", upstream->lost[i].slurm_job,
                                            "node", upstream->lost[i].name));
}

static void on_lost_answer(struct egd_upstream *upstream, const json_t *message) {
  const char *node = json_string_value(json_object_get(message, "node"));
  const char *why = json_string_value(json_object_get(message, "why"));
  json_int_t slurm_job = json_integer_value(json_object_get(message, "slurm_job"));
  for (unsigned i = 0; node && i < upstream->nlost; i++) {
    struct lost_node *lost = &upstream->lost[i];
    if (lost->slurm_job != slurm_job || strcmp(lost->name, node) != 0) continue;
    egd_verbose("the cluster's service on lost node %s: %s", node, why ? why : "?");
    free(lost->name);
    *lost = upstream->lost[--upstream->nlost];
    return;
  }
}

static void on_ack(struct egd_upstream *upstream, const json_t *message) {
  json_int_t seq = json_integer_value(json_object_get(message, "seq"));
  if (seq <= 0) return;
  egd_journal_acknowledge(upstream->journal, (uint64_t)seq);
  if ((uint64_t)seq >= upstream->sent) upstream->in_flight = 0;
  ship(upstream);
}

static void on_json(void *arg, struct egd_link *link, json_t *message) {
  struct egd_upstream *upstream = arg;
  const char *op = json_string_value(json_object_get(message, "op"));
  upstream->heard_ns = egd_monotonic_ns();
  if (!op) return;
  if (strcmp(op, "ack") == 0) on_ack(upstream, message);
  if (strcmp(op, "node-lost") == 0) on_lost_answer(upstream, message);
  if (strcmp(op, "refused") == 0) {
    const char *why = json_string_value(json_object_get(message, "why"));
    if (json_is_true(json_object_get(message, "retry")))
      try_later(upstream);
    else
      give_up(upstream, why ? why : "it does not say why");
  }
}

static void on_closed(void *arg, struct egd_link *link) {
  try_later(arg);
}

// Send while the window allows; acknowledgements go on with it.
static void ship(void *arg) {
  struct egd_upstream *upstream = arg;
  if (!upstream->link) return;
  egd_reactor_cancel(upstream->reactor, upstream->timer);
  upstream->timer = 0;
  if (upstream->in_flight > 0 && egd_monotonic_ns() - upstream->heard_ns > SILENCE_NS) {
    try_later(upstream);
    return;
  }
  const unsigned char *data;
  size_t length;
  while (upstream->in_flight < WINDOW_BYTES &&
         (length = egd_journal_read(upstream->journal, PART_BYTES, &data, &upstream->sent)) > 0) {
    if (upstream->in_flight == 0) upstream->heard_ns = egd_monotonic_ns();
    upstream->in_flight += length;
    egd_link_send_binary(upstream->link, NULL, 0, data, length);
  }
  if (upstream->in_flight > 0)
    plan(upstream, SILENCE_NS, ship);
  else if (upstream->owner && egd_journal_is_confirmed(upstream->journal))
    plan_left(upstream->owner);
}

static void on_append(void *arg) {
  struct egd_upstream *upstream = arg;
  if (upstream->link && upstream->in_flight == 0 && !upstream->timer) plan(upstream, GATHER_NS, ship);
}

// ---- connecting ---------------------------------------------------------------------------------------------------------

static void on_connected(void *arg, int fd, uint32_t events) {
  static const struct egd_link_handlers handlers = {.json = on_json, .closed = on_closed};
  struct egd_upstream *upstream = arg;
  struct egd_connect_result result;
  int connection;
  egd_reactor_remove(upstream->reactor, fd);
  egd_connect_end(fd, &result, &connection);
  upstream->connecting = -1;
  if (!result.connected) {
    if (!result.retry) return give_up(upstream, result.why);
    if (!upstream->said_unreachable)
      egd_verbose("the cluster's service %s is not reached: %s; the job goes on, its history is kept",
                  upstream->config->control_service, result.why);
    upstream->said_unreachable = true;
    return try_later(upstream);
  }
  if (!egd_journal_rewind(upstream->journal, result.acknowledged)) {
    close(connection);
    return give_up(upstream, "it has newer facts of this job than this host; see whether the clocks are right");
  }
  if (egd_link_create(upstream->reactor, connection, ANSWER_MAX, &handlers, upstream, &upstream->link) != EGD_OK) {
    close(connection);
    return try_later(upstream);
  }
  egd_verbose("the cluster's service has the history of job %s up to %llu", egd_journal_job(upstream->journal),
              (unsigned long long)result.acknowledged);
  upstream->retry_ns = RETRY_MIN_NS;
  upstream->said_unreachable = upstream->failed = false;
  upstream->in_flight = 0;
  egd_journal_acknowledge(upstream->journal, result.acknowledged);
  tell_lost(upstream);
  ship(upstream);
  if (!upstream->owner && !upstream->left) plan_left(upstream);
}

static void attempt(void *arg) {
  struct egd_upstream *upstream = arg;
  upstream->timer = 0;
  upstream->connecting = egd_connect_begin(upstream->config, egd_journal_job(upstream->journal));
  if (upstream->connecting < 0 ||
      egd_reactor_add(upstream->reactor, upstream->connecting, EPOLLIN, on_connected, upstream) != EGD_OK)
    try_later(upstream);
}

// ---- what earlier jobs left -------------------------------------------------------------------------------------------

static void find_left(struct egd_upstream *upstream) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/journal", upstream->dir);
  DIR *folder = opendir(path);
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    if (entry->d_name[0] == '.' || strcmp(entry->d_name, egd_journal_job(upstream->journal)) == 0) continue;
    char **larger = reallocarray(upstream->names, upstream->nnames + 1, sizeof *larger);
    if (!larger) break;
    upstream->names = larger;
    larger[upstream->nnames] = strdup(entry->d_name);
    if (larger[upstream->nnames]) upstream->nnames++;
  }
  if (folder) closedir(folder);
}

static void free_left(struct egd_upstream *upstream) {
  struct egd_upstream *left = upstream->left;
  if (!left) return;
  disconnect(left);
  egd_reactor_cancel(upstream->reactor, left->timer);
  egd_journal_close(left->journal);
  free(left);
  upstream->left = NULL;
}

// The one before is through, or failed: the next one.
static void next_left(void *arg) {
  struct egd_upstream *upstream = arg;
  upstream->left_timer = 0;
  if (!upstream->link) return; // tried again when there is a connection
  bool failed = upstream->left && upstream->left->failed && !upstream->left->given_up;
  free_left(upstream);
  while (!failed && upstream->nnames > 0) {
    char *name = upstream->names[--upstream->nnames];
    struct egd_upstream *left = calloc(1, sizeof *left);
    struct egd_journal *journal = left ? egd_journal_open_left(upstream->dir, name) : NULL;
    free(name);
    if (!journal) {
      free(left);
      continue;
    }
    *left = (struct egd_upstream){.config = upstream->config,
                                  .journal = journal,
                                  .reactor = upstream->reactor,
                                  .connecting = -1,
                                  .owner = upstream};
    upstream->left = left;
    attempt(left);
    return;
  }
}

// ---- for the job --------------------------------------------------------------------------------------------------------

struct egd_upstream *egd_upstream_create(const struct egd_config *config, const char *dir, const char *job,
                                         struct egd_store *store) {
  if (!*config->control_service) return NULL;
  struct egd_upstream *upstream = calloc(1, sizeof *upstream);
  char *copy = strdup(dir);
  struct egd_journal *journal = upstream && copy ? egd_journal_open(dir, job) : NULL;
  if (!journal) {
    free(upstream);
    free(copy);
    return NULL;
  }
  *upstream =
      (struct egd_upstream){.config = config, .store = store, .dir = copy, .journal = journal, .connecting = -1};
  find_left(upstream);
  egd_journal_on_append(journal, on_append, upstream);
  egd_store_set_journal(store, journal);
  return upstream;
}

void egd_upstream_start(struct egd_upstream *upstream, struct egd_reactor *reactor) {
  if (!upstream || upstream->reactor) return;
  upstream->reactor = reactor;
  upstream->retry_ns = RETRY_MIN_NS;
  if (!upstream->given_up) attempt(upstream);
}

void egd_upstream_node_lost(struct egd_upstream *upstream, uint32_t slurm_job, const char *node) {
  if (!upstream || upstream->nlost == LOST_MAX || !(upstream->lost[upstream->nlost].name = strdup(node))) return;
  struct lost_node *lost = &upstream->lost[upstream->nlost++];
  lost->slurm_job = slurm_job;
  egd_link_send(upstream->link, json_pack("{ss si ss}", "op", "node-lost", "slurm_job", slurm_job, "node", lost->name));
}

void egd_upstream_stop(struct egd_upstream *upstream) {
  if (!upstream || !upstream->reactor) return;
  free_left(upstream);
  disconnect(upstream);
  egd_reactor_cancel(upstream->reactor, upstream->timer);
  egd_reactor_cancel(upstream->reactor, upstream->left_timer);
  upstream->timer = upstream->left_timer = 0;
  upstream->reactor = NULL;
}

void egd_upstream_finish(struct egd_upstream *upstream, uint64_t timeout_ns) {
  if (!upstream) return;
  struct egd_reactor *reactor = NULL;
  uint64_t end_ns = egd_monotonic_ns() + timeout_ns;
  egd_upstream_stop(upstream);
  upstream->failed = false;
  if (!egd_journal_is_confirmed(upstream->journal) && !upstream->given_up && egd_reactor_create(&reactor) == EGD_OK) {
    egd_upstream_start(upstream, reactor);
    for (uint64_t now_ns;
         (now_ns = egd_monotonic_ns()) < end_ns && !upstream->failed && !egd_journal_is_confirmed(upstream->journal);)
      egd_reactor_once(reactor, end_ns - now_ns);
    egd_upstream_stop(upstream);
    egd_reactor_destroy(reactor);
  }
  if (!egd_journal_is_confirmed(upstream->journal) && !upstream->given_up)
    egd_log("the cluster's service %s was not reached: what it did not get of this job stays in %s/journal, the next "
            "job of this folder sends it",
            upstream->config->control_service, upstream->dir);
  egd_store_set_journal(upstream->store, NULL);
  egd_journal_close(upstream->journal);
  for (unsigned i = 0; i < upstream->nlost; i++) free(upstream->lost[i].name);
  for (unsigned i = 0; i < upstream->nnames; i++) free(upstream->names[i]);
  free(upstream->names);
  free(upstream->dir);
  free(upstream);
}
