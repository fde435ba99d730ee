// Determinants that a node leaves behind when the whole job stops with it: JOB_DIR/suspended/rank-R.NODE-INCARNATION.log
// (docs/formats/mover.md). Its ranks' own, and the replicas that it holds of others'; a resumed job takes the longest.
#ifndef EGIDA_PMIX_AGENT_REPLICA_KEPT_H
#define EGIDA_PMIX_AGENT_REPLICA_KEPT_H

#include "pmix_agent/replica_disk.h"

/// Write one. A status with errno, and the file in `path`.
int egd_kept_write(const char *job_dir, uint64_t job_hash, uint32_t rank, uint32_t node, uint32_t incarnation,
                   const struct egd_replica_state *state, const struct iovec data[2], char path[640]);
/// Read the longest of a rank into `replica` (empty). EGD_ERR_NOT_FOUND: there is none that is whole and of this job.
int egd_kept_read(const char *job_dir, uint64_t job_hash, uint32_t rank, struct egd_replica *replica);

#endif
