// Messages in the hands of the adapter: their payload, and up to where each channel is done with. A kept message holds
// back everything behind it in its channel.
#include <string.h>
#include "common/status.h"
#include "runtime/internal.h"

// A kept message of another incarnation is looked up when it is used: its sender may have to repeat it first, and may
// need what this rank repeats before that point.
static const struct egd_record *record_of(const struct egd_message *message) {
  if (__builtin_expect(message->record != NULL, 1)) return message->record;
  struct egd_reader reader;
  egd_reader_init(&reader, egd_rank.seg, message->source, egd_rank.self, message->ssn);
  const struct egd_record *record;
  while (!(record = egd_reader_peek(&reader))) {
    if (atomic_load(&egd_rank.seg->home[message->source]) == egd_rank.seg->node &&
        egd_reader_locate(&reader) == EGD_ERR_LOST)
      egd_die("message %lu from rank %u, received but not yet used when the image was taken, is lost",
              (unsigned long)message->ssn, message->source);
    egd_pause();
  }
  ((struct egd_message *)(uintptr_t)message)->record = record;
  return record;
}

void egd_message_read(const struct egd_message *message, uint64_t offset, void *to, size_t length) {
  egd_record_read(egd_rank.seg, record_of(message), offset, to, length);
}

const void *egd_message_contiguous(const struct egd_message *message) {
  return egd_record_contiguous(egd_rank.seg, record_of(message));
}

void egd_message_refresh(struct egd_message *message) {
  message->record = NULL;
}

// ---- what is still needed -------------------------------------------------------------------------------------------

// Messages are kept in the order of their channel and done in any order. An entry is ssn * 2 + done; done ones go when
// they are the oldest.
struct egd_kept {
  uint64_t *entries;
  uint32_t first, end, capacity;
};

struct egd_kept *egd_kept_create(uint32_t nranks) {
  return egd_calloc(nranks * sizeof(struct egd_kept));
}

uint64_t egd_channel_consumed(uint32_t source) {
  const struct egd_kept *kept = &egd_rt.kept[source];
  return kept->first < kept->end ? kept->entries[kept->first] / 2 : egd_rt.state->peers[source].received;
}

static void make_room(struct egd_kept *kept) {
  uint32_t n = kept->end - kept->first;
  uint64_t *to = kept->entries;
  if (n >= kept->capacity / 2) {
    uint32_t capacity = kept->capacity ? kept->capacity * 2 : 16;
    to = egd_alloc(capacity * sizeof(*to));
    if (n) memcpy(to, kept->entries + kept->first, n * sizeof(*to));
    egd_free(kept->entries, kept->capacity * sizeof(*to));
    kept->capacity = capacity;
  } else {
    memmove(to, to + kept->first, n * sizeof(*to));
  }
  kept->entries = to;
  kept->first = 0;
  kept->end = n;
}

void egd_channels_keep(uint32_t source, uint64_t ssn) {
  struct egd_kept *kept = &egd_rt.kept[source];
  if (kept->end == kept->capacity) make_room(kept);
  kept->entries[kept->end++] = ssn * 2;
}

void egd_channels_took(uint32_t source) {
  atomic_store_explicit(&egd_consumed(egd_rank.seg, egd_rank.self)[source], egd_channel_consumed(source),
                        memory_order_release);
}

void egd_message_done(const struct egd_message *message) {
  struct egd_kept *kept = &egd_rt.kept[message->source];
  uint32_t low = kept->first, high = kept->end;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (kept->entries[middle] / 2 < message->ssn)
      low = middle + 1;
    else
      high = middle;
  }
  if (low < kept->end && kept->entries[low] / 2 == message->ssn) kept->entries[low] |= 1;
  while (kept->first < kept->end && kept->entries[kept->first] & 1) kept->first++;
  if (kept->first == kept->end) kept->first = kept->end = 0;
  egd_channels_took(message->source);
}
