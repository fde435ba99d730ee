// Large messages: large ITERATIONS PACE MEGABYTES (default 64; above 2047 the count needs a larger element than a byte).
#include "check.h"

int main(int argc, char **argv) {
  start(&argc, &argv, 1);
  size_t megabytes = argc > 3 ? (size_t)atol(argv[3]) : 64, words = megabytes << 17;
  int from = 0, to = size - 1;
  uint64_t hash = 0;
  uint64_t *data = NULL;
  if (rank == from || rank == to) {
    data = malloc(words * 8);
    CHECK(data != NULL, "no memory for %zu MB", megabytes);
  }
  MPI_Datatype page;
  MPI_Type_contiguous(1024, MPI_UINT64_T, &page);
  MPI_Type_commit(&page);
  for (int step = 0; step < iterations && size > 1; step++) {
    if (rank == from) {
      for (size_t i = 0; i < words; i++) data[i] = i * 0x9e3779b97f4a7c15ull + (uint64_t)step;
      MPI_Send(data, (int)(words / 1024), page, to, step, MPI_COMM_WORLD);
    } else if (rank == to) {
      memset(data, 0, words * 8);
      MPI_Recv(data, (int)(words / 1024), page, from, step, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      for (size_t i = 0; i < words; i++)
        CHECK(data[i] == i * 0x9e3779b97f4a7c15ull + (uint64_t)step, "word %zu of %zu", i, words);
      hash = mix(hash, data[words - 1]);
    }
    pace();
    MPI_Barrier(MPI_COMM_WORLD);
  }
  MPI_Type_free(&page);
  free(data);
  finish("large", hash);
  return 0;
}
