// Shared by the test programs. Each program checks itself: it prints "NAME: ok HASH" from rank 0 and ends with status 0, or says
// what is wrong and aborts with status 99. Results don't depend on timing unless the program says so (then HASH is left out).
//
// Arguments of nearly all programs: [ITERATIONS [PACE]], PACE in microseconds of sleep per iteration: campaigns make a run long with it
// without using the processor.
#ifndef TESTS_PROGRAMS_CHECK_H
#define TESTS_PROGRAMS_CHECK_H

#include <inttypes.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int rank, size;
static int iterations;
static long pace_us;

#define FAIL(...)                                                                                                      \
  do {                                                                                                                 \
    fprintf(stderr, "%s:%d: rank %d: FAILED: ", __FILE__, __LINE__, rank);                                             \
    fprintf(stderr, __VA_ARGS__);                                                                                      \
    fputc('\n', stderr);                                                                                               \
    MPI_Abort(MPI_COMM_WORLD, 99);                                                                                     \
  } while (0)
#define CHECK(condition, ...)                                                                                          \
  do {                                                                                                                 \
    if (!(condition)) FAIL(__VA_ARGS__);                                                                               \
  } while (0)

static inline uint64_t mix(uint64_t h, uint64_t value) {
  h ^= value + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
  h *= 0xbf58476d1ce4e5b9ull;
  return h ^ (h >> 29);
}

static inline uint64_t mix_bytes(uint64_t h, const void *data, size_t length) {
  const unsigned char *p = data;
  uint64_t word;
  for (; length >= 8; p += 8, length -= 8) {
    memcpy(&word, p, 8);
    h = mix(h, word);
  }
  for (; length > 0; p++, length--) h = mix(h, *p);
  return h;
}

// splitmix64
static inline uint64_t next_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

static inline void start(int *argc, char ***argv, int default_iterations) {
  MPI_Init(argc, argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  iterations = *argc > 1 ? atoi((*argv)[1]) : default_iterations;
  pace_us = *argc > 2 ? atol((*argv)[2]) : 0;
}

static inline void pace(void) {
  struct timespec left = {.tv_sec = pace_us / 1000000, .tv_nsec = pace_us % 1000000 * 1000};
  if (pace_us > 0)
    while (nanosleep(&left, &left) != 0) continue; // a signal handler of the program may interrupt it
}

// A computation whose result the compiler cannot foresee; one unit is about a microsecond.
static inline double burn(long units) {
  volatile double x = 1.0;
  for (long i = 0; i < units * 200; i++) x = x * 1.0000001 + 1e-9;
  return x;
}

static inline void finish(const char *name, uint64_t hash) {
  uint64_t sum = 0;
  hash = mix(hash, (uint64_t)rank);
  MPI_Reduce(&hash, &sum, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
  if (rank == 0) printf("%s: ok %016" PRIx64 "\n", name, sum);
  MPI_Finalize();
}

// For programs whose history depends on timing: only that all is consistent is printed.
static inline void finish_plain(const char *name) {
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) printf("%s: ok\n", name);
  MPI_Finalize();
}

#endif
