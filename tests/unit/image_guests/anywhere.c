// Images from a signal handler, at arbitrary instructions of numerical code. The handler is called by an interval timer; IMAGE_EVERY
// milliseconds, at most IMAGE_COUNT times.
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include "tests/unit/image_harness.h"

static int left;

static void on_alarm(int number) {
  (void)number;
  if (left > 0) {
    left--;
    image_now();
  }
}

int main(void) {
  const char *every = getenv("IMAGE_EVERY"), *count = getenv("IMAGE_COUNT");
  if (every != NULL && count != NULL) {
    left = atoi(count);
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, atoi(every) * 1000}, {0, atoi(every) * 1000}};
    setitimer(ITIMER_REAL, &timer, NULL);
  }
  double x = 0.1, y = 0.2, z = 0.3;
  long double wide = 1.5L;
  unsigned long hash = 1469598103934665603ul;
  char *blocks[32] = {0};
  for (long i = 0; i < 6000000; i++) {
    double nx = x + 0.001 * 10 * (y - x), ny = y + 0.001 * (x * (28 - z) - y), nz = z + 0.001 * (x * y - 8.0 / 3 * z);
    x = nx, y = ny, z = nz;
    wide = wide * 1.0000001L - 0.0000001L * (long double)z;
    if (i % 64 == 0) { // the allocator and string functions of the C library
      char **block = &blocks[i / 64 % 32];
      size_t size = (size_t)(i * 7919 % 5000) + 1;
      free(*block);
      *block = malloc(size);
      memset(*block, (int)(i & 0x7f), size);
      for (size_t k = 0; k < size; k += 97) hash = (hash ^ (unsigned char)(*block)[k]) * 1099511628211ul;
    }
  }
  printf("%.17g %.17g %.17g %.20Lg %lx\n", x, y, z, wide, hash);
  return 0;
}
