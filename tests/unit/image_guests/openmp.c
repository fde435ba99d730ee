// The runtime's own pool of threads sleeps while the image is taken and works again afterwards.
#include <math.h>
#include <stdio.h>
#include "tests/unit/image_harness.h"

static double field[100000];

int main(void) {
  for (int i = 0; i < 100000; i++) field[i] = i;
  for (int step = 0; step < 10; step++) {
#pragma omp parallel for schedule(static) num_threads(4)
    for (int i = 0; i < 100000; i++) field[i] = sqrt(field[i]) + sin(field[i] + step);
    image_point();
    double sum = 0;
    for (int i = 0; i < 100000; i++) sum += field[i];
    printf("%d %.17g\n", step, sum);
  }
  return 0;
}
