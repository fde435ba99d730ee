// The mover: everything that an agent exchanges with the agents of other nodes (docs/formats/mover.md).
//
// Records of channels that cross nodes, garbage-collection bounds back, replicas of determinants, and with them the
// answer to "may this leave the node?". It lives in the agent's thread on the agent's reactor; only writes to a shared
// disk have a thread of their own. A job on one node has a mover too: it knows no peers then, and its gate is open or
// waits for the disk.
//
// Who does what:
//   agent   makes and reads the doorbell, calls egd_mover_work() when it rang, egd_mover_before_sleep() before the
//   reactor blocks agent   passes every view of the controller to egd_mover_set_view() before it starts or restarts a
//   rank on its strength rank    after a restore (nnodes > 1): stores its read cursors in `consumed`, then
//   cb->cursors_ready = incarnation + 1, rings the
//           doorbell and waits until cb->mirrors_ready is that value; only then it reads channels
#ifndef EGIDA_PMIX_AGENT_MOVER_H
#define EGIDA_PMIX_AGENT_MOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/segment.h"
#include "common/status.h"

struct egd_reactor;
struct egd_mover;

#define EGD_MOVER_MAX_NODES 256u
#define EGD_SECRET_SIZE 32u

struct egd_mover_callbacks {
  void *arg;
  // The gate opened further: outputs and exit statuses whose cut is <= egd_mover_stable() may leave.
  void (*stable)(void *arg, uint64_t cut);
  // egd_mover_adopt_rank() is done. EGD_OK: slice `rank` holds its determinants, start its watchdog. EGD_ERR_LOST: no
  // holder answered with a replica; EGD_ERR_CORRUPT: the file on the shared disk is damaged. `why` is one line for the
  // user.
  void (*adopted)(void *arg, uint32_t rank, enum egd_status status, uint64_t determinant_bytes, const char *why);
  // Every local determinant is on as many holders as the plan wants again (after a view that lost some). `epoch` of
  // that view.
  void (*safe)(void *arg, uint64_t epoch);
  // Something the user should know; `fatal`: the job cannot go on (a gap in a channel, a disk that refuses writes).
  void (*trouble)(void *arg, bool fatal, const char *what);
};

struct egd_mover_options {
  struct egd_reactor *reactor;
  struct egd_segment *seg;               // mapped anywhere; seg->node is this node, seg->plan is complete
  int segment_fd;                        // its memfd
  uint32_t incarnation;                  // of this node: views with a higher one for this node mean that we are fenced
  unsigned char secret[EGD_SECRET_SIZE]; // of the job
  const char *listen;                    // "HOST:PORT", port 0 = any; NULL: "127.0.0.1:0"; unused if nnodes == 1
  struct egd_mover_callbacks callbacks;  // unused ones may be NULL
};

struct egd_mover_node {
  bool alive;
  uint32_t incarnation;
  char address[64]; // "HOST:PORT", IPv6 in brackets
};

// The controller's view of the job, as the agent understood it. Ids are indices; entries that nobody holds are not
// alive.
struct egd_mover_view {
  uint64_t epoch;  // grows with every view
  uint32_t nnodes; // number of entries in `nodes` (spares count)
  uint32_t nranks;
  const struct egd_mover_node *nodes;
  const uint32_t *home; // node of each rank
};

/// Listen and get ready; no traffic before the first view. *ret_mover is freed with egd_mover_destroy(). Errors:
/// EGD_ERR_INVALID (options), EGD_ERR_IO (cannot listen, cannot open the determinant folder), EGD_ERR_NO_MEMORY; one
/// line in `why`.
int egd_mover_create(const struct egd_mover_options *options, struct egd_mover **ret_mover, char *why, size_t why_size);
/// Close all connections, stop the disk thread. NULL is allowed.
void egd_mover_destroy(struct egd_mover *mover);
/// "HOST:PORT" where this mover listens, for the controller's view; "" on one node. Owned by the mover.
const char *egd_mover_address(const struct egd_mover *mover);

/// Follow `view` (copied); an epoch that is not newer is ignored. Stores seg->home. When it returns, connections of
/// nodes that are not alive or have another incarnation are closed and nothing of theirs is accepted any more: the
/// caller acknowledges the fence. EGD_ERR_INVALID: the view does not fit the segment. EGD_ERR_FOREIGN: this node itself
/// is fenced; the agent must end. Needed on one node as well. Ranks of the first view count as started here (or running, for an agent
/// that takes over); ranks that come with a later one wait for egd_mover_adopt_rank(). So a node that joins a running job gets a
/// first view without ranks.
int egd_mover_set_view(struct egd_mover *mover, const struct egd_mover_view *view);

/// Rank `rank` now lives here and no longer on a lost node: the view says so already, its process is not started yet.
/// Drops the mirrors that it feeds, collects its determinants from the holders (or the shared disk) and installs them:
/// determinant ring, determinant_head/tail/newest/stable and polls in its control block. Ends with callbacks.adopted,
/// never inside this call. All other nodes alive must have followed the same view (their fences) before this is called.
int egd_mover_adopt_rank(struct egd_mover *mover, uint32_t rank);

/// Start-up begins anew (seg->birth was bumped, local ranks are dead): forget all channels, replicas and cuts of the
/// birth before. Call after egd_segment_reset_slice() of all slices, before ranks start. Connections are made
/// anew between nodes of the same birth.
void egd_mover_begin_anew(struct egd_mover *mover);

/// Take a cut: read what is to leave FIRST (e.g. output_head), then call this; it may leave once egd_mover_stable() >=
/// the returned value. Cheap, and returns the same number while no rank has moved. On one node and without determinants
/// it is stable at once.
uint64_t egd_mover_cut(struct egd_mover *mover);
uint64_t egd_mover_stable(const struct egd_mover *mover);
/// Are all determinants up to now on as many holders as the plan wants (or as exist)?
bool egd_mover_is_safe(const struct egd_mover *mover);

/// Look for news of the local ranks and move them on. Call when the doorbell rang and at least every 20 ms while ranks
/// live.
void egd_mover_work(struct egd_mover *mover);
/// Before the reactor blocks: sets seg->agent_sleeping and looks once more. False: there is work, do not block (call
/// egd_mover_work()).
bool egd_mover_before_sleep(struct egd_mover *mover);
/// After the reactor woke: clears seg->agent_sleeping.
void egd_mover_after_sleep(struct egd_mover *mover);

/// The whole job stops, this node's ranks are dead: write their determinants and the replicas of others' to
/// JOB_DIR/suspended, for a job that is resumed. What cannot be written is told by callbacks.trouble.
void egd_mover_keep(struct egd_mover *mover);

struct egd_mover_counters {
  uint64_t records_sent, bytes_sent, records_received, bytes_received; // payloads of channels
  uint64_t determinant_bytes_sent, cuts, reconnects, refused, resubscriptions;
  uint64_t replica_bytes; // held for others now
};
void egd_mover_get_counters(const struct egd_mover *mover, struct egd_mover_counters *ret_counters);

#endif
