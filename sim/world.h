// Shared by sim/*.c only: the virtual world.
#ifndef EGIDA_SIM_WORLD_H
#define EGIDA_SIM_WORLD_H

#include <setjmp.h>
#include "protocol/engine.h"
#include "protocol/gate.h"
#include "sim/sim.h"

#define NOBODY UINT32_MAX
#define DISK_NODE (UINT32_MAX - 1)

// Numbers with positions from `base` on; those before are freed.
struct sim_list {
  uint64_t base, head;
  uint64_t *items;
  size_t size;
};

// Bytes with positions from `base` on.
struct sim_bytes {
  uint64_t base, head;
  unsigned char *data;
  size_t size;
};

// One copy of channel from -> to: the sender's log, or a mirror of it on the receiver's node.
struct sim_channel {
  struct sim_list records;
  uint64_t bound; // log: what its receiver's oldest image covers, as told by the receiver's node
  uint64_t told;  // mirror: bound as last told
  // log with a remote receiver: what leaves the node
  bool subscribed, news_said;
  uint64_t epoch, next, cleared, pending, pending_cut;
  // mirror
  bool asked;
  uint64_t asked_epoch;
};

// What a node's memory holds of one rank: all of it at the rank's home, mirrors of its channels elsewhere.
struct sim_slice {
  struct sim_channel **channels; // [nranks] to
  struct sim_bytes determinants;
  struct sim_list output;
  uint64_t polls, tail, newest, stable, polls_stable; // of the control block
  uint64_t output_taken;
  uint64_t pending_output, pending_output_cut;
  uint64_t *bounds, *newest_bounds; // [nranks] from
  uint32_t image_started, image_durable, image_older;
};

struct sim_replica {
  bool known;
  uint64_t tail, newest, polls;
  struct sim_bytes bytes;
};

// The program's state; part of the image.
struct sim_app {
  uint64_t hash, tick, steps, acts;
  uint32_t awaited;  // replies
  uint32_t children; // that said farewell
  uint32_t phase;    // enum sim_phase
  bool told_parent, dismissed, finished;
};
enum sim_phase { PHASE_FREE, PHASE_ACT, PHASE_LAST_ACT };

struct sim_peer_count {
  uint32_t peer;
  uint64_t sent, received;
};
struct sim_snapshot {
  uint32_t to;
  struct sim_list records;
};

struct sim_image {
  uint32_t number;
  bool whole, published;
  struct egd_state counts;
  struct sim_app app;
  struct sim_peer_count *peers;
  uint32_t npeers;
  struct sim_snapshot *logs;
  uint32_t nlogs;
  struct sim_list output;
};
#define SIM_IMAGES 4u

enum sim_rank_phase { RANK_DEAD, RANK_REPLAYING, RANK_LIVE };

struct sim_rank {
  enum sim_rank_phase phase;
  uint32_t self, home;
  bool adopting;  // its determinants are being collected at its new home
  bool elsewhere; // its home has nothing of it yet: the image brings the log
  struct egd_engine engine;
  struct egd_state *state;
  struct sim_app app;
  bool in_poll;
  uint32_t admitted, next_ready;
  uint32_t image_wanted;
  struct sim_image images[SIM_IMAGES]; // on the shared disk; number 0 = free
  uint32_t *peers, npeers, peers_size; // ever talked to
  uint64_t points;
  // oracles
  uint64_t *hashes; // of the first execution, by tick
  uint64_t nhashes, hashes_size;
  struct sim_list printed, files; // what the world saw
};

// Truth about a pair of ranks: what its two histories say.
struct sim_pair {
  uint32_t from, to;
  struct sim_list sent, admitted;
  struct sim_pair *next;
};

enum sim_packet_kind {
  PACKET_CUT,
  PACKET_HELD,
  PACKET_NEWS,
  PACKET_SUBSCRIBE,
  PACKET_RECORD,
  PACKET_BOUND,
  PACKET_COLLECT,
  PACKET_REPLICA
};

struct sim_piece { // of one rank's determinants
  uint32_t rank;
  bool known;
  uint64_t position, tail, newest, polls, head;
  unsigned char *data;
};

struct sim_packet {
  struct sim_packet *next;
  enum sim_packet_kind kind;
  uint32_t incarnation, to_incarnation; // of the node that sent it; of the one that it is meant for
  uint32_t from, to;
  uint64_t number, epoch, value;
  struct sim_piece *pieces;
  uint32_t npieces;
};

struct sim_sent {
  bool announced;
  uint64_t determinants, polls, held, held_polls;
};

struct sim_holder {
  bool is_holder;
  uint64_t queued;
  struct sim_sent *sent; // [nranks]
};

struct sim_node {
  uint32_t self;
  bool alive;
  uint32_t incarnation;
  uint64_t view; // version of the view that it knows
  bool peer_alive[EGD_SIM_MAX_NODES];
  uint32_t peer_incarnation[EGD_SIM_MAX_NODES];
  uint32_t *home; // [nranks], as it knows
  struct sim_slice **slices;
  struct sim_replica *replicas;
  struct sim_holder holders[EGD_SIM_MAX_NODES], disk_holder;
  struct egd_gate gate;
  struct egd_gate_position *now, *last;
  uint32_t *local, nlocal;
  uint64_t view_cut;
  bool cut_wanted;
  uint32_t cut_progress; // broken rules only: a cut in pieces
  bool disk_busy;
  struct sim_packet *disk_packet;
  struct {
    bool answered[EGD_SIM_MAX_NODES], asked[EGD_SIM_MAX_NODES];
    struct sim_piece best;
    bool any;
  } * adoptions; // [nranks]
};

struct sim_world {
  const struct egd_sim_options *options;
  struct egd_sim_result *result;
  uint32_t nranks, nnodes; // nodes with spares
  bool outside;            // something can be lost that a process does not lose
  bool started, over;
  uint32_t finished;
  uint64_t view, epoch, step, random;
  uint32_t deaths; // nodes, since all was safe
  struct sim_rank *ranks;
  struct sim_node *nodes;
  struct sim_replica *disk;               // [nranks]
  struct sim_packet **links, **link_ends; // [nnodes][nnodes]
  struct sim_pair **pairs;                // hash table
  uint32_t pairs_mask;
  uint32_t acting; // rank whose code runs; NOBODY: a node's
  enum egd_sim_crash_kind dying;
  jmp_buf crash, end;
  struct sim_block {
    struct sim_block *next, *previous;
  } blocks; // all memory of the run
  bool exhausted;
  unsigned weights[8];
  unsigned arrival, image_chance, old_image_chance;
  bool draining;
};

// util.c
uint64_t sim_mix(uint64_t a, uint64_t b);
uint32_t sim_dice(struct sim_world *w, uint32_t sides);
void *sim_alloc(struct sim_world *w, size_t size); // cleared; ends the run when there is none
void *sim_grow(struct sim_world *w, void *old, size_t old_size, size_t size);
void sim_free(void *memory);
void sim_free_all(struct sim_world *w);
void sim_list_push(struct sim_world *w, struct sim_list *list, uint64_t value);
void sim_list_free_below(struct sim_list *list, uint64_t bound);
void sim_list_copy(struct sim_world *w, struct sim_list *to, const struct sim_list *from);
void sim_list_clear(struct sim_list *list, uint64_t position);
static inline uint64_t sim_list_at(const struct sim_list *list, uint64_t position) {
  return list->items[position - list->base];
}
void sim_bytes_put(struct sim_world *w, struct sim_bytes *bytes, uint64_t position, const void *data, size_t length);
void sim_bytes_free_below(struct sim_bytes *bytes, uint64_t bound);
void sim_bytes_clear(struct sim_bytes *bytes, uint64_t position);
void sim_trace(struct sim_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void sim_violation(struct sim_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline bool sim_broken(const struct sim_world *w, enum egd_sim_rule rule) {
  return w->options->broken == rule;
}

// world.c
struct sim_slice *sim_slice(struct sim_world *w, uint32_t node, uint32_t rank);
struct sim_channel *sim_channel(struct sim_world *w, uint32_t node, uint32_t from, uint32_t to);
struct sim_channel *sim_channel_if(struct sim_world *w, uint32_t node, uint32_t from, uint32_t to);
void sim_slice_drop(struct sim_world *w, uint32_t node, uint32_t rank);
void sim_world_create(struct sim_world *w);
void sim_world_destroy(struct sim_world *w);
void sim_birth(struct sim_world *w); // all ranks begin anew
void sim_kill_rank(struct sim_world *w, uint32_t rank);
bool sim_may_kill_node(struct sim_world *w, uint32_t node);
void sim_kill_node(struct sim_world *w, uint32_t node);
void sim_revive_node(struct sim_world *w, uint32_t node);
bool sim_is_safe(struct sim_world *w);
void sim_send(struct sim_world *w, uint32_t from, uint32_t to, struct sim_packet *packet);
void sim_packet_free(struct sim_packet *packet);

// rank.c
void sim_point(struct sim_world *w);                              // a crash may hit here
void sim_rank_recovered(struct sim_world *w, struct sim_rank *r); // its image is in place
void sim_rank_start(struct sim_world *w, struct sim_rank *r);
void sim_rank_step(struct sim_world *w, struct sim_rank *r);
void sim_rank_send(struct sim_world *w, struct sim_rank *r, uint32_t dest, uint64_t content);
bool sim_rank_event(struct sim_world *w, struct sim_rank *r, uint8_t kind, uint16_t aux, uint64_t *value, void *data,
                    uint32_t length);
void sim_rank_output(struct sim_world *w, struct sim_rank *r, uint64_t content);
bool sim_rank_may_act(struct sim_world *w, struct sim_rank *r);
void sim_rank_act(struct sim_world *w, struct sim_rank *r, uint64_t content);
bool sim_rank_poll(struct sim_world *w, struct sim_rank *r); // false: must wait; call again

// image.c
void sim_image_take(struct sim_world *w, struct sim_rank *r);
bool sim_image_advance(struct sim_world *w, struct sim_rank *r); // the writer gets on
void sim_image_restore(struct sim_world *w, struct sim_rank *r);
void sim_image_drop(struct sim_image *image);
uint64_t sim_image_received(const struct sim_image *image, uint32_t peer);
void sim_collect_garbage(struct sim_world *w, uint32_t rank);

// program.c
void sim_program_step(struct sim_world *w, struct sim_rank *r);
void sim_program_deliver(struct sim_world *w, struct sim_rank *r, uint32_t source, uint64_t content);

// agent.c
void sim_agent_view(struct sim_world *w, struct sim_node *node);
void sim_agent_work(struct sim_world *w, struct sim_node *node);
void sim_agent_rank(struct sim_world *w, struct sim_node *node, uint32_t rank);
void sim_agent_cut(struct sim_world *w, struct sim_node *node);
void sim_agent_holders(struct sim_world *w, struct sim_node *node);
void sim_agent_disk(struct sim_world *w, struct sim_node *node);
void sim_agent_stable(struct sim_world *w, struct sim_node *node);
void sim_agent_deliver(struct sim_world *w, uint32_t from, uint32_t to);
void sim_agent_cursors(struct sim_world *w, uint32_t rank);
void sim_agent_adopted(struct sim_world *w, struct sim_node *node, uint32_t rank);

// oracle.c
struct sim_pair *sim_pair(struct sim_world *w, uint32_t from, uint32_t to);
void sim_oracle_sent(struct sim_world *w, struct sim_rank *r, uint32_t dest, uint64_t ssn, uint64_t content);
void sim_oracle_admitted(struct sim_world *w, struct sim_rank *r, uint32_t source, uint64_t ssn, uint64_t content);
void sim_oracle_tick(struct sim_world *w, struct sim_rank *r);
void sim_oracle_live(struct sim_world *w, struct sim_rank *r);
void sim_oracle_printed(struct sim_world *w, struct sim_rank *r, uint64_t position, uint64_t content);
void sim_oracle_freed(struct sim_world *w, uint32_t from, uint32_t to, uint64_t bound);
void sim_oracle_trimmed(struct sim_world *w, uint32_t rank, uint64_t bound);
void sim_oracle_end(struct sim_world *w);

#endif
