// Memory of all kinds: heap churn, large allocations, mmap, mprotect, deep stack, thread-local data, a big table: all must survive in images.
#include "check.h"
#include <sys/mman.h>

static _Thread_local uint64_t local = 11;
static uint64_t table[1 << 18];
static const char *const words[] = {"Achilles", "Briseis", "Chryses", "Diomedes"};

static uint64_t deep(int depth, uint64_t seed) {
  volatile uint64_t frame[64];
  for (int i = 0; i < 64; i++) frame[i] = mix(seed, (uint64_t)(depth * 64 + i));
  uint64_t below = depth > 0 ? deep(depth - 1, frame[63]) : 0;
  for (int i = 0; i < 64; i++) below = mix(below, frame[i]);
  if (depth == 100) { // a message while the stack is deep
    uint64_t sum;
    MPI_Allreduce(&below, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    below = mix(below, sum);
  }
  return below;
}

int main(int argc, char **argv) {
  start(&argc, &argv, 30);
  enum { SLOTS = 500, MAPPED = 8 << 20 };
  void *slots[SLOTS] = {0};
  size_t sizes[SLOTS] = {0};
  uint64_t state = (uint64_t)rank, hash = 0;
  unsigned char *mapped = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mapped != MAP_FAILED, "mmap");
  for (int step = 0; step < iterations; step++) {
    for (int i = 0; i < 300; i++) {
      size_t k = next_random(&state) % SLOTS;
      if (slots[k]) {
        hash = mix(hash, *(uint64_t *)slots[k]);
        CHECK(*(uint64_t *)slots[k] == mix(k, sizes[k]), "step %d: slot %zu was overwritten", step, k);
        free(slots[k]);
      }
      sizes[k] = 8 + next_random(&state) % (i % 50 ? 2000 : 400000);
      slots[k] = malloc(sizes[k]);
      memset(slots[k], (int)k, sizes[k]);
      *(uint64_t *)slots[k] = mix(k, sizes[k]);
    }
    for (int i = 0; i < 2000; i++) {
      uint64_t r = next_random(&state);
      table[r % (1 << 18)] += r;
      mapped[r % MAPPED] ^= (unsigned char)step;
    }
    CHECK(mprotect(mapped, 4096, PROT_READ) == 0 && mprotect(mapped, 4096, PROT_READ | PROT_WRITE) == 0, "mprotect");
    void *passing = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(passing, step, 1 << 20);
    munmap(passing, 1 << 20);
    local = mix(local, (uint64_t)step);
    hash = mix(hash, deep(200, local));
    hash = mix_bytes(hash, words[step % 4], strlen(words[step % 4]));
    uint64_t sum;
    MPI_Allreduce(&hash, &sum, 1, MPI_UINT64_T, MPI_BXOR, MPI_COMM_WORLD);
    hash = mix(hash, sum);
    pace();
  }
  hash = mix_bytes(mix_bytes(hash, table, sizeof table), mapped, MAPPED);
  for (int i = 0; i < SLOTS; i++) free(slots[i]);
  munmap(mapped, MAPPED);
  finish("memory", hash);
  return 0;
}
