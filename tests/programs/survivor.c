// Rank 0 computes for SECONDS without any MPI call while the others talk; what happens to them must not disturb it, nor wait for it.
// survivor ITERATIONS PACE SECONDS
#include "check.h"

int main(int argc, char **argv) {
  start(&argc, &argv, 200);
  double seconds = argc > 3 ? atof(argv[3]) : 1;
  uint64_t hash = 0;
  MPI_Comm others;
  MPI_Comm_split(MPI_COMM_WORLD, rank == 0, rank, &others);
  // what the others will need from rank 0 is sent before: nobody may wait for it later
  static uint64_t gift[50000];
  for (int i = 0; i < 50000; i++) gift[i] = (uint64_t)i * 3;
  if (rank == 0)
    for (int r = 1; r < size; r++) MPI_Send(gift, 50000, MPI_UINT64_T, r, 1, MPI_COMM_WORLD);
  double begin = MPI_Wtime();
  if (rank == 0) {
    while (MPI_Wtime() - begin < seconds) burn(1000);
  } else {
    for (int step = 0; step < iterations; step++) {
      uint64_t value = mix(hash, (uint64_t)(rank + step)), sum;
      MPI_Allreduce(&value, &sum, 1, MPI_UINT64_T, MPI_SUM, others);
      hash = mix(hash, sum);
      pace();
    }
    uint64_t received[50000];
    MPI_Recv(received, 50000, MPI_UINT64_T, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    CHECK(received[49999] == gift[49999], "the gift was damaged");
  }
  double spent = MPI_Wtime() - begin, *all = malloc((size_t)size * sizeof *all);
  MPI_Gather(&spent, 1, MPI_DOUBLE, all, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
  if (rank == 0) {
    double longest = 0;
    for (int r = 1; r < size; r++) longest = all[r] > longest ? all[r] : longest;
    fprintf(stderr, "survivor: rank 0 computed %.2f s, the others needed %.2f s\n", all[0], longest);
  }
  free(all);
  MPI_Comm_free(&others);
  finish("survivor", hash);
  return 0;
}
