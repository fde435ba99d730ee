// Shared by the files of the controller.
#ifndef EGIDA_RESTARTD_CONTROLLER_PRIVATE_H
#define EGIDA_RESTARTD_CONTROLLER_PRIVATE_H

#include <jansson.h>
#include "common/link.h"
#include "common/proof.h"
#include "common/reactor.h"
#include "common/segment.h"
#include "common/tcp.h"
#include "restartd/controller.h"
#include "restartd/recovery_times.h"
#include "restartd/store.h"

struct egd_controller;

enum rank_phase {
  RANK_TO_START,   // from the program, as soon as all nodes follow the view
  RANK_TO_RESTART, // from an image, on its node
  RANK_TO_ADOPT,   // from an image, on a node that must first collect its determinants
  RANK_UP,         // told to run
  RANK_FINISHED,   // exit(0)
};

struct text {
  char *bytes;
  size_t length, size;
};

struct rank {
  uint32_t number, home, from_node;
  enum rank_phase phase;
  uint32_t incarnation;
  int pid;
  uint32_t notes, image, restarts;
  bool placed;       // a cluster's node said that it has it
  bool durable_seen; // this start-up's first image was reported
  struct {
    int signal; // 0: none yet
    json_int_t determinants, polls, sends;
  } crash;
  // output
  uint64_t received; // output below this was taken
  uint64_t acked;
  struct text lines[2]; // begun lines of streams 1 and 2
  uint64_t line_ns;     // when the older of them was begun
  // recovery in progress
  bool recovering, announced;
  struct egd_recovery_times times;
  int64_t failure;
  json_int_t replay_bytes;
  // PMI
  uint32_t *barriers; // number of the newest image begun when the rank entered its i-th barrier
  uint32_t nbarriers, barriers_size;
  bool in_barrier;
};

struct node {
  uint32_t number, incarnation;
  bool alive, greeted, spare;
  bool retired;  // emptied on request: no spare any more
  int agent_pid; // 0: none
  char address[64];
  struct egd_link *link;
  uint64_t acked_epoch, safe_epoch;
  uint32_t anew_done; // birth
  bool ended;
  // of a cluster
  char host[64];
  uint64_t heard_ns, start_ns; // CLOCK_BOOTTIME: its last heartbeat; when an agent may be started there again
  json_t *watchdogs;           // ranks that were there when its agent came
};

struct client { // of the control socket
  struct egd_controller *controller;
  struct egd_link *link;
  struct node *node; // an agent; NULL: unknown or the command line
  bool by_tcp, refused;
  uint64_t since_ns; // by_tcp: CLOCK_BOOTTIME
  char nonce[EGD_PROOF_TEXT];
  uint32_t *wanted; // command line: it waits for these images
  bool moves;       // and then the ranks of node `from` go to `to` (nnodes: to any)
  uint32_t from, to;
  struct client *next;
};

struct egd_injection {
  enum { INJECT_POINT, INJECT_KILL, INJECT_WATCHDOG, INJECT_NODE, INJECT_AGENT, INJECT_RANDOM } kind;
  uint32_t target;
  uint64_t delay_ns; // times; RANDOM: the mean
  uint32_t point;    // enum egd_fault_point
  uint64_t count;
  uint64_t seed;
  bool pending; // a POINT that did not fire yet
  struct egd_controller *controller;
  struct egd_injection *next;
};

struct egd_controller {
  struct egd_controller_options options;
  struct egd_reactor *reactor;
  struct egd_store *store;
  const char *job_dir;
  uint32_t nranks, nnodes;
  struct rank *ranks;
  struct node *nodes;
  struct client *clients;
  int listener, signal_fd;
  uint64_t epoch;
  uint32_t move_to; // where lost ranks go on request; nnodes: by the rule
  uint32_t birth;
  bool started, anew, anew_sent, launched;
  bool resuming; // not all ranks are restored yet
  uint64_t launched_ns;
  // nodes of a cluster; CLOCK_BOOTTIME
  unsigned char secret[EGD_PROOF_SECRET];
  char address[EGD_TCP_ADDRESS];
  int tcp_listener;
  bool refused_once;
  uint64_t cluster_ns, tick_ns, leases_end_ns, lease_timer;
  // end
  bool ending;
  int exit_code;
  enum egd_store_outcome outcome;
  char verdict[512];
  uint64_t end_ns;
  // output
  uint64_t *positions; // job_dir/output.pos, mapped: written output per rank, outlives the launcher
  bool stdout_gone, output_lost, interrupted;
  uint64_t flush_timer;
  // stdin
  int stdin_fd;
  // PMI
  json_t *kvs;
  uint32_t barrier_generation;
};

// controller.c
/// The job ends with `exit_code`; the first call counts. `verdict` (printf) is one line for the user, "" = none.
void egd_controller_finish(struct egd_controller *c, enum egd_store_outcome outcome, int exit_code, const char *verdict,
                           ...) __attribute__((format(printf, 4, 5)));
/// The job is to end soon (signal `number` of the batch system): images of the last state, then the end.
void egd_controller_suspend(struct egd_controller *c, int number);
/// Do what can be done now: start, restart, adopt ranks; begin the job.
void egd_controller_advance(struct egd_controller *c);
/// Start-up was lost: all ranks begin anew.
void egd_controller_begin_anew(struct egd_controller *c);
bool egd_controller_protects(const struct egd_controller *c);
/// A new connection; takes over the descriptor.
void egd_controller_add_client(struct egd_controller *c, int connection, bool by_tcp);
/// Close it and forget it.
void egd_controller_drop_client(struct client *client);

// controller_requests.c
/// A request of the command line (docs/formats/control.md).
void egd_controller_request(struct egd_controller *c, struct client *client, const char *op, json_t *message);
/// An image became durable: who waited for it?
void egd_controller_answer_requests(struct egd_controller *c);

// controller_cluster.c
/// Listen for agents, start those of spares, look for silent nodes.
bool egd_cluster_open(struct egd_controller *c);
void egd_cluster_connected(struct egd_controller *c, struct client *client);
/// May this agent speak for the node? If so the node is alive and has its ranks.
bool egd_cluster_hello(struct egd_controller *c, struct client *client, json_t *hello, struct node *node,
                       uint32_t incarnation);
/// Every rank has a node; otherwise the job ends.
bool egd_cluster_has_all_ranks(struct egd_controller *c);
void egd_cluster_beat(struct egd_controller *c, struct node *node, json_t *message);
/// The node is given up: tell it, and remember how long its lease may last.
void egd_cluster_fence(struct egd_controller *c, struct node *node, uint32_t incarnation);
/// Nobody can act any more for ranks that were lost; otherwise egd_controller_advance() is called when it is so.
bool egd_cluster_leases_ended(struct egd_controller *c);
/// "node n3" or "node 3", for messages; valid until the next but one call.
const char *egd_controller_node_name(const struct egd_controller *c, uint32_t node);

// controller_ranks.c: what agents report of ranks
void egd_controller_rank_message(struct egd_controller *c, struct node *node, const char *op, json_t *message);
/// The rank is gone with its node.
void egd_controller_rank_lost(struct egd_controller *c, struct rank *rank, uint32_t new_home, int64_t failure);
/// Determinants have all their copies again: recoveries from lost nodes are complete.
void egd_controller_look_safe(struct egd_controller *c);
void egd_controller_complete_if_done(struct egd_controller *c);

// controller_nodes.c
bool egd_controller_start_agent(struct egd_controller *c, struct node *node, bool adopt);
void egd_controller_send(struct egd_controller *c, uint32_t node, json_t *message); // steals
void egd_controller_send_all(struct egd_controller *c, json_t *message);            // steals
void egd_controller_send_view(struct egd_controller *c);
/// To an agent that comes to a running job, before the view that all get.
void egd_controller_send_first_view(struct egd_controller *c, struct node *node);
bool egd_controller_view_is_followed(const struct egd_controller *c);
/// The agent's process is gone: another one takes over, or the node is lost.
void egd_controller_agent_gone(struct egd_controller *c, struct node *node);
void egd_controller_node_lost(struct egd_controller *c, struct node *node, const char *why, bool injected);
/// The ranks of a node go to node `to` (nnodes: where the rule says); the node is not used any more.
void egd_controller_empty_node(struct egd_controller *c, struct node *node, uint32_t to);
/// Play the loss of a node: its processes and its folder vanish.
void egd_controller_kill_node(struct egd_controller *c, struct node *node);

// controller_output.c
bool egd_output_open(struct egd_controller *c);
void egd_output_take(struct egd_controller *c, struct node *node, const unsigned char *frame, size_t length);
/// Write begun lines too.
void egd_output_flush(struct egd_controller *c);
void egd_output_begin_anew(struct egd_controller *c);
void egd_output_close(struct egd_controller *c);
/// Copy standard input to job_dir/stdin, now or as it comes; job_dir/stdin.eof marks its end.
bool egd_input_open(struct egd_controller *c);

// controller_pmi.c
void egd_pmi_message(struct egd_controller *c, struct node *node, struct rank *rank, json_t *message);
/// The rank continues from `image` (-1 = from the program): barriers that it entered after that are forgotten.
void egd_pmi_rank_started(struct egd_controller *c, struct rank *rank, int64_t image);
void egd_pmi_begin_anew(struct egd_controller *c);
bool egd_pmi_load(struct egd_controller *c);

// controller_inject.c
void egd_injections_start(struct egd_controller *c);
/// Send the rank's next point to its agent; call before it runs.
void egd_injections_arm(struct egd_controller *c, struct rank *rank);
/// The armed point fired.
void egd_injections_fired(struct egd_controller *c, struct rank *rank);

#endif
