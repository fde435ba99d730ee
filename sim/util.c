// Memory that ends with the run, lists with positions, dice, trace.
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "sim/world.h"

uint64_t sim_mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9E3779B97F4A7C15ull ^ (b + 0xD1B54A32D192ED03ull);
  x ^= x >> 32;
  x *= 0xBF58476D1CE4E5B9ull;
  x ^= x >> 29;
  x *= 0x94D049BB133111EBull;
  return x ^ x >> 32;
}

uint32_t sim_dice(struct sim_world *w, uint32_t sides) {
  w->random += 0x9E3779B97F4A7C15ull;
  return (uint32_t)((sim_mix(w->random, 1) >> 32) * sides >> 32);
}

// ---- memory -----------------------------------------------------------------------------------------------------------

_Static_assert(sizeof(struct sim_block) % 16 == 0, "what follows a block's head is aligned");

// A crash may hit anywhere in a rank's code: what that code had allocated is found through the world.
void *sim_alloc(struct sim_world *w, size_t size) {
  struct sim_block *block = calloc(1, sizeof(*block) + size);
  if (!block) {
    w->exhausted = true;
    longjmp(w->end, 1);
  }
  block->next = w->blocks.next;
  block->previous = &w->blocks;
  block->next->previous = block;
  w->blocks.next = block;
  return block + 1;
}

void sim_free(void *memory) {
  if (!memory) return;
  struct sim_block *block = (struct sim_block *)memory - 1;
  block->next->previous = block->previous;
  block->previous->next = block->next;
  free(block);
}

void *sim_grow(struct sim_world *w, void *old, size_t old_size, size_t size) {
  void *larger = sim_alloc(w, size);
  if (old_size) memcpy(larger, old, old_size);
  sim_free(old);
  return larger;
}

void sim_free_all(struct sim_world *w) {
  for (struct sim_block *block = w->blocks.next, *next; block != &w->blocks; block = next) {
    next = block->next;
    free(block);
  }
}

// ---- lists ------------------------------------------------------------------------------------------------------------

void sim_list_push(struct sim_world *w, struct sim_list *list, uint64_t value) {
  size_t count = list->head - list->base;
  if (count == list->size) {
    list->size = count ? 2 * count : 8;
    list->items = sim_grow(w, list->items, count * sizeof(value), list->size * sizeof(value));
  }
  list->items[count] = value;
  list->head++;
}

void sim_list_free_below(struct sim_list *list, uint64_t bound) {
  if (bound > list->head) bound = list->head;
  if (bound <= list->base) return;
  memmove(list->items, list->items + (bound - list->base), (list->head - bound) * sizeof(*list->items));
  list->base = bound;
}

void sim_list_copy(struct sim_world *w, struct sim_list *to, const struct sim_list *from) {
  sim_free(to->items);
  *to = (struct sim_list){.base = from->base, .head = from->head, .size = from->head - from->base};
  if (!to->size) return;
  to->items = sim_alloc(w, to->size * sizeof(*to->items));
  memcpy(to->items, from->items, to->size * sizeof(*to->items));
}

void sim_list_clear(struct sim_list *list, uint64_t position) {
  list->base = list->head = position;
}

void sim_bytes_put(struct sim_world *w, struct sim_bytes *bytes, uint64_t position, const void *data, size_t length) {
  size_t offset = position - bytes->base;
  if (offset + length > bytes->size) {
    size_t size = 2 * (offset + length) + 64;
    bytes->data = sim_grow(w, bytes->data, bytes->head - bytes->base, size);
    bytes->size = size;
  }
  if (length) memcpy(bytes->data + offset, data, length);
  if (position + length > bytes->head) bytes->head = position + length;
}

void sim_bytes_free_below(struct sim_bytes *bytes, uint64_t bound) {
  if (bound > bytes->head) bound = bytes->head;
  if (bound <= bytes->base) return;
  memmove(bytes->data, bytes->data + (bound - bytes->base), bytes->head - bound);
  bytes->base = bound;
}

void sim_bytes_clear(struct sim_bytes *bytes, uint64_t position) {
  bytes->base = bytes->head = position;
}

// ---- telling ----------------------------------------------------------------------------------------------------------

void sim_trace(struct sim_world *w, const char *format, ...) {
  FILE *to = w->options->trace;
  if (!to) return;
  va_list args;
  va_start(args, format);
  fprintf(to, "%8llu  ", (unsigned long long)w->step);
  vfprintf(to, format, args);
  fputc('\n', to);
  va_end(args);
}

void sim_violation(struct sim_world *w, const char *format, ...) {
  struct egd_sim_result *result = w->result;
  va_list args;
  va_start(args, format);
  vsnprintf(result->what, sizeof(result->what), format, args);
  va_end(args);
  result->violated = true;
  result->step = w->step;
  sim_trace(w, "VIOLATION: %s", result->what);
  longjmp(w->end, 1);
}
