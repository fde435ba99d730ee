// Signals of the application: an interval timer and SIGUSR1 to itself; how many came is sent around, so it must be repeated in a replay.
#include "history.h"
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t alarms, users;

static void on_alarm(int number) {
  (void)number;
  alarms++;
}
static void on_user(int number) {
  (void)number;
  users++;
}

int main(int argc, char **argv) {
  start(&argc, &argv, 200);
  history_start();
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  action.sa_handler = on_user;
  sigaction(SIGUSR1, &action, NULL);
  struct itimerval every = {{0, 3000}, {0, 3000}};
  setitimer(ITIMER_REAL, &every, NULL);
  int right = (rank + 1) % size, left = (rank + size - 1) % size;
  for (int step = 0; step < iterations; step++) {
    if (step % 10 == 0) kill(getpid(), SIGUSR1);
    burn(100);
    history_event(mix((uint64_t)alarms, (uint64_t)users));
    struct claim out = history_claim(), in;
    MPI_Sendrecv(&out, 2, MPI_UINT64_T, right, 1, &in, 2, MPI_UINT64_T, left, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    history_heard(left, in);
    pace();
  }
  every = (struct itimerval){{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &every, NULL);
  CHECK(alarms > 0, "no alarm came");
  CHECK(users > 0, "SIGUSR1 never came");
  history_compare();
  finish_plain("signals");
  return 0;
}
