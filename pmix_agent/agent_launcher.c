// The agent's stream to its launcher: `egida run` on the same machine, or a steward by TCP, where both prove that they
// know the job's secret and the agent holds a lease: what it may do for the job ends with it, because its ranks may then
// live elsewhere (docs/formats/control.md).
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/log.h"
#include "common/status.h"
#include "pmix_agent/agent.h"
#include "pmix_agent/control.h"

#define CONNECT_NS 5000000000ull

static bool has_steward(const struct agent *agent) {
  return agent->control[0] != 0;
}

// ---- leases -------------------------------------------------------------------------------------------------------------

void agent_extend_lease(struct agent *agent, uint64_t by_ns) {
  if (has_steward(agent)) atomic_store(&agent->seg->lease_until_ns, egd_boottime_ns() + by_ns);
}

static void on_lease(struct agent *agent, json_int_t n) {
  if (n <= 0 || (uint64_t)n > agent->beat || agent->beat - (uint64_t)n >= AGENT_BEATS) return;
  // From when the beat was sent: the steward counts from when it came, which is later.
  uint64_t until_ns = agent->beat_sent_ns[n % AGENT_BEATS] + agent->lease_ns;
  if (until_ns > atomic_load(&agent->seg->lease_until_ns)) atomic_store(&agent->seg->lease_until_ns, until_ns);
}

static void send_beat(struct agent *agent) {
  agent->beat++;
  agent->beat_sent_ns[agent->beat % AGENT_BEATS] = egd_boottime_ns();
  agent_report(agent, json_pack("{ss sI}", "op", "beat", "n", (json_int_t)agent->beat));
}

void agent_look_at_lease(struct agent *agent) {
  if (agent->ending || egd_boottime_ns() < atomic_load(&agent->seg->lease_until_ns)) return;
  agent_ask_requeue(agent);
  agent_fenced(agent, "its lease has ended: the steward was not heard in time");
}

static void on_beat(void *arg) {
  struct agent *agent = arg;
  if (!agent->launcher) return;
  send_beat(agent);
  egd_reactor_after(agent->reactor, agent->beat_ns, on_beat, agent);
}

// The steward leaves a mark before it closes the stream of a node that it gave up. Where the folder cannot be looked at,
// the worst is assumed.
bool agent_is_given_up(const struct agent *agent) {
  char path[PATH_MAX];
  if (access(agent->job_dir, X_OK) != 0) return true;
  snprintf(path, sizeof(path), "%s/" EGD_CONTROL_FENCE, agent->job_dir, agent->node, agent->incarnation);
  return access(path, F_OK) == 0;
}

// ---- the stream -----------------------------------------------------------------------------------------------------------

static void say_hello(struct agent *agent, const char *challenge) {
  char statement[64], proof[EGD_PROOF_TEXT] = "", host[HOST_NAME_MAX + 1] = "";
  json_t *ranks = json_array();
  for (uint32_t r = 0; r < agent->seg->nranks; r++)
    if (agent->ranks[r].here) json_array_append_new(ranks, json_integer(r));
  gethostname(host, sizeof(host) - 1);
  json_t *hello = json_pack("{ss ss si si si sb ss ss so}", "op", "hello", "role", "agent", "node", agent->node, "pid",
                            getpid(), "incarnation", agent->incarnation, "adopt", agent->adopted, "address",
                            egd_mover_address(agent->mover), "host", host, "ranks", ranks);
  if (challenge) {
    snprintf(statement, sizeof(statement), EGD_CONTROL_STATEMENT, agent->node, agent->incarnation);
    snprintf(agent->challenge, sizeof(agent->challenge), "%s", challenge);
    if (!egd_proof_nonce(agent->nonce) ||
        !egd_proof_make(agent->secret, "egida agent", statement, challenge, agent->nonce, proof))
      egd_log("no proof of the job's secret can be made: %s", strerror(errno));
    json_object_set_new(hello, "nonce", json_string(agent->nonce));
    json_object_set_new(hello, "proof", json_string(proof));
    agent->hello_ns = egd_boottime_ns();
  }
  agent_report(agent, hello);
}

static void on_welcome(struct agent *agent, json_t *message) {
  char statement[64];
  snprintf(statement, sizeof(statement), EGD_CONTROL_STATEMENT, agent->node, agent->incarnation);
  if (!egd_proof_check(agent->secret, "egida steward", statement, agent->nonce, agent->challenge,
                       json_string_value(json_object_get(message, "proof")))) {
    egd_log("%s is not the steward of this job (its proof is wrong)", agent->control);
    return;
  }
  agent->beat_ns = (uint64_t)json_integer_value(json_object_get(message, "heartbeat_ns"));
  agent->lease_ns = (uint64_t)json_integer_value(json_object_get(message, "lease_ns"));
  if (agent->beat_ns < 1000000u) agent->beat_ns = 1000000u;
  agent->welcome = true;
  atomic_store(&agent->seg->lease_until_ns, agent->hello_ns + agent->lease_ns);
  on_beat(agent);
}

static void on_json(void *arg, struct egd_link *link, json_t *message) {
  struct agent *agent = arg;
  const char *op = json_string_value(json_object_get(message, "op"));
  if (!op) return;
  if (agent->welcome) {
    if (strcmp(op, "lease") == 0)
      on_lease(agent, json_integer_value(json_object_get(message, "n")));
    else if (strcmp(op, "fenced") == 0)
      agent_fenced(agent, "the steward gave it up");
    else
      agent_command(agent, op, message);
    return;
  }
  const char *nonce = json_string_value(json_object_get(message, "nonce"));
  if (strcmp(op, "challenge") == 0 && nonce && !agent->hello_ns)
    say_hello(agent, nonce);
  else if (strcmp(op, "welcome") == 0 && agent->hello_ns)
    on_welcome(agent, message);
}

static void on_binary(void *arg, struct egd_link *link, const unsigned char *data, size_t length) {
  struct agent *agent = arg;
  struct egd_control_head head;
  if (length != sizeof(head) || !agent->welcome) return;
  memcpy(&head, data, sizeof(head));
  if (head.kind == EGD_CONTROL_ACK && head.rank < agent->seg->nranks) agent_acknowledged(agent, head.rank, head.value);
}

static void on_closed(void *arg, struct egd_link *link) {
  struct agent *agent = arg;
  egd_link_destroy(link);
  agent->launcher = NULL;
  if (agent->ending) return;
  if (has_steward(agent) && (!agent->welcome || agent_is_given_up(agent))) {
    agent_fenced(agent, agent->welcome ? "the steward gave it up" : "the steward refused it");
    return;
  }
  agent_ask_requeue(agent);
  agent_suspend(agent); // the job can be resumed from images of its last state
}

bool agent_connect(struct agent *agent) {
  static const struct egd_link_handlers handlers = {.json = on_json, .binary = on_binary, .closed = on_closed};
  if (!has_steward(agent)) {
    int fd = egd_unix_connect(agent->job_dir, "control.sock");
    if (fd < 0 ||
        egd_link_create(agent->reactor, fd, EGD_CONTROL_MAX_BODY, &handlers, agent, &agent->launcher) != EGD_OK) {
      egd_log("cannot reach the launcher by %s/control.sock: %s", agent->job_dir, strerror(errno));
      return false;
    }
    agent->welcome = true;
    return true;
  }
  int fd = egd_tcp_connect(agent->control, CONNECT_NS);
  if (fd < 0 ||
      egd_link_create(agent->reactor, fd, EGD_CONTROL_MAX_BODY, &handlers, agent, &agent->launcher) != EGD_OK) {
    egd_log("cannot reach the job's steward at %s: %s; may this node connect to the host where srun runs (firewall)?",
            agent->control, strerror(errno));
    return false;
  }
  if (!egd_tcp_own_address(fd, agent->listen)) agent->listen[0] = 0;
  return true;
}

void agent_greet(struct agent *agent) {
  if (!has_steward(agent)) say_hello(agent, NULL); // a steward's challenge comes first
}
