// Latency and bandwidth between ranks 0 and 1: one line per size, "BYTES MICROSECONDS MB/S" (half a round trip, best of 5 rounds).
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  size_t largest = argc > 1 ? (size_t)atol(argv[1]) : 4u << 20;
  char *buffer = malloc(largest);
  memset(buffer, 1, largest);
  if (rank == 0) printf("# bytes us MB/s\n");
  for (size_t size = 8; size <= largest; size *= 8) {
    int repeats = size < 10000 ? 20000 : size < 200000 ? 2000 : 60;
    double best = 1e9;
    for (int round = 0; round < 5; round++) {
      MPI_Barrier(MPI_COMM_WORLD);
      double begin = MPI_Wtime();
      for (int i = 0; i < repeats; i++) {
        if (rank == 0) {
          MPI_Send(buffer, (int)size, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
          MPI_Recv(buffer, (int)size, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else if (rank == 1) {
          MPI_Recv(buffer, (int)size, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
          MPI_Send(buffer, (int)size, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
        }
      }
      double each = (MPI_Wtime() - begin) / repeats / 2;
      if (each < best) best = each;
    }
    if (rank == 0) printf("%zu %.3f %.1f\n", size, best * 1e6, (double)size / best / 1e6);
  }
  free(buffer);
  MPI_Finalize();
  return 0;
}
