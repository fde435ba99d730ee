// All collective operations, blocking and non-blocking, several in flight.
#include "check.h"

static uint64_t hash;
static void blocking(int step) {
  int root = step % size;
  long value = rank == root ? step * 17L : -1;
  MPI_Bcast(&value, 1, MPI_LONG, root, MPI_COMM_WORLD);
  CHECK(value == step * 17L, "bcast");

  long mine = rank + step, *all = malloc((size_t)size * sizeof *all);
  MPI_Gather(&mine, 1, MPI_LONG, all, 1, MPI_LONG, root, MPI_COMM_WORLD);
  if (rank == root)
    for (int r = 0; r < size; r++) CHECK(all[r] == r + step, "gather");
  MPI_Allgather(&mine, 1, MPI_LONG, all, 1, MPI_LONG, MPI_COMM_WORLD);
  for (int r = 0; r < size; r++) CHECK(all[r] == r + step, "allgather");
  long part;
  for (int r = 0; r < size; r++) all[r] = r * 3L + step;
  MPI_Scatter(all, 1, MPI_LONG, &part, 1, MPI_LONG, root, MPI_COMM_WORLD);
  CHECK(part == rank * 3L + step, "scatter");

  int *counts = malloc((size_t)size * sizeof *counts), *at = malloc((size_t)size * sizeof *at), total = 0;
  for (int r = 0; r < size; r++) {
    counts[r] = r + 1 + step % 5;
    at[r] = total;
    total += counts[r];
  }
  double *v = malloc((size_t)total * sizeof *v), *piece = malloc((size_t)counts[rank] * sizeof *piece);
  for (int i = 0; i < counts[rank]; i++) piece[i] = rank + i * 0.5;
  MPI_Allgatherv(piece, counts[rank], MPI_DOUBLE, v, counts, at, MPI_DOUBLE, MPI_COMM_WORLD);
  for (int r = 0; r < size; r++)
    for (int i = 0; i < counts[r]; i++) CHECK(v[at[r] + i] == r + i * 0.5, "allgatherv");
  hash = mix_bytes(hash, v, (size_t)total * sizeof *v);
  MPI_Scatterv(v, counts, at, MPI_DOUBLE, piece, counts[rank], MPI_DOUBLE, root, MPI_COMM_WORLD);
  MPI_Gatherv(piece, counts[rank], MPI_DOUBLE, v, counts, at, MPI_DOUBLE, root, MPI_COMM_WORLD);

  struct {
    double value;
    int place;
  } in = {(rank * 7 + step) % size, rank}, out;
  MPI_Allreduce(&in, &out, 1, MPI_DOUBLE_INT, MPI_MAXLOC, MPI_COMM_WORLD);
  hash = mix(hash, (uint64_t)out.place);
  long scan = 0, exscan = 0;
  MPI_Scan(&mine, &scan, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
  MPI_Exscan(&mine, &exscan, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
  CHECK(rank == 0 || scan == exscan + mine, "scan");
  long *blocks = malloc((size_t)size * sizeof *blocks), block;
  for (int r = 0; r < size; r++) blocks[r] = r + rank;
  MPI_Reduce_scatter_block(blocks, &block, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
  CHECK(block == (long)size * rank + size * (size - 1L) / 2, "reduce_scatter_block");
  hash = mix(mix(hash, (uint64_t)scan), (uint64_t)block);
  free(all);
  free(counts);
  free(at);
  free(v);
  free(piece);
  free(blocks);
}

static void add_twice(void *in, void *inout, int *count, MPI_Datatype *type) {
  (void)type;
  for (int i = 0; i < *count; i++) ((long *)inout)[i] += 2 * ((long *)in)[i];
}

static void nonblocking(int step, MPI_Op op) {
  enum { REQUESTS = 6, LENGTH = 2000 };
  MPI_Request requests[REQUESTS];
  static long a[LENGTH], b[LENGTH], c[LENGTH], d[64 * 8], e[64 * 8], f, g;
  for (int i = 0; i < LENGTH; i++) {
    a[i] = rank == step % size ? i + step : 0;
    b[i] = rank + i;
  }
  for (int i = 0; i < size * 8 && i < 64 * 8; i++) d[i] = rank * 100 + i;
  f = rank + 1;
  MPI_Ibcast(a, LENGTH, MPI_LONG, step % size, MPI_COMM_WORLD, &requests[0]);
  MPI_Iallreduce(b, c, LENGTH, MPI_LONG, MPI_SUM, MPI_COMM_WORLD, &requests[1]);
  MPI_Ialltoall(d, 8, MPI_LONG, e, 8, MPI_LONG, MPI_COMM_WORLD, &requests[2]);
  MPI_Ibarrier(MPI_COMM_WORLD, &requests[3]);
  MPI_Ireduce(&f, &g, 1, MPI_LONG, op, 0, MPI_COMM_WORLD, &requests[4]);
  long prefix = 0, mine = rank;
  MPI_Iscan(&mine, &prefix, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD, &requests[5]);
  int done = 0;
  for (int polls = 0; polls < 3 && !done; polls++) MPI_Testall(REQUESTS, requests, &done, MPI_STATUSES_IGNORE);
  if (!done) MPI_Waitall(REQUESTS, requests, MPI_STATUSES_IGNORE);
  for (int i = 0; i < LENGTH; i++) {
    CHECK(a[i] == i + step, "ibcast");
    CHECK(c[i] == size * (size - 1L) / 2 + (long)size * i, "iallreduce");
  }
  for (int r = 0; r < size; r++)
    for (int i = 0; i < 8; i++) CHECK(e[r * 8 + i] == r * 100 + rank * 8 + i, "ialltoall");
  CHECK(prefix == rank * (rank + 1L) / 2, "iscan");
  hash = mix_bytes(hash, c, sizeof c);
  if (rank == 0) hash = mix(hash, (uint64_t)g);
}

int main(int argc, char **argv) {
  start(&argc, &argv, 25);
  MPI_Op op;
  MPI_Op_create(add_twice, 0, &op);
  for (int step = 0; step < iterations; step++) {
    blocking(step);
    nonblocking(step, op);
    pace();
  }
  MPI_Op_free(&op);
  finish("collectives", hash);
  return 0;
}
