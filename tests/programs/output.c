// Standard output and error of all ranks: numbered lines, so that lost, doubled and reordered ones show.
#include "check.h"

int main(int argc, char **argv) {
  start(&argc, &argv, 100);
  uint64_t hash = (uint64_t)rank;
  for (int step = 0; step < iterations; step++) {
    hash = mix(hash, (uint64_t)step);
    printf("rank %d line %d %08x\n", rank, step, (unsigned)hash);
    if (step % 10 == 0) fprintf(stderr, "rank %d warning %d\n", rank, step);
    if (step % 7 == 0) fflush(stdout);
    if (step % 20 == 0) {
      for (int i = 0; i < 300; i++) printf("%d.%d.%d ", rank, step, i);
      putchar('\n');
    }
    uint64_t sum;
    MPI_Allreduce(&hash, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    hash = mix(hash, sum);
    pace();
  }
  finish("output", hash);
  printf("rank %d after MPI_Finalize\n", rank);
  return 0;
}
