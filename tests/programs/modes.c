// Modes of sending: synchronous, buffered, ready, persistent, replace; and the ways of waiting for many requests.
#include "check.h"

static uint64_t hash;
static int right, left;

static void synchronous(int step) {
  int out = rank + step, in = -1;
  MPI_Request request;
  MPI_Irecv(&in, 1, MPI_INT, left, 1, MPI_COMM_WORLD, &request);
  MPI_Ssend(&out, 1, MPI_INT, right, 1, MPI_COMM_WORLD);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  CHECK(in == left + step, "ssend");
  static double big_out[20000], big_in[20000];
  for (int i = 0; i < 20000; i++) big_out[i] = out + i;
  MPI_Issend(big_out, 20000, MPI_DOUBLE, right, 2, MPI_COMM_WORLD, &request);
  MPI_Recv(big_in, 20000, MPI_DOUBLE, left, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  CHECK(big_in[19999] == in + 19999, "issend");
  hash = mix_bytes(hash, big_in, sizeof big_in);
}

static void buffered(int step) {
  int room = 20 * (1000 * (int)sizeof(int) + MPI_BSEND_OVERHEAD), room_back;
  void *buffer = malloc((size_t)room);
  MPI_Buffer_attach(buffer, room);
  int out[1000], in[1000];
  for (int k = 0; k < 10; k++) {
    for (int i = 0; i < 1000; i++) out[i] = rank + step + k * i;
    MPI_Bsend(out, 1000, MPI_INT, right, 30 + k, MPI_COMM_WORLD);
  }
  for (int k = 9; k >= 0; k--) { // against the order of sending
    MPI_Recv(in, 1000, MPI_INT, left, 30 + k, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    CHECK(in[999] == left + step + k * 999, "bsend %d", k);
    hash = mix_bytes(hash, in, sizeof in);
  }
  MPI_Buffer_detach(&buffer, &room_back);
  free(buffer);
}

static void ready(int step) {
  int out = rank * 3 + step, in = -1;
  MPI_Request request;
  MPI_Irecv(&in, 1, MPI_INT, left, 40, MPI_COMM_WORLD, &request);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Rsend(&out, 1, MPI_INT, right, 40, MPI_COMM_WORLD);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  CHECK(in == left * 3 + step, "rsend");
  long word[100];
  for (int i = 0; i < 100; i++) word[i] = rank * 100 + i + step;
  MPI_Sendrecv_replace(word, 100, MPI_LONG, right, 41, left, 41, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  for (int i = 0; i < 100; i++) CHECK(word[i] == left * 100 + i + step, "sendrecv_replace");
  hash = mix_bytes(hash, word, sizeof word);
}

static void persistent(int step) {
  enum { PAIRS = 8 };
  static long out[PAIRS][200], in[PAIRS][200];
  static MPI_Request requests[2 * PAIRS];
  static int made;
  if (!made)
    for (int k = 0; k < PAIRS; k++) {
      MPI_Recv_init(in[k], 200, MPI_LONG, left, 50 + k, MPI_COMM_WORLD, &requests[k]);
      (k % 2 ? MPI_Send_init : MPI_Ssend_init)(out[k], 200, MPI_LONG, right, 50 + k, MPI_COMM_WORLD,
                                               &requests[PAIRS + k]);
    }
  made = 1;
  for (int k = 0; k < PAIRS; k++)
    for (int i = 0; i < 200; i++) out[k][i] = rank * 100000L + step * 1000 + k + i;
  MPI_Startall(2 * PAIRS, requests);
  int how = step % 4, open = 2 * PAIRS, index, indices[2 * PAIRS], count;
  while (open > 0) {
    if (how == 0) {
      MPI_Waitall(2 * PAIRS, requests, MPI_STATUSES_IGNORE);
      open = 0;
    } else if (how == 1) {
      MPI_Waitany(2 * PAIRS, requests, &index, MPI_STATUS_IGNORE);
      open = index == MPI_UNDEFINED ? 0 : open - 1;
    } else if (how == 2) {
      MPI_Waitsome(2 * PAIRS, requests, &count, indices, MPI_STATUSES_IGNORE);
      open = count == MPI_UNDEFINED ? 0 : open - count;
    } else {
      MPI_Testsome(2 * PAIRS, requests, &count, indices, MPI_STATUSES_IGNORE);
      open = count == MPI_UNDEFINED ? 0 : open - count;
    }
  }
  for (int k = 0; k < PAIRS; k++) {
    CHECK(in[k][199] == left * 100000L + step * 1000 + k + 199, "persistent %d", k);
    hash = mix_bytes(hash, in[k], sizeof in[k]);
  }
  if (step == iterations - 1)
    for (int k = 0; k < 2 * PAIRS; k++) MPI_Request_free(&requests[k]);
}

int main(int argc, char **argv) {
  start(&argc, &argv, 40);
  right = (rank + 1) % size;
  left = (rank + size - 1) % size;
  for (int step = 0; step < iterations; step++) {
    synchronous(step);
    buffered(step);
    ready(step);
    persistent(step);
    pace();
  }
  finish("modes", hash);
  return 0;
}
