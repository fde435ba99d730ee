// Many windows that live long: MPICH puts each at a random address, and all of them have to be in every image.
#include "check.h"

enum { WINDOWS = 150, LENGTH = 20 };

int main(int argc, char **argv) {
  start(&argc, &argv, 20);
  static MPI_Win wins[WINDOWS];
  static long *bases[WINDOWS];
  for (int i = 0; i < WINDOWS; i++) {
    MPI_Win_allocate(LENGTH * sizeof(long), sizeof(long), MPI_INFO_NULL, MPI_COMM_WORLD, &bases[i], &wins[i]);
    for (int k = 0; k < LENGTH; k++) bases[i][k] = i * 1000L + k + rank;
  }
  uint64_t hash = 0;
  for (int step = 0; step < iterations; step++) {
    int i = step % WINDOWS;
    long out[LENGTH];
    for (int k = 0; k < LENGTH; k++) out[k] = i * 1000L + k + (rank + 1) % size + step;
    MPI_Win_fence(0, wins[i]);
    MPI_Put(out, LENGTH, MPI_LONG, (rank + 1) % size, 0, LENGTH, MPI_LONG, wins[i]);
    MPI_Win_fence(0, wins[i]);
    for (int k = 0; k < LENGTH; k++) bases[i][k] -= step;
    for (int w = 0; w < WINDOWS; w++)
      for (int k = 0; k < LENGTH; k++)
        CHECK(bases[w][k] == w * 1000L + k + rank, "window %d: word %d is %ld", w, k, bases[w][k]);
    hash = mix_bytes(hash, bases[i], LENGTH * sizeof(long));
    pace();
  }
  for (int i = 0; i < WINDOWS; i++) MPI_Win_free(&wins[i]);
  finish("windows", hash);
  return 0;
}
