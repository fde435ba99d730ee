// MPI_THREAD_FUNNELED with threads that only compute: three helpers work on a shared array between the main thread's messages.
#include "check.h"
#include <pthread.h>

enum { HELPERS = 3, LENGTH = 30000 };
static pthread_barrier_t barrier;
static uint64_t cells[HELPERS][LENGTH];
static volatile int stop;

static void *helper(void *argument) {
  int me = (int)(intptr_t)argument;
  for (;;) {
    pthread_barrier_wait(&barrier);
    if (stop) return NULL;
    for (int i = 0; i < LENGTH; i++) cells[me][i] = mix(cells[me][i], (uint64_t)(i + me));
    pthread_barrier_wait(&barrier);
  }
}

int main(int argc, char **argv) {
  int provided;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  iterations = argc > 1 ? atoi(argv[1]) : 50;
  pace_us = argc > 2 ? atol(argv[2]) : 0;
  CHECK(provided >= MPI_THREAD_FUNNELED, "no funneled threads");
  pthread_barrier_init(&barrier, NULL, HELPERS + 1);
  pthread_t threads[HELPERS];
  for (int i = 0; i < HELPERS; i++)
    CHECK(pthread_create(&threads[i], NULL, helper, (void *)(intptr_t)i) == 0, "pthread_create");
  uint64_t hash = 0;
  for (int step = 0; step < iterations; step++) {
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < HELPERS; i++) hash = mix_bytes(hash, cells[i], sizeof cells[i]);
    uint64_t sum;
    MPI_Allreduce(&hash, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    cells[0][step % LENGTH] ^= sum;
    pace();
  }
  stop = 1;
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < HELPERS; i++) pthread_join(threads[i], NULL);
  finish("threads", hash);
  return 0;
}
