// Time and random numbers inside messages and decisions: what a replay must repeat exactly. Also: no clock may run backwards.
#include "history.h"
#include <fcntl.h>
#include <sys/random.h>
#include <sys/time.h>

static uint64_t now_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv) {
  start(&argc, &argv, 200);
  history_start();
  int right = (rank + 1) % size, left = (rank + size - 1) % size;
  uint64_t last_monotonic = 0, last_real = 0;
  double last_wtime = 0;
  pid_t pid = getpid();
  for (int step = 0; step < iterations; step++) {
    uint64_t monotonic = now_ns(CLOCK_MONOTONIC), real = now_ns(CLOCK_REALTIME), number = 0;
    double wtime = MPI_Wtime();
    CHECK(monotonic >= last_monotonic, "CLOCK_MONOTONIC went back by %" PRIu64 " ns", last_monotonic - monotonic);
    CHECK(real + 1000000000u >= last_real, "CLOCK_REALTIME went back by %" PRIu64 " ns", last_real - real);
    CHECK(wtime >= last_wtime, "MPI_Wtime went back by %g s", last_wtime - wtime);
    CHECK(getpid() == pid, "the process id changed from %d to %d", (int)pid, (int)getpid());
    last_monotonic = monotonic;
    last_real = real;
    last_wtime = wtime;
    history_event(monotonic);
    history_event(real);
    switch (step % 4) {
    case 0:
      CHECK(getrandom(&number, sizeof number, 0) == sizeof number, "getrandom");
      break;
    case 1:
      CHECK(getentropy(&number, sizeof number) == 0, "getentropy");
      break;
    case 2: {
      int fd = open("/dev/urandom", O_RDONLY);
      CHECK(fd >= 0 && read(fd, &number, sizeof number) == sizeof number, "/dev/urandom");
      close(fd);
      break;
    }
    default: {
      struct timeval tv;
      gettimeofday(&tv, NULL);
      number = (uint64_t)tv.tv_usec ^ (uint64_t)time(NULL) << 20;
      srand((unsigned)number);
      number = mix(number, (uint64_t)rand());
    }
    }
    history_event(number);
    // who gets the message is decided by the random number: first everyone learns how many will come
    int *to_send = calloc((size_t)size, sizeof *to_send), coming;
    int to = (int)(number % (uint64_t)size);
    to_send[to] = 1;
    MPI_Reduce_scatter_block(to_send, &coming, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    struct claim out = history_claim(), in;
    MPI_Request request;
    MPI_Isend(&out, 2, MPI_UINT64_T, to, 5, MPI_COMM_WORLD, &request);
    for (; coming > 0; coming--) {
      MPI_Status status;
      MPI_Recv(&in, 2, MPI_UINT64_T, MPI_ANY_SOURCE, 5, MPI_COMM_WORLD, &status);
      history_heard(status.MPI_SOURCE, in);
    }
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    out = history_claim();
    MPI_Sendrecv(&out, 2, MPI_UINT64_T, right, 6, &in, 2, MPI_UINT64_T, left, 6, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    history_heard(left, in);
    free(to_send);
    pace();
  }
  history_compare();
  finish_plain("random");
  return 0;
}
