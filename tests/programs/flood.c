// Many messages without flow control by the program: one-way bursts of small and middle ones, acknowledged rarely.
#include "check.h"

int main(int argc, char **argv) {
  start(&argc, &argv, 20);
  enum { BURST = 500 };
  uint64_t hash = 0;
  static uint64_t out[BURST][256], in[256];
  MPI_Request requests[BURST];
  for (int step = 0; step < iterations; step++) {
    int to = (rank + 1 + step % (size > 1 ? size - 1 : 1)) % size,
        from = (rank + size - 1 - step % (size > 1 ? size - 1 : 1)) % size;
    for (int i = 0; i < BURST; i++) {
      int length = 1 + (i * 31 + step) % 256;
      for (int k = 0; k < length; k++) out[i][k] = mix((uint64_t)(rank * BURST + i), (uint64_t)k);
      MPI_Isend(out[i], length, MPI_UINT64_T, to, i, MPI_COMM_WORLD, &requests[i]);
    }
    for (int i = 0; i < BURST; i++) {
      MPI_Status status;
      MPI_Recv(in, 256, MPI_UINT64_T, from, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
      CHECK(status.MPI_TAG == i, "message %d came as number %d", status.MPI_TAG, i);
      int length = 1 + (i * 31 + step) % 256;
      CHECK(in[length - 1] == mix((uint64_t)(from * BURST + i), (uint64_t)(length - 1)), "message %d", i);
      hash = mix_bytes(hash, in, (size_t)length * 8);
    }
    MPI_Waitall(BURST, requests, MPI_STATUSES_IGNORE);
    pace();
  }
  finish("flood", hash);
  return 0;
}
