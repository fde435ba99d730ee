// The runtime's heap: power-of-two size classes on one private mapping at a fixed address, so that a rank's own heap
// and mmap layout are the same with and without us, and the same in a replay.
#include <string.h>
#include <sys/mman.h>
#include "runtime/internal.h"

#define HEAP_SIZE (1ull << 40)
#define MIN_SHIFT 4
#define CLASSES 40

static struct {
  unsigned char *bump, *end;
  void *free_list[CLASSES];
} heap;

static unsigned class_of(size_t size) {
  if (size <= 1u << MIN_SHIFT) return 0;
  return 64 - (unsigned)__builtin_clzll(size - 1) - MIN_SHIFT;
}

static void heap_open(void) {
  long base = egd_sys6(SYS_mmap, EGD_RUNTIME_HEAP_BASE, HEAP_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (base != (long)EGD_RUNTIME_HEAP_BASE) egd_die("cannot map the runtime's heap (error %d)", (int)-base);
  heap.bump = (unsigned char *)EGD_RUNTIME_HEAP_BASE;
  heap.end = heap.bump + HEAP_SIZE;
}

void *egd_alloc(size_t size) {
  unsigned class = class_of(size);
  if (class >= CLASSES) egd_die("a request for %lu bytes exceeds the runtime's heap", (unsigned long)size);
  void *p = heap.free_list[class];
  if (p) {
    heap.free_list[class] = *(void **)p;
    return p;
  }
  if (!heap.bump) heap_open();
  uint64_t rounded = 1ull << (class + MIN_SHIFT);
  if (rounded >= 4096) heap.bump = (unsigned char *)(((uintptr_t)heap.bump + 4095) & ~4095ull);
  if (rounded > (uint64_t)(heap.end - heap.bump)) egd_die("the runtime's heap is exhausted");
  p = heap.bump;
  heap.bump += rounded;
  return p;
}

void *egd_calloc(size_t size) {
  return memset(egd_alloc(size), 0, size);
}

void egd_free(void *p, size_t size) {
  if (!p) return;
  unsigned class = class_of(size);
  // Large pieces go back to the kernel, or each image would carry them.
  if (class + MIN_SHIFT >= 20) egd_sys3(SYS_madvise, p, 1ull << (class + MIN_SHIFT), MADV_DONTNEED);
  *(void **)p = heap.free_list[class];
  heap.free_list[class] = p;
}
