// Allreduce of a few lengths: "BYTES MICROSECONDS" per line (mean, best of 3 rounds). allreduce [REPEATS]
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  int rank, repeats = argc > 1 ? atoi(argv[1]) : 300;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  static double in[65536], out[65536];
  if (rank == 0) printf("# bytes us\n");
  for (int length = 1; length <= 65536; length *= 256) {
    double best = 1e9;
    for (int round = 0; round < 3; round++) {
      MPI_Barrier(MPI_COMM_WORLD);
      double begin = MPI_Wtime();
      for (int i = 0; i < repeats; i++) MPI_Allreduce(in, out, length, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
      double each = (MPI_Wtime() - begin) / repeats;
      if (each < best) best = each;
    }
    if (rank == 0) printf("%d %.2f\n", length * 8, best * 1e6);
  }
  MPI_Finalize();
  return 0;
}
