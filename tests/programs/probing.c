// Probe, matched probe, cancelled receives, truncation errors, unexpected messages in other orders than sent.
#include "check.h"

static uint64_t hash;
static int right, left;

static void probes(int step) {
  int length = 1 + step * 13 % 500, got;
  long *out = malloc((size_t)length * sizeof *out);
  for (int i = 0; i < length; i++) out[i] = rank + step * 1000L + i;
  MPI_Request request;
  MPI_Status status;
  MPI_Isend(out, length, MPI_LONG, right, 60, MPI_COMM_WORLD, &request);
  MPI_Probe(left, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
  MPI_Get_count(&status, MPI_LONG, &got);
  CHECK(got == length && status.MPI_TAG == 60, "probe says %d words, tag %d", got, status.MPI_TAG);
  long *in = malloc((size_t)got * sizeof *in);
  MPI_Recv(in, got, MPI_LONG, left, 60, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  CHECK(in[got - 1] == left + step * 1000L + got - 1, "probe and receive");
  MPI_Wait(&request, MPI_STATUS_IGNORE);

  MPI_Isend(out, length, MPI_LONG, right, 61, MPI_COMM_WORLD, &request);
  MPI_Message message;
  int flag = 0;
  if (step % 2)
    MPI_Mprobe(left, 61, MPI_COMM_WORLD, &message, &status);
  else
    while (!flag) MPI_Improbe(left, 61, MPI_COMM_WORLD, &flag, &message, &status);
  memset(in, 0, (size_t)got * sizeof *in);
  if (step % 3)
    MPI_Mrecv(in, got, MPI_LONG, &message, MPI_STATUS_IGNORE);
  else {
    MPI_Request receive;
    MPI_Imrecv(in, got, MPI_LONG, &message, &receive);
    MPI_Wait(&receive, MPI_STATUS_IGNORE);
  }
  CHECK(in[got - 1] == left + step * 1000L + got - 1, "matched probe");
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  hash = mix_bytes(hash, in, (size_t)got * sizeof *in);
  free(out);
  free(in);
}

static void cancel(int step) {
  int never, real = rank + step, in, cancelled;
  MPI_Request ghost, receive;
  MPI_Status status;
  MPI_Irecv(&never, 1, MPI_INT, left, 9999, MPI_COMM_WORLD, &ghost);
  MPI_Irecv(&in, 1, MPI_INT, left, 62, MPI_COMM_WORLD, &receive);
  MPI_Send(&real, 1, MPI_INT, right, 62, MPI_COMM_WORLD);
  MPI_Wait(&receive, MPI_STATUS_IGNORE);
  MPI_Cancel(&ghost);
  MPI_Wait(&ghost, &status);
  MPI_Test_cancelled(&status, &cancelled);
  CHECK(cancelled, "a receive that nothing matches could not be cancelled");
  hash = mix(hash, (uint64_t)in);
}

static void truncation(int step) {
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  int out[100], in[100], class = 0;
  for (int i = 0; i < 100; i++) out[i] = rank + step + i;
  MPI_Request request;
  MPI_Isend(out, 100, MPI_INT, right, 63, MPI_COMM_WORLD, &request);
  int error = MPI_Recv(in, 10, MPI_INT, left, 63, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  MPI_Error_class(error, &class);
  CHECK(class == MPI_ERR_TRUNCATE, "receiving 100 words into 10 gave error class %d", class);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL);
}

static void unexpected(int step) {
  enum { MANY = 200 };
  MPI_Request requests[MANY];
  int out[MANY], in[MANY];
  for (int i = 0; i < MANY; i++) {
    out[i] = rank * MANY + i + step;
    MPI_Isend(&out[i], 1, MPI_INT, right, 100 + i, MPI_COMM_WORLD, &requests[i]);
  }
  uint64_t order = (uint64_t)step;
  int tags[MANY];
  for (int i = 0; i < MANY; i++) tags[i] = i;
  for (int i = MANY - 1; i > 0; i--) {
    int j = (int)(next_random(&order) % (uint64_t)(i + 1)), t = tags[i];
    tags[i] = tags[j];
    tags[j] = t;
  }
  for (int i = 0; i < MANY; i++)
    MPI_Recv(&in[tags[i]], 1, MPI_INT, left, 100 + tags[i], MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  for (int i = 0; i < MANY; i++) CHECK(in[i] == left * MANY + i + step, "unexpected message %d", i);
  MPI_Waitall(MANY, requests, MPI_STATUSES_IGNORE);
  // same tag, wildcard tag: must come in the order of sending
  for (int i = 0; i < 20; i++) MPI_Isend(&out[i], 1, MPI_INT, right, 70 + i % 3, MPI_COMM_WORLD, &requests[i]);
  for (int i = 0; i < 20; i++) {
    MPI_Status status;
    MPI_Recv(&in[i], 1, MPI_INT, left, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
    CHECK(status.MPI_TAG == 70 + i % 3 && in[i] == left * MANY + i + step, "message %d overtook", i);
  }
  MPI_Waitall(20, requests, MPI_STATUSES_IGNORE);
  hash = mix_bytes(hash, in, sizeof in);
}

int main(int argc, char **argv) {
  start(&argc, &argv, 50);
  right = (rank + 1) % size;
  left = (rank + size - 1) % size;
  for (int step = 0; step < iterations; step++) {
    probes(step);
    MPI_Barrier(MPI_COMM_WORLD);
    cancel(step);
    truncation(step);
    unexpected(step);
    MPI_Barrier(MPI_COMM_WORLD);
    pace();
  }
  finish("probing", hash);
  return 0;
}
