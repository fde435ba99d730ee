#!/usr/bin/env python3
# egida.h: a program asks for images; without Egida the same binary runs as well, and it links with nothing.
import os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
SOURCE = r"""
#include <egida.h>
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
  int rank, sum = 0;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  for (int step = 0; step < 4; step++) {
    int result = egida_take_checkpoint();
    if (result != 0) return 3;
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    for (volatile long i = 0; i < 50000000; i++) continue;
  }
  if (rank == 0) printf("sum %d\n", sum);
  MPI_Finalize();
  return 0;
}
"""
include = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "runtime")
with h.Folder("interface") as folder:
    for language, compiler in (("c", "mpicc.mpich"), ("cpp", "mpicxx.mpich")):
        source, program = (os.path.join(folder.path, "asks" + end) for end in ("." + language, "-" + language))
        with open(source, "w") as f:
            f.write(SOURCE)
        built = subprocess.run([compiler, "-O1", "-Wall", "-Werror", "-I", include, "-o", program, source], capture_output=True, text=True)
        if not tap.ok(built.returncode == 0, "%s compiles and links it" % compiler, built.stderr):
            continue
        alone = subprocess.run(["mpiexec.hydra", "-n", "1", program], capture_output=True, text=True, timeout=60)
        tap.ok(alone.returncode == 0 and alone.stdout == "sum 0\n", "without Egida it does nothing (%s)" % language, alone)
        result = h.run(h.egida_command(program, ranks=2, spec="pessimistic"), folder.path, 60)
        tap.ok(result.status == 0 and result.out == b"sum 1\n", "under Egida it runs (%s)" % language, result.tail())
        images = [c["number"] for c in h.history(folder.path, "checkpoints")]
        tap.ok(len(images) >= 4 and max(images) >= 2, "and has images beyond the first (%s)" % language, images)
tap.end()
