// Everybody sends to whom its own history tells it, and receives from anyone whenever something is there.
#include "history.h"

static MPI_Comm comm;
static long *received;

static void receive_one(int source) {
  uint64_t words[64];
  MPI_Status status;
  MPI_Recv(words, 64, MPI_UINT64_T, source, MPI_ANY_TAG, comm, &status);
  int count;
  MPI_Get_count(&status, MPI_UINT64_T, &count);
  CHECK(count >= 2 && count == 2 + status.MPI_TAG % 60, "length %d does not fit tag %d", count, status.MPI_TAG);
  for (int i = 2; i < count; i++)
    CHECK(words[i] == mix(words[1], (uint64_t)i), "payload of a message from %d", status.MPI_SOURCE);
  history_heard(status.MPI_SOURCE, (struct claim){words[0], words[1]});
  received[status.MPI_SOURCE]++;
}

int main(int argc, char **argv) {
  start(&argc, &argv, 3000);
  history_start();
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  received = calloc((size_t)size, sizeof *received);
  long *sent = calloc((size_t)size, sizeof *sent), *expected = calloc((size_t)size, sizeof *expected);

  for (int step = 0; step < iterations; step++) {
    int to = (int)(history_hash() % (uint64_t)size), tag = (int)(history_hash() >> 33) % 30000;
    uint64_t words[64];
    struct claim claim = history_claim();
    words[0] = claim.event;
    words[1] = claim.hash;
    for (int i = 2; i < 64; i++) words[i] = mix(claim.hash, (uint64_t)i);
    MPI_Request request;
    MPI_Isend(words, 2 + tag % 60, MPI_UINT64_T, to, tag, comm, &request);
    history_event((uint64_t)to);
    sent[to]++;
    int done = 0, flag = 0;
    while (!done) { // what arrives meanwhile is received, or two ranks could wait for each other
      MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm, &flag, MPI_STATUS_IGNORE);
      if (flag) receive_one(MPI_ANY_SOURCE);
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    }
    if (step % 16 == 0) pace();
  }
  MPI_Alltoall(sent, 1, MPI_LONG, expected, 1, MPI_LONG, MPI_COMM_WORLD);
  long missing = 0;
  for (int r = 0; r < size; r++) missing += expected[r] - received[r];
  for (; missing > 0; missing--) receive_one(MPI_ANY_SOURCE);
  for (int r = 0; r < size; r++)
    CHECK(received[r] == expected[r], "%ld messages from %d, not %ld", received[r], r, expected[r]);
  history_compare();
  MPI_Comm_free(&comm);
  finish_plain("history");
  return 0;
}
