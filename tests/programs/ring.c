// Ring, ping-pong, allreduce and alltoall in turn; named receives only: deterministic.
#include "check.h"

static uint64_t hash;

static void ring(int step) {
  int right = (rank + 1) % size, left = (rank + size - 1) % size;
  int length = 1 + step * 37 % 3000;
  uint64_t *out = malloc((size_t)length * 8), *in = malloc((size_t)length * 8);
  for (int i = 0; i < length; i++) out[i] = mix(hash, (uint64_t)i);
  for (int hop = 0; hop < size; hop++) {
    MPI_Sendrecv(out, length, MPI_UINT64_T, right, 7, in, length, MPI_UINT64_T, left, 7, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
    memcpy(out, in, (size_t)length * 8);
  }
  for (int i = 0; i < length; i++)
    CHECK(out[i] == mix(hash, (uint64_t)i), "step %d: word %d came back changed", step, i);
  hash = mix_bytes(hash, out, (size_t)length * 8);
  free(out);
  free(in);
}

static void ping_pong(int step) {
  int peer = rank ^ 1;
  if (peer >= size) return;
  uint64_t word = 0;
  for (int i = 0; i < 10; i++) {
    if (rank < peer) {
      word = mix((uint64_t)step, (uint64_t)i);
      MPI_Send(&word, 1, MPI_UINT64_T, peer, i, MPI_COMM_WORLD);
      MPI_Recv(&word, 1, MPI_UINT64_T, peer, i, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      CHECK(word == mix((uint64_t)step, (uint64_t)i) + 1, "step %d: pong %d is wrong", step, i);
    } else {
      MPI_Recv(&word, 1, MPI_UINT64_T, peer, i, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      word++;
      MPI_Send(&word, 1, MPI_UINT64_T, peer, i, MPI_COMM_WORLD);
    }
    hash = mix(hash, word);
  }
}

static void collectives(int step) {
  uint64_t mine = (uint64_t)(rank + 1) * (uint64_t)(step + 1), sum = 0;
  MPI_Allreduce(&mine, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
  CHECK(sum == (uint64_t)size * (uint64_t)(size + 1) / 2 * (uint64_t)(step + 1), "step %d: wrong sum", step);
  int each = 1 + step % 200;
  uint32_t *out = malloc((size_t)(each * size) * 4), *in = malloc((size_t)(each * size) * 4);
  for (int i = 0; i < each * size; i++) out[i] = (uint32_t)(rank * 1000003 + i + step);
  MPI_Alltoall(out, each, MPI_UINT32_T, in, each, MPI_UINT32_T, MPI_COMM_WORLD);
  for (int from = 0; from < size; from++)
    for (int i = 0; i < each; i++)
      CHECK(in[from * each + i] == (uint32_t)(from * 1000003 + rank * each + i + step), "step %d: alltoall from %d",
            step, from);
  hash = mix(mix_bytes(hash, in, (size_t)(each * size) * 4), sum);
  free(out);
  free(in);
}

int main(int argc, char **argv) {
  start(&argc, &argv, 60);
  for (int step = 0; step < iterations; step++) {
    ring(step);
    ping_pong(step);
    collectives(step);
    pace();
  }
  finish("ring", hash);
  return 0;
}
