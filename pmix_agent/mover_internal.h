// Shared by pmix_agent/mover*.c only.
#ifndef EGIDA_PMIX_AGENT_MOVER_INTERNAL_H
#define EGIDA_PMIX_AGENT_MOVER_INTERNAL_H

#include <stdatomic.h>
#include "common/frame.h"
#include "common/msglog.h"
#include "common/reactor.h"
#include "pmix_agent/mover.h"
#include "pmix_agent/mover_wire.h"
#include "pmix_agent/replica.h"
#include "pmix_agent/replica_kept.h"
#include "protocol/gate.h"

#define MOVER_WINDOW (8ull << 20) // bytes of a channel that may be on the way or unread
#define MOVER_QUEUE (320u << 10)  // bulk data is added to a connection's queue below this
#define MOVER_NO_ID UINT32_MAX
#define MOVER_DISK_NODE (UINT32_MAX - 1) // the shared disk, as a holder
#define MOVER_MILLISECOND 1000000ull
#define MOVER_TICK (20 * MOVER_MILLISECOND)

struct mover_peer;

enum mover_link_state { MOVER_LINK_CONNECTING, MOVER_LINK_HELLO, MOVER_LINK_PROOF, MOVER_LINK_UP };

// A TCP connection to another agent, the node with the lower id having dialled.
struct mover_link {
  struct egd_mover *mover;
  struct mover_peer *peer; // NULL until the other side said who it is
  struct mover_link *next; // all links
  int fd;
  enum mover_link_state state;
  bool dialler, dead, writing; // writing: EPOLLOUT is asked for
  uint64_t timer;              // handshake deadline
  uint64_t seed;               // 0 until authenticated
  struct egd_frame_decoder in;
  struct egd_frame_queue out;
  unsigned char mine[EGD_MOVER_HEAD + 32], theirs[EGD_MOVER_HEAD + 32]; // bodies of both HELLOs
};

// Local sender -> remote receiver, read here and sent to the receiver's node.
struct mover_stream {
  uint32_t from, to;
  struct mover_peer *peer;
  uint32_t id; // given by the subscriber; MOVER_NO_ID: nobody asked yet
  struct egd_reader reader;
  uint64_t record_offset;        // bytes of the record at the reader that were sent, head included
  uint64_t cleared;              // records below may leave
  uint64_t pending, pending_cut; // records below `pending` may leave once the cut may; none if pending <= cleared
  uint64_t epoch;                // of the subscription
  uint64_t sent, limit;          // bytes since it began
  uint32_t images_wanted;        // value of the receiver's cb->image_request here that was passed on
};

// Remote sender -> local receiver, written here.
struct mover_mirror {
  uint32_t from, to, id;
  bool subscribed;
  struct egd_record *record; // being filled, not visible
  struct egd_mover_record head;
  uint32_t head_got;
  uint64_t got; // payload bytes of `record`
  struct egd_extent *extent;
  uint64_t extent_got;
  uint64_t epoch;                  // number of the subscription: what was sent for an earlier one is dropped
  uint64_t received, freed, limit; // bytes since it began
  struct mover_mark {
    uint64_t ssn, bytes;
  } * marks; // records below ssn: so many bytes; ring
  uint32_t marks_first, marks_count, marks_size;
  uint64_t consumed;                // as last seen
  uint64_t stalled_ns, patience_ns; // the sender waits for credit since / until we give more all the same
  uint64_t bound, newest;           // as last sent
};

// The receiver of a mirror lives on while the sender came here: the old memory stays until it was read (see mover_adopt.c).
struct mover_zombie {
  uint32_t from, to;
  uint64_t tail, ssn; // the link to the sender's own log goes to `tail`, in place of record `ssn`
  bool linked;
};

// What we know of a node that holds our ranks' determinants.
struct mover_holder {
  bool is_holder, ready;           // ready: it told what it has
  uint32_t next;                   // local rank whose part of the target is being sent
  uint64_t target_cut, queued_cut; // 0: no target
  struct mover_sent {
    bool announced;
    uint64_t determinants, polls; // put on the way
    uint64_t target_determinants, target_polls;
    uint64_t held, held_polls; // confirmed
  } * sent;                    // [nranks]
};

struct mover_peer {
  uint32_t node;
  bool alive;
  uint32_t incarnation;
  char address[64];
  struct mover_link *link; // any state
  uint64_t dial_timer, backoff_ns;
  struct mover_stream **by_id; // streams that it subscribed to
  uint32_t by_id_size;
  struct mover_holder holder;
  uint32_t *staged, nstaged; // ranks of which it sent determinants since its last cut
};

struct mover_adoption {
  uint32_t rank, request;
  bool answered[EGD_MOVER_MAX_NODES];
  uint32_t best; // node; MOVER_NO_ID
  struct egd_replica_state state;
  uint64_t position; // fetched so far
  uint64_t step_end; // of the request under way
  bool fetching;
  struct mover_adoption *next;
};

struct egd_mover {
  struct egd_mover_options options;
  struct egd_reactor *reactor;
  struct egd_segment *seg;
  uint32_t self, nranks;
  int listen_fd;
  char address[64];
  uint64_t epoch; // of the last view
  struct mover_peer peers[EGD_MOVER_MAX_NODES];
  uint32_t nnodes;
  struct mover_link *links, *dead_links;
  unsigned char *input, *scratch; // EGD_MOVER_PIECE each

  struct mover_stream **streams, ***stream_rows; // all; [from][to], rows made at first use
  uint32_t nstreams, streams_size, next_stream;
  struct mover_mirror **mirrors, ***mirror_rows; // index = id; [to][from]
  uint32_t nmirrors, mirrors_size;
  struct egd_log **logs; // [nranks]: mirrors of remote ranks' slices
  struct mover_zombie *zombies;
  uint32_t nzombies;
  bool *is_local;          // [nranks] home is here
  bool *is_adopting;       // [nranks] home is here, its determinants are not yet
  bool *is_held;           // [nranks] adopted, but not restored: its log is not read, its mirrors are not fed
  uint32_t *local, nlocal; // ranks at home here whose determinants are replicated

  struct egd_gate gate;
  bool logs_determinants;
  struct egd_gate_position *now, *last; // [nlocal]
  uint64_t stable, view_cut;
  bool was_safe;
  uint32_t *worker_words, nworker_words; // words of a ready bitmap that have local senders
  struct egd_replica *replicas;          // [nranks]
  struct mover_adoption *adoptions;
  uint32_t next_request;
  struct egd_disk *disk; // shared disk; NULL
  struct mover_holder disk_holder;

  uint64_t timer, kick, last_tick_ns; // timers: the tick, work soon
  bool quick;                         // a sender waits for credit: look every millisecond
  bool disk_stale;                    // the submission under way is of an earlier birth
  bool working, again, spill_mapped, broken;
  struct egd_mover_counters counters;
};

/// All peers lie in one array of their mover.
static inline struct egd_mover *mover_of(struct mover_peer *peer) {
  return (struct egd_mover *)((char *)(peer - peer->node) - offsetof(struct egd_mover, peers));
}

// mover_link.c
int mover_link_listen(struct egd_mover *mover, char *why, size_t why_size);
void mover_link_close_all(struct egd_mover *mover);
/// Dial if this node is the one to dial and there is no connection.
void mover_link_want(struct mover_peer *peer);
/// Close; the peer may be dialled again. The memory stays until mover_link_bury().
void mover_link_drop(struct mover_link *link);
/// Free what was dropped; not from within a connection's callback.
void mover_link_bury(struct egd_mover *mover);
static inline bool mover_up(const struct mover_peer *peer) {
  return peer->link && peer->link->state == MOVER_LINK_UP && !peer->link->dead;
}
/// Queue a message to `peer`; nothing happens if it is not connected.
void mover_say(struct mover_peer *peer, struct egd_mover_message *message, const void *data, size_t length);
/// Send what waits and what streams and determinants have.
void mover_pump(struct mover_peer *peer);

// mover.c
void mover_trouble(struct egd_mover *mover, bool fatal, const char *format, ...) __attribute__((format(printf, 3, 4)));
/// The connection to `peer` is authenticated / is gone.
void mover_peer_up(struct mover_peer *peer);
void mover_peer_down(struct mover_peer *peer);
/// EGD_OK or EGD_ERR_CORRUPT: the connection is closed.
int mover_message(struct mover_peer *peer, const struct egd_mover_message *message, const unsigned char *data,
                  size_t length);
void mover_kick(void *arg); // timer: work soon
void mover_wake(struct egd_mover *mover, uint32_t rank);
void mover_need(struct egd_mover *mover, const struct egd_record *record);

// mover_stream.c: the sender's side
bool mover_stream_scan(struct egd_mover *mover); // find new channels and new records; true: there are some
void mover_stream_pull(struct mover_peer *peer);
void mover_stream_up(struct mover_peer *peer);
void mover_stream_down(struct mover_peer *peer);
void mover_stream_tick(struct egd_mover *mover);
void mover_stream_view(struct egd_mover *mover);
void mover_stream_find(struct egd_mover *mover, uint32_t from); // channels of `from` that have something
int mover_stream_message(struct mover_peer *peer, const struct egd_mover_message *message, const unsigned char *data,
                         size_t length);
void mover_stream_free(struct egd_mover *mover);

// mover_mirror.c: the receiver's side
int mover_mirror_message(struct mover_peer *peer, const struct egd_mover_message *message, const unsigned char *data,
                         size_t length);
void mover_mirror_up(struct mover_peer *peer);
void mover_mirror_down(struct mover_peer *peer);
void mover_mirror_work(struct egd_mover *mover, uint64_t now_ns, bool tick);
void mover_mirror_view(struct egd_mover *mover);
void mover_mirror_find(struct egd_mover *mover);                 // those that an agent before us made
void mover_mirror_cursors(struct egd_mover *mover, uint32_t to); // rank `to` was restored: `consumed` is what it wants
void mover_mirror_free(struct egd_mover *mover);

// mover_adopt.c: ranks that come here, and restored ranks
void mover_cursors(struct egd_mover *mover);
void mover_zombies(struct egd_mover *mover);
int mover_adopt_message(struct mover_peer *peer, const struct egd_mover_message *message, const unsigned char *data,
                        size_t length);
void mover_adopt_ask(struct egd_mover *mover, struct mover_peer *peer); // peer NULL: all
void mover_adopt_view(struct egd_mover *mover);
void mover_adopt_down(struct mover_peer *peer);
void mover_adopt_work(struct egd_mover *mover, bool tick);
void mover_adopt_free(struct egd_mover *mover);

// mover_determinants.c: our ranks' determinants to their holders, and others' here
void mover_determinants_view(struct egd_mover *mover);
void mover_determinants_up(struct mover_peer *peer);
void mover_determinants_down(struct mover_peer *peer);
void mover_determinants_pull(struct mover_peer *peer);
void mover_determinants_disk(struct egd_mover *mover);
void mover_determinants_stable(struct egd_mover *mover);
int mover_determinants_message(struct mover_peer *peer, const struct egd_mover_message *message,
                               const unsigned char *data, size_t length);
void mover_determinants_free(struct egd_mover *mover);
int mover_determinants_init(struct egd_mover *mover, char *why, size_t why_size);

#endif
