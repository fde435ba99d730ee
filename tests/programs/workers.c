// Master and workers with MPI_ANY_SOURCE: who does what depends on timing, the final result does not; histories must agree.
#include "history.h"

enum { TAG_WORK = 1, TAG_RESULT = 2, TAG_STOP = 3 };

struct work {
  struct claim claim;
  long item;
  double value;
};

static double solve(long item) {
  return 1.0 / (1.0 + (double)item) + burn(5) * 0.0;
}

static void master(void) {
  double *results = calloc((size_t)iterations, sizeof *results), sum = 0;
  long next = 0, done = 0;
  int idle = size - 1;
  for (int worker = 1; worker < size && next < iterations; worker++, idle--) {
    struct work work = {history_claim(), next++, 0};
    MPI_Send(&work, sizeof work, MPI_BYTE, worker, TAG_WORK, MPI_COMM_WORLD);
  }
  while (done < iterations) {
    struct work work;
    MPI_Status status;
    MPI_Recv(&work, sizeof work, MPI_BYTE, MPI_ANY_SOURCE, TAG_RESULT, MPI_COMM_WORLD, &status);
    history_heard(status.MPI_SOURCE, work.claim);
    CHECK(work.item >= 0 && work.item < iterations && results[work.item] == 0, "item %ld came twice", work.item);
    results[work.item] = work.value;
    done++;
    if (next < iterations) {
      work = (struct work){history_claim(), next++, 0};
      MPI_Send(&work, sizeof work, MPI_BYTE, status.MPI_SOURCE, TAG_WORK, MPI_COMM_WORLD);
    }
  }
  struct work stop = {.item = -1};
  for (int worker = 1; worker < size; worker++) {
    stop.claim = history_claim();
    MPI_Send(&stop, sizeof stop, MPI_BYTE, worker, TAG_STOP, MPI_COMM_WORLD);
  }
  for (int i = 0; i < iterations; i++) sum += results[i];
  printf("workers: sum %.12f\n", sum);
  free(results);
}

static void worker(void) {
  for (;;) {
    struct work work;
    MPI_Status status;
    MPI_Recv(&work, sizeof work, MPI_BYTE, 0, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
    history_heard(0, work.claim);
    if (status.MPI_TAG == TAG_STOP) return;
    work.value = solve(work.item);
    pace();
    work.claim = history_claim();
    MPI_Send(&work, sizeof work, MPI_BYTE, 0, TAG_RESULT, MPI_COMM_WORLD);
  }
}

int main(int argc, char **argv) {
  start(&argc, &argv, 2000);
  if (size < 2) {
    printf("workers: needs 2 ranks or more\n");
    MPI_Finalize();
    return 0;
  }
  history_start();
  if (rank == 0)
    master();
  else
    worker();
  history_compare();
  finish_plain("workers");
  return 0;
}
