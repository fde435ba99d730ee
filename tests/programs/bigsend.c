// Big messages are sent, then the sender computes long without MPI calls: the receivers (and their recovery) must not need its progress.
#include "check.h"

int main(int argc, char **argv) {
  start(&argc, &argv, 10);
  enum { LENGTH = 400000 };
  uint64_t hash = 0, *out = malloc(LENGTH * 8), *in = malloc(LENGTH * 8);
  int right = (rank + 1) % size, left = (rank + size - 1) % size;
  for (int step = 0; step < iterations; step++) {
    MPI_Request request;
    for (int i = 0; i < LENGTH; i++) out[i] = mix(hash, (uint64_t)(i + rank));
    MPI_Isend(out, LENGTH, MPI_UINT64_T, right, step, MPI_COMM_WORLD, &request);
    burn(rank % 2 ? 20000 : 200);
    MPI_Recv(in, LENGTH, MPI_UINT64_T, left, step, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    hash = mix_bytes(0, in, LENGTH * 8);
    uint64_t sum;
    MPI_Allreduce(&hash, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    hash = sum;
    for (int i = 0; i < LENGTH; i += 1000) CHECK(in[i] != 0, "word %d is empty", i);
    pace();
  }
  free(out);
  free(in);
  finish("bigsend", hash);
  return 0;
}
