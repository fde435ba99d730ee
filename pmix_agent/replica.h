// Replicas: what this node holds of the determinant logs of ranks that live elsewhere.
//
// Bytes come in pieces; they count only from the next cut on (egd_replica_commit), so that a replica never ends inside
// a determinant and its polls never claim more than its bytes. Pure memory, no input or output.
#ifndef EGIDA_PMIX_AGENT_REPLICA_H
#define EGIDA_PMIX_AGENT_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Where a rank's determinant log stands. Positions are those of struct egd_rank_cb.
struct egd_replica_state {
  uint64_t tail, newest, head, polls;
};

struct egd_replica {
  bool known;                             // something was committed ever
  struct egd_replica_state state, staged; // staged.head >= state.head
  bool is_staged;
  uint64_t base; // position of bytes[0], at most state.tail
  unsigned char *bytes;
  size_t size;
  struct egd_replica *replacement; // collects a log that starts anew, until its commit
};

/// Add `length` bytes that stand at `position`. Bytes that are there already are skipped. `restart`: forget all others
/// at the next commit. `state.head` is ignored. EGD_ERR_CORRUPT: a gap, or more than a determinant ring holds;
/// EGD_ERR_NO_MEMORY. Nothing changes on errors.
int egd_replica_append(struct egd_replica *replica, uint64_t position, bool restart,
                       const struct egd_replica_state *state, const void *data, size_t length);
/// What was appended counts now. False: there was nothing.
bool egd_replica_commit(struct egd_replica *replica);
/// What was appended since the last commit is forgotten.
void egd_replica_rollback(struct egd_replica *replica);
/// Committed bytes at `position`; *length is reduced to what there is. NULL: none.
const unsigned char *egd_replica_bytes(const struct egd_replica *replica, uint64_t position, size_t *length);
/// Free all; the replica is empty again.
void egd_replica_clear(struct egd_replica *replica);

#endif
