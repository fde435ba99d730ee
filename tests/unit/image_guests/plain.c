// A heap, a stack, floating point, and output to a file.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "tests/unit/image_harness.h"

static double sums[64];

static double deeper(int depth, double seed) {
  volatile double local[64];
  for (int i = 0; i < 64; i++) local[i] = seed + i;
  if (depth == 0) {
    image_point();
    return seed;
  }
  double below = deeper(depth - 1, seed * 1.000001);
  for (int i = 0; i < 64; i++) below += local[i] * 1e-6;
  return below;
}

int main(void) {
  size_t count = 300000;
  double *values = malloc(count * sizeof *values), sum = 0;
  for (size_t i = 0; i < count; i++) values[i] = (double)i * 0.5;
  for (int round = 0; round < 10; round++) {
    for (size_t i = 0; i < count; i++) {
      values[i] = sin(values[i]) + round;
      sum += values[i];
    }
    sums[round] = sum + deeper(100, sum);
    printf("round %d: %.17g %.17g\n", round, sum, sums[round]);
    if (round % 3 == 0) fflush(stdout);
    char *fresh = malloc((size_t)(round + 1) << 20);
    fresh[round << 19] = 1;
    if (round % 2) free(fresh);
  }
  free(values);
  return 0;
}
