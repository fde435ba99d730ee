// One-sided communication: windows of both kinds, put/get/accumulate, fence, locks, post-start-complete-wait, atomic operations.
#include "check.h"

static uint64_t hash;

static void fences(int step) {
  enum { LENGTH = 500 };
  long *base;
  MPI_Win win;
  MPI_Win_allocate(LENGTH * sizeof(long), sizeof(long), MPI_INFO_NULL, MPI_COMM_WORLD, &base, &win);
  for (int i = 0; i < LENGTH; i++) base[i] = -1;
  long out[LENGTH], in[LENGTH];
  int right = (rank + 1) % size, left = (rank + size - 1) % size;
  for (int i = 0; i < LENGTH; i++) out[i] = rank * 10000L + i + step;
  MPI_Win_fence(0, win);
  MPI_Put(out, LENGTH, MPI_LONG, right, 0, LENGTH, MPI_LONG, win);
  MPI_Win_fence(0, win);
  for (int i = 0; i < LENGTH; i++) CHECK(base[i] == left * 10000L + i + step, "put: word %d is %ld", i, base[i]);
  MPI_Get(in, LENGTH, MPI_LONG, left, 0, LENGTH, MPI_LONG, win);
  MPI_Win_fence(0, win);
  int left2 = (left + size - 1) % size;
  for (int i = 0; i < LENGTH; i++) CHECK(in[i] == left2 * 10000L + i + step, "get: word %d is %ld", i, in[i]);
  for (int i = 0; i < LENGTH; i++) base[i] = 0;
  MPI_Win_fence(0, win);
  for (int r = 0; r < size; r++) MPI_Accumulate(out, LENGTH, MPI_LONG, r, 0, LENGTH, MPI_LONG, MPI_SUM, win);
  MPI_Win_fence(0, win);
  for (int i = 0; i < LENGTH; i++)
    CHECK(base[i] == 10000L * size * (size - 1) / 2 + (long)size * (i + step), "accumulate: word %d is %ld", i,
          base[i]);
  hash = mix_bytes(hash, base, LENGTH * sizeof *base);
  MPI_Win_free(&win);
}

static void locks(int step) {
  long counters[4] = {0, 0, 0, -1};
  MPI_Win win;
  MPI_Win_create(counters, sizeof counters, sizeof(long), MPI_INFO_NULL, MPI_COMM_WORLD, &win);
  long one = 1, before, mine = rank, nobody = -1;
  for (int i = 0; i < 5; i++) {
    MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, win);
    long value;
    MPI_Get(&value, 1, MPI_LONG, 0, 0, 1, MPI_LONG, win);
    MPI_Win_flush(0, win);
    value++;
    MPI_Put(&value, 1, MPI_LONG, 0, 0, 1, MPI_LONG, win);
    MPI_Win_unlock(0, win);
  }
  MPI_Win_lock_all(0, win);
  for (int i = 0; i < 5; i++) {
    MPI_Fetch_and_op(&one, &before, MPI_LONG, 0, 1, MPI_SUM, win);
    MPI_Win_flush(0, win);
    CHECK(before >= 0 && before < 5L * size, "fetch_and_op gave %ld", before);
    MPI_Accumulate(&before, 1, MPI_LONG, 0, 2, 1, MPI_LONG, MPI_SUM, win);
  }
  MPI_Compare_and_swap(&mine, &nobody, &before, MPI_LONG, step % size, 3, win);
  MPI_Win_unlock_all(win);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win);
  if (rank == 0) {
    long n = 5L * size;
    CHECK(counters[0] == n && counters[1] == n && counters[2] == n * (n - 1) / 2, "counters %ld %ld %ld", counters[0],
          counters[1], counters[2]);
  }
  if (rank == step % size) CHECK(counters[3] >= 0 && counters[3] < size, "compare_and_swap: %ld won", counters[3]);
  MPI_Win_unlock(rank, win);
  hash = mix(hash, (uint64_t)(counters[0] + counters[1]));
  MPI_Win_free(&win);
}

static void post_start(int step) {
  int *base;
  MPI_Win win;
  MPI_Win_allocate((MPI_Aint)((size_t)size * sizeof(int)), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &base, &win);
  memset(base, 0, (size_t)size * sizeof(int));
  MPI_Group world, others;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  MPI_Group_excl(world, 1, &rank, &others);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Win_post(others, 0, win);
  MPI_Win_start(others, 0, win);
  int value = rank * 100 + step;
  for (int r = 0; r < size; r++)
    if (r != rank) MPI_Put(&value, 1, MPI_INT, r, rank, 1, MPI_INT, win);
  MPI_Win_complete(win);
  MPI_Win_wait(win);
  for (int r = 0; r < size; r++)
    if (r != rank) CHECK(base[r] == r * 100 + step, "post-start: word %d is %d", r, base[r]);
  hash = mix_bytes(hash, base, (size_t)size * sizeof(int));
  MPI_Group_free(&world);
  MPI_Group_free(&others);
  MPI_Win_free(&win);
}

int main(int argc, char **argv) {
  start(&argc, &argv, 15);
  for (int step = 0; step < iterations; step++) {
    fences(step);
    locks(step);
    if (size > 1) post_start(step);
    pace();
  }
  finish("rma", hash);
  return 0;
}
