// Ways to end: ending HOW [RANK [ITERATIONS]] with HOW one of
//   abort    RANK calls MPI_Abort(MPI_COMM_WORLD, 3) in the middle
//   exit     all end with exit(3) after MPI_Finalize
//   early    RANK calls exit(5) in the middle, without MPI_Finalize
//   segv     RANK dereferences NULL in the middle, every time again
//   assert   RANK calls abort(), every time again
//   late     all print, flush and end with 0 from an atexit handler
//   quiet    all end with 0 and say nothing
#include "check.h"

static void last_words(void) {
  printf("last words of %d\n", rank);
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "quiet";
  int who = argc > 2 ? atoi(argv[2]) : 0, steps = argc > 3 ? atoi(argv[3]) : 50;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (strcmp(how, "late") == 0) atexit(last_words);
  uint64_t hash = 0;
  for (int step = 0; step < steps; step++) {
    uint64_t value = mix(hash, (uint64_t)(rank + step)), sum;
    MPI_Allreduce(&value, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    hash = mix(hash, sum);
    if (step == steps / 2 && rank == who) {
      if (strcmp(how, "abort") == 0) MPI_Abort(MPI_COMM_WORLD, 3);
      if (strcmp(how, "early") == 0) exit(5);
      if (strcmp(how, "segv") == 0) *(volatile int *)(uintptr_t)(step - steps / 2) = 1;
      if (strcmp(how, "assert") == 0) abort();
    }
  }
  if (rank == 0 && strcmp(how, "quiet") != 0) printf("ending %s: %016" PRIx64 "\n", how, hash);
  MPI_Finalize();
  return strcmp(how, "exit") == 0 ? 3 : 0;
}
