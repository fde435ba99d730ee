// History echo: a detector of orphans. Every rank keeps a hash of all that it experienced (its history), after each event. A message
// carries the number of events and the hash of its sender; receivers keep these claims. At the end each claim goes back to the rank that it is
// about, which compares it with its own history: a rank that was recovered into another history than the one that others saw is found.
#ifndef TESTS_PROGRAMS_HISTORY_H
#define TESTS_PROGRAMS_HISTORY_H

#include "check.h"

struct claim {
  uint64_t event, hash;
};

static uint64_t *history_hashes;
static size_t history_count, history_room;
static struct claim **claims;
static int *claim_counts, *claim_room;

static inline void history_event(uint64_t what) {
  if (history_count == history_room) {
    history_room = history_room ? history_room * 2 : 1024;
    history_hashes = realloc(history_hashes, history_room * sizeof *history_hashes);
  }
  uint64_t before = history_count ? history_hashes[history_count - 1] : (uint64_t)rank;
  history_hashes[history_count++] = mix(before, what);
}

static inline void history_start(void) {
  claims = calloc((size_t)size, sizeof *claims);
  claim_counts = calloc((size_t)size, sizeof *claim_counts);
  claim_room = calloc((size_t)size, sizeof *claim_room);
  history_event(1);
}

static inline uint64_t history_hash(void) {
  return history_hashes[history_count - 1];
}
static inline struct claim history_claim(void) {
  return (struct claim){history_count - 1, history_hash()};
}

static inline void history_heard(int source, struct claim claim) {
  if (claim_counts[source] == claim_room[source]) {
    claim_room[source] = claim_room[source] ? claim_room[source] * 2 : 256;
    claims[source] = realloc(claims[source], (size_t)claim_room[source] * sizeof **claims);
  }
  claims[source][claim_counts[source]++] = claim;
  history_event(mix(mix((uint64_t)source, claim.event), claim.hash));
}

// Collective. Ends the program if any rank heard of a history that is not its owner's.
static inline void history_compare(void) {
  int *send_counts = malloc((size_t)size * sizeof(int)), *send_at = malloc((size_t)size * sizeof(int));
  int *recv_counts = malloc((size_t)size * sizeof(int)), *recv_at = malloc((size_t)size * sizeof(int));
  int total = 0;
  for (int r = 0; r < size; r++) {
    send_counts[r] = claim_counts[r] * 2;
    send_at[r] = total;
    total += send_counts[r];
  }
  uint64_t *out = malloc((size_t)(total + 1) * 8);
  for (int r = 0; r < size; r++)
    if (claim_counts[r] > 0) memcpy(out + send_at[r], claims[r], (size_t)claim_counts[r] * sizeof **claims);
  MPI_Alltoall(send_counts, 1, MPI_INT, recv_counts, 1, MPI_INT, MPI_COMM_WORLD);
  total = 0;
  for (int r = 0; r < size; r++) {
    recv_at[r] = total;
    total += recv_counts[r];
  }
  uint64_t *in = malloc((size_t)(total + 1) * 8);
  MPI_Alltoallv(out, send_counts, send_at, MPI_UINT64_T, in, recv_counts, recv_at, MPI_UINT64_T, MPI_COMM_WORLD);
  for (int r = 0; r < size; r++)
    for (int i = recv_at[r]; i < recv_at[r] + recv_counts[r]; i += 2) {
      CHECK(in[i] < history_count, "rank %d heard of my event %" PRIu64 ", I had only %zu", r, in[i], history_count);
      CHECK(history_hashes[in[i]] == in[i + 1], "rank %d heard of another history of mine at event %" PRIu64 " of %zu",
            r, in[i], history_count);
    }
  free(out);
  free(in);
  free(send_counts);
  free(send_at);
  free(recv_counts);
  free(recv_at);
}

#endif
