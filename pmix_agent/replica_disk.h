// Determinants on a shared disk: JOB_DIR/determinants/rank-R.log (docs/formats/mover.md), one thread, group commit.
//
// The agent's thread submits what is new of all its ranks at once; the thread writes it, makes it durable and signals an
// eventfd. One submission at a time: what comes meanwhile is the next one.
#ifndef EGIDA_PMIX_AGENT_REPLICA_DISK_H
#define EGIDA_PMIX_AGENT_REPLICA_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "pmix_agent/replica.h"

struct egd_disk;

struct egd_disk_entry {
  uint32_t rank;
  const unsigned char
      *ring; // EGD_DETERMINANT_RING bytes; [from, state.head) stays as it is until the submission is finished
  uint64_t from;
  bool restart; // a new file that begins at `from` replaces the old one
  struct egd_replica_state state;
};

/// Makes JOB_DIR/determinants (0700) and starts the thread. EGD_ERR_IO, EGD_ERR_NO_MEMORY with one line in `why`.
int egd_disk_create(const char *job_dir, uint64_t job_hash, struct egd_disk **ret_disk, char *why, size_t why_size);
/// Waits for the submission under way. NULL is allowed.
void egd_disk_destroy(struct egd_disk *disk);
/// Readable when a submission is finished.
int egd_disk_fd(const struct egd_disk *disk);
bool egd_disk_busy(const struct egd_disk *disk);
/// Entries are copied. Only while not busy. EGD_ERR_NO_MEMORY.
int egd_disk_submit(struct egd_disk *disk, uint64_t cut, const struct egd_disk_entry *entries, size_t count);
/// The submission that is finished: its cut, or an error with one line in `why`; 0 if none is. Clears the signal.
uint64_t egd_disk_finished(struct egd_disk *disk, int *ret_status, char *why, size_t why_size);

/// The bytes [from, to) of a determinant ring.
void egd_replica_of_ring(const unsigned char *ring, uint64_t from, uint64_t to, struct iovec ret_parts[2]);
/// Write a whole log, [state->tail, state->head) in two parts, to a new file, durably. EGD_ERR_NO_SPACE, EGD_ERR_IO with
/// errno; nothing is left then.
int egd_disk_write_log(const char *path, uint64_t job_hash, uint32_t rank, const struct egd_replica_state *state,
                       const struct iovec data[2]);
/// Read the log of a rank in the file `path` into `replica` (empty). EGD_ERR_NOT_FOUND, EGD_ERR_CORRUPT (the beginning is damaged), EGD_ERR_FOREIGN, EGD_ERR_IO.
/// A torn end is what a crash leaves: what stands before counts.
int egd_disk_read(const char *path, uint64_t job_hash, uint32_t rank, struct egd_replica *replica);

#endif
