// Signals that do not come: ranks take turns to compute and to say how often SIGUSR1 came from outside. The handler runs at a call that leaves
// nothing in a log: only that no signal is in the log before a message says that none had come.
#include "history.h"
#include <signal.h>

static volatile sig_atomic_t pokes;

static void on_poke(int number) {
  (void)number;
  pokes++;
}

static void receive(int left) {
  struct claim in;
  MPI_Recv(&in, 2, MPI_UINT64_T, left, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  history_heard(left, in);
}

static void compute_and_send(int right) {
  burn(pace_us); // pace() would leave a trace
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, NULL, &blocked);
  history_event((uint64_t)pokes);
  struct claim out = history_claim();
  MPI_Send(&out, 2, MPI_UINT64_T, right, 1, MPI_COMM_WORLD);
}

int main(int argc, char **argv) {
  start(&argc, &argv, 20);
  history_start();
  struct sigaction action = {.sa_handler = on_poke, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  int right = (rank + 1) % size, left = (rank + size - 1) % size;
  for (int step = 0; step < iterations; step++) {
    if (rank > 0) receive(left);
    compute_and_send(right);
    if (rank == 0) receive(left);
  }
  history_compare();
  finish_plain("poked");
  return 0;
}
