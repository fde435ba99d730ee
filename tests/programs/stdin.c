// Rank 0 reads lines from its standard input; all ranks work on each line; rank 0 answers each.
#include "check.h"

int main(int argc, char **argv) {
  start(&argc, &argv, 0);
  char line[256];
  uint64_t hash = 0;
  for (int number = 1;; number++) {
    int more = 0;
    memset(line, 0, sizeof line);
    if (rank == 0) more = fgets(line, sizeof line, stdin) != NULL;
    MPI_Bcast(&more, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (!more) break;
    MPI_Bcast(line, sizeof line, MPI_CHAR, 0, MPI_COMM_WORLD);
    hash = mix_bytes(hash, line, sizeof line);
    uint64_t sum = 0, part = mix(hash, (uint64_t)rank);
    MPI_Reduce(&part, &sum, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0) {
      line[strcspn(line, "\n")] = 0;
      printf("line %d: \"%s\" %016" PRIx64 "\n", number, line, sum);
      fflush(stdout);
    }
    pace();
  }
  finish("stdin", hash);
  return 0;
}
