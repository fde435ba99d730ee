// MPI_Test, MPI_Testany and MPI_Iprobe in loops; how often nothing had come yet goes into the next message.
#include "history.h"

int main(int argc, char **argv) {
  start(&argc, &argv, 300);
  history_start();
  int right = (rank + 1) % size, left = (rank + size - 1) % size;
  for (int step = 0; step < iterations; step++) {
    struct claim out = history_claim(), in;
    MPI_Request requests[2];
    MPI_Irecv(&in, 2, MPI_UINT64_T, left, step & 1023, MPI_COMM_WORLD, &requests[0]);
    if ((step + rank) % 3 == 0) burn(20);
    MPI_Isend(&out, 2, MPI_UINT64_T, right, step & 1023, MPI_COMM_WORLD, &requests[1]);
    uint64_t polls = 0;
    for (int open = 2; open > 0;) {
      int index, flag;
      MPI_Testany(2, requests, &index, &flag, MPI_STATUS_IGNORE);
      if (flag && index != MPI_UNDEFINED) open--;
      polls++;
    }
    history_event(polls);
    history_heard(left, in);

    // the same with a probe, from anyone
    out = history_claim();
    MPI_Request request;
    MPI_Isend(&out, 2, MPI_UINT64_T, (rank + step) % size, 2000, MPI_COMM_WORLD, &request);
    MPI_Status status;
    int flag = 0;
    for (polls = 0; !flag; polls++) MPI_Iprobe(MPI_ANY_SOURCE, 2000, MPI_COMM_WORLD, &flag, &status);
    MPI_Recv(&in, 2, MPI_UINT64_T, status.MPI_SOURCE, 2000, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    history_event(polls);
    history_heard(status.MPI_SOURCE, in);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    pace();
  }
  history_compare();
  finish_plain("polling");
  return 0;
}
