// Real nodes: agents come by TCP, prove that they know the job's secret, send heartbeats and get leases. A node that was
// not heard for the limit is lost; its ranks run elsewhere once its last lease has surely ended
// (docs/formats/control.md; leases: Gray and Cheriton 1989).
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/log.h"
#include "common/proof.h"
#include "common/securepath.h"
#include "common/status.h"
#include "common/tcp.h"
#include "pmix_agent/control.h"
#include "restartd/controller_private.h"
#include "restartd/upstream.h"

#define START_NS 90000000000ull      // for all agents of the step
#define LEASE_LIMITS 3u              // a lease lasts so many limits: the controller may be late without harm
#define MARGIN_NS 100000000ull       // watchdogs look at the lease now and then
#define STRANGERS_MOST 64u           // connections without a proof
#define STRANGER_NS 10000000000ull   // and how long they may stay
#define START_AGAIN_NS 5000000000ull // between attempts to start an agent on a node without one

static uint64_t lease_ns(const struct egd_controller *c) {
  return LEASE_LIMITS * c->options.cluster->limit_ns;
}

const char *egd_controller_node_name(const struct egd_controller *c, uint32_t node) {
  static char text[2][96]; // two in one message
  static unsigned turn;
  char *name = text[turn++ % 2];
  if (c->nodes[node].host[0])
    snprintf(name, sizeof(text[0]), "node %s", c->nodes[node].host);
  else
    snprintf(name, sizeof(text[0]), "node %u", node);
  return name;
}

// ---- who comes -----------------------------------------------------------------------------------------------------------

static void refuse(struct client *client) {
  egd_link_send(client->link, json_pack("{ss}", "op", "fenced"));
  client->refused = true; // its end is seen by the stream
}

static bool proves(struct egd_controller *c, struct client *client, json_t *hello, uint32_t node,
                   uint32_t incarnation) {
  char statement[64], proof[EGD_PROOF_TEXT];
  const char *nonce = json_string_value(json_object_get(hello, "nonce"));
  snprintf(statement, sizeof(statement), EGD_CONTROL_STATEMENT, node, incarnation);
  if (!egd_proof_check(c->secret, "egida agent", statement, client->nonce, nonce,
                       json_string_value(json_object_get(hello, "proof"))) ||
      !egd_proof_make(c->secret, "egida steward", statement, nonce, client->nonce, proof)) {
    if (!c->refused_once)
      egd_log("a connection that does not know the job's secret was refused (others will not be told)");
    c->refused_once = true;
    return false;
  }
  egd_link_send(client->link,
                json_pack("{ss ss sI sI}", "op", "welcome", "proof", proof, "heartbeat_ns",
                          (json_int_t)c->options.cluster->heartbeat_ns, "lease_ns", (json_int_t)lease_ns(c)));
  return true;
}

// The batch system decides which node has which ranks.
static bool take_ranks(struct egd_controller *c, struct node *node, json_t *ranks) {
  size_t i;
  json_t *entry;
  json_array_foreach(ranks, i, entry) {
    json_int_t r = json_integer_value(entry);
    if (r < 0 || r >= c->nranks || c->ranks[r].placed) {
      egd_controller_finish(c, EGD_STORE_FAILED, 1,
                            "%s says that it has rank %lld, which is not so; start the job anew",
                            egd_controller_node_name(c, node->number), (long long)r);
      return false;
    }
    c->ranks[r].home = node->number;
    c->ranks[r].placed = true;
  }
  return true;
}

bool egd_cluster_hello(struct egd_controller *c, struct client *client, json_t *hello, struct node *node,
                       uint32_t incarnation) {
  if (!proves(c, client, hello, node->number, incarnation)) {
    refuse(client);
    return false;
  }
  bool adopts = json_is_true(json_object_get(hello, "adopt"));
  if (adopts && node->alive && incarnation == node->incarnation + 1) {
    egd_log("the agent of %s is gone; its ranks run on, a new agent takes over",
            egd_controller_node_name(c, node->number));
    egd_store_event(c->store, c->options.job_id, "agent-lost", -1, (int)node->number, "a new agent takes over", NULL);
    node->incarnation = incarnation;
    if (node->link) egd_link_destroy(node->link);
  } else if (adopts || incarnation != node->incarnation || (node->alive && node->greeted)) {
    refuse(client);
    return false;
  }
  const char *host = json_string_value(json_object_get(hello, "host"));
  snprintf(node->host, sizeof(node->host), "%s", host ? host : "");
  if (!adopts && c->epoch == 0 && !node->spare && !take_ranks(c, node, json_object_get(hello, "ranks"))) return false;
  json_decref(node->watchdogs);
  node->watchdogs = json_incref(json_object_get(hello, "ranks"));
  egd_link_set_max_body(client->link, EGD_CONTROL_MAX_BODY);
  node->alive = true;
  node->heard_ns = egd_boottime_ns();
  return true;
}

bool egd_cluster_has_all_ranks(struct egd_controller *c) {
  for (uint32_t r = 0; r < c->nranks; r++) {
    if (c->ranks[r].placed) continue;
    egd_controller_finish(c, EGD_STORE_FAILED, 1, "no node of the step has rank %u of %u; start the job anew", r,
                          c->nranks);
    return false;
  }
  return true;
}

void egd_cluster_beat(struct egd_controller *c, struct node *node, json_t *message) {
  node->heard_ns = egd_boottime_ns();
  egd_link_send(node->link,
                json_pack("{ss sI}", "op", "lease", "n", json_integer_value(json_object_get(message, "n"))));
}

void egd_cluster_connected(struct egd_controller *c, struct client *client) {
  client->since_ns = egd_boottime_ns();
  if (!egd_proof_nonce(client->nonce)) egd_log("the system gives no random bytes: %s", strerror(errno));
  egd_link_send(client->link, json_pack("{ss ss}", "op", "challenge", "nonce", client->nonce));
}

static void on_connection(void *arg, int fd, uint32_t events) {
  struct egd_controller *c = arg;
  int connection = egd_tcp_accept(fd);
  if (connection < 0) return;
  unsigned strangers = 0;
  for (struct client *client = c->clients; client; client = client->next) strangers += client->by_tcp && !client->node;
  if (strangers >= STRANGERS_MOST + c->nnodes)
    close(connection);
  else
    egd_controller_add_client(c, connection, true);
}

// ---- fences ----------------------------------------------------------------------------------------------------------------

void egd_cluster_fence(struct egd_controller *c, struct node *node, uint32_t incarnation) {
  char path[PATH_MAX], name[64];
  snprintf(path, sizeof(path), "%s/fence", c->job_dir);
  snprintf(name, sizeof(name), EGD_CONTROL_FENCE, node->number, incarnation);
  if (egd_secure_mkdir(path) != EGD_OK || egd_secure_write(path, strchr(name, '/') + 1, "", 0, false) != EGD_OK)
    egd_log("cannot write %s/%s: %s", c->job_dir, name, strerror(errno));
  egd_link_send(node->link, json_pack("{ss}", "op", "fenced"));
  if (node->link) egd_link_destroy(node->link);
  node->link = NULL;
  if (!node->retired) egd_upstream_node_lost(c->options.upstream, c->options.cluster->batch_job, node->host);
  node->start_ns = egd_boottime_ns() + START_AGAIN_NS;
  uint64_t free_ns = node->heard_ns + lease_ns(c) + MARGIN_NS;
  if (free_ns > c->leases_end_ns) c->leases_end_ns = free_ns;
}

static void on_leases_end(void *arg) {
  struct egd_controller *c = arg;
  c->lease_timer = 0;
  egd_controller_advance(c);
}

bool egd_cluster_leases_ended(struct egd_controller *c) {
  uint64_t now_ns = egd_boottime_ns();
  if (now_ns >= c->leases_end_ns) return true;
  if (!c->lease_timer)
    c->lease_timer = egd_reactor_after(c->reactor, c->leases_end_ns - now_ns + 1000000u, on_leases_end, c);
  return false;
}

// ---- who is silent ---------------------------------------------------------------------------------------------------------

static void look_at_node(struct egd_controller *c, struct node *node, uint64_t now_ns) {
  char why[96];
  if (!node->alive || !node->greeted) return;
  uint64_t silence_ns = now_ns > node->heard_ns ? now_ns - node->heard_ns : 0;
  if (node->link) {
    // A node that stood still for less than the limit is alive; its last beat came up to a heartbeat before that.
    if (silence_ns <= c->options.cluster->limit_ns + c->options.cluster->heartbeat_ns) return;
    snprintf(why, sizeof(why), "no heartbeat for %.2f s", (double)silence_ns / 1e9);
  } else {
    // Its agent is dead, perhaps not the node: while the lease lasts nothing can be done anyway, so another may come.
    if (silence_ns <= lease_ns(c)) return;
    snprintf(why, sizeof(why), "its agent closed the connection and no other came");
  }
  egd_controller_node_lost(c, node, why, false);
}

static void look_at_start(struct egd_controller *c, uint64_t now_ns) {
  if (c->epoch > 0 || now_ns < c->cluster_ns + START_NS) return;
  char missing[200] = "";
  for (uint32_t n = 0; n < c->options.nodes && strlen(missing) < sizeof(missing) - 16; n++)
    if (!c->nodes[n].greeted) sprintf(missing + strlen(missing), "%s%u", missing[0] ? ", " : "", n);
  egd_controller_finish(c, EGD_STORE_FAILED, 1,
                        "no agent came within %u s from node(s) %s of the step; can they connect to %s, and is %s on a "
                        "file system that they share?",
                        (unsigned)(START_NS / 1000000000u), missing, c->address, c->job_dir);
}

// Spares at the start, and nodes that were lost and may have come back.
static void start_agents(struct egd_controller *c, uint64_t now_ns) {
  for (uint32_t n = 0; n < c->nnodes; n++) {
    struct node *node = &c->nodes[n];
    const char *host = node->spare ? c->options.cluster->spare_hosts[n - c->options.nodes] : node->host;
    if (node->alive || node->retired || node->agent_pid > 0 || now_ns < node->start_ns || !*host) continue;
    node->start_ns = now_ns + START_AGAIN_NS;
    int pid = c->options.cluster->start_agent(c->options.cluster->arg, n, host, node->incarnation);
    node->agent_pid = pid > 0 ? pid : 0;
  }
}

static void drop_strangers(struct egd_controller *c, uint64_t now_ns) {
  for (struct client *client = c->clients, *next; client; client = next) {
    next = client->next;
    if (client->by_tcp && !client->node && now_ns > client->since_ns + STRANGER_NS) egd_controller_drop_client(client);
  }
}

static void on_tick(void *arg) {
  struct egd_controller *c = arg;
  uint64_t now_ns = egd_boottime_ns(), period_ns = c->options.cluster->heartbeat_ns / 2;
  if (c->ending) return;
  // While this process stood still it heard nobody.
  uint64_t late_ns = c->tick_ns && now_ns > c->tick_ns + period_ns ? now_ns - c->tick_ns - period_ns : 0;
  c->tick_ns = now_ns;
  for (uint32_t n = 0; n < c->nnodes; n++) {
    if (late_ns > period_ns) c->nodes[n].heard_ns += late_ns;
    look_at_node(c, &c->nodes[n], now_ns);
  }
  if (!c->ending) {
    look_at_start(c, now_ns);
    drop_strangers(c, now_ns);
    start_agents(c, now_ns);
  }
  egd_reactor_after(c->reactor, period_ns, on_tick, c);
}

bool egd_cluster_open(struct egd_controller *c) {
  char path[PATH_MAX], *secret;
  size_t length;
  snprintf(path, sizeof(path), "%s/secret", c->job_dir);
  if (egd_secure_read(path, 4096, &secret, &length) != EGD_OK) {
    egd_log("cannot read %s: %s", path, strerror(errno));
    return false;
  }
  bool good = length == sizeof(c->secret);
  if (good) memcpy(c->secret, secret, sizeof(c->secret));
  free(secret);
  int fd = good ? egd_tcp_listen(c->options.cluster->listen, c->address) : -1;
  if (fd < 0 || egd_reactor_add(c->reactor, fd, EPOLLIN, on_connection, c) != EGD_OK) {
    egd_log("cannot listen on %s for the nodes' agents: %s", c->options.cluster->listen,
            good ? strerror(errno) : "the job's secret is damaged");
    if (fd >= 0) close(fd);
    return false;
  }
  c->tcp_listener = fd;
  c->cluster_ns = egd_boottime_ns();
  for (uint32_t n = 0; n < c->options.nodes; n++) c->nodes[n].alive = true;
  c->options.cluster->listening(c->options.cluster->arg, c->address);
  on_tick(c);
  return true;
}
