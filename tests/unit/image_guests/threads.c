// Three threads that compute, each with data of its own and thread-local variables; the main thread takes the images.
#include <pthread.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include "tests/unit/image_harness.h"

static _Thread_local double mine;
static atomic_int rounds[3];
static double results[3];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int turn;

static void *compute(void *arg) {
  int number = (int)(long)arg;
  mine = number + 1;
  for (int round = 0; round < 400; round++) {
    for (int i = 0; i < 20000; i++) mine = sin(mine) + 1.0 / (1 + i + number);
    atomic_store(&rounds[number], round + 1);
    if (round % 100 == 99) { // one after the other
      pthread_mutex_lock(&mutex);
      while (turn % 3 != number) pthread_cond_wait(&turned, &mutex);
      turn++;
      pthread_cond_broadcast(&turned);
      pthread_mutex_unlock(&mutex);
    }
  }
  results[number] = mine;
  return NULL;
}

int main(void) {
  pthread_t threads[3];
  for (long i = 0; i < 3; i++) pthread_create(&threads[i], NULL, compute, (void *)i);
  for (int i = 0; i < 8; i++) {
    while (atomic_load(&rounds[i % 3]) < 40 * (i + 1)) usleep(1000);
    image_point();
  }
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  // New threads can be made afterwards, too.
  pthread_t last;
  turn = 0;
  if (pthread_create(&last, NULL, compute, (void *)0) != 0) return 1;
  for (int i = 0; i < 4; i++) {
    pthread_mutex_lock(&mutex);
    while (turn % 3 == 0) pthread_cond_wait(&turned, &mutex);
    turn = 0;
    pthread_cond_broadcast(&turned);
    pthread_mutex_unlock(&mutex);
  }
  pthread_join(last, NULL);
  printf("%.17g %.17g %.17g\n", results[0], results[1], results[2]);
  return 0;
}
