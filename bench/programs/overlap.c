// A computation that calls MPI_Test in its loop, as many codes do to drive their messages: "SECONDS" for STEPS steps.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  int rank, size, steps = argc > 1 ? atoi(argv[1]) : 20000;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  double in = 0, out = rank;
  volatile double x = 1;
  MPI_Barrier(MPI_COMM_WORLD);
  double begin = MPI_Wtime();
  MPI_Request request;
  MPI_Irecv(&in, 1, MPI_DOUBLE, (rank + size - 1) % size, 1, MPI_COMM_WORLD, &request);
  for (int step = 0; step < steps; step++) {
    for (int i = 0; i < 2000; i++) x = x * 1.0000001 + 1e-9;
    int done = 0;
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (step % 100 == 50) MPI_Send(&out, 1, MPI_DOUBLE, (rank + 1) % size, 1, MPI_COMM_WORLD);
    if (done) MPI_Irecv(&in, 1, MPI_DOUBLE, (rank + size - 1) % size, 1, MPI_COMM_WORLD, &request);
  }
  double spent = MPI_Wtime() - begin;
  MPI_Cancel(&request);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  // what came after the last test
  MPI_Barrier(MPI_COMM_WORLD);
  int flag = 1;
  while (flag) {
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, 1, MPI_COMM_WORLD, &flag, &status);
    if (flag) MPI_Recv(&in, 1, MPI_DOUBLE, status.MPI_SOURCE, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  if (rank == 0) printf("%.4f\n", spent);
  MPI_Finalize();
  return 0;
}
