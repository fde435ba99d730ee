// MPI 4 partitioned communication.
#include "check.h"

enum { PARTITIONS = 8, LENGTH = 100 };

int main(int argc, char **argv) {
  start(&argc, &argv, 30);
  uint64_t hash = 0;
  double out[PARTITIONS * LENGTH], in[PARTITIONS * LENGTH];
  int right = (rank + 1) % size, left = (rank + size - 1) % size;
  MPI_Request requests[2];
  MPI_Psend_init(out, PARTITIONS, LENGTH, MPI_DOUBLE, right, 3, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[0]);
  MPI_Precv_init(in, PARTITIONS, LENGTH, MPI_DOUBLE, left, 3, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[1]);
  for (int step = 0; step < iterations; step++) {
    MPI_Startall(2, requests);
    for (int p = PARTITIONS - 1; p >= 0; p--) {
      for (int i = 0; i < LENGTH; i++) out[p * LENGTH + i] = rank * 1e6 + step * 1e3 + p * LENGTH + i;
      MPI_Pready(p, requests[0]);
    }
    int arrived = 0;
    MPI_Parrived(requests[1], 2, &arrived);
    MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = 0; i < PARTITIONS * LENGTH; i++)
      CHECK(in[i] == left * 1e6 + step * 1e3 + i, "step %d: word %d is %g", step, i, in[i]);
    hash = mix_bytes(hash, in, sizeof in);
    pace();
  }
  MPI_Request_free(&requests[0]);
  MPI_Request_free(&requests[1]);
  finish("partitioned", hash);
  return 0;
}
