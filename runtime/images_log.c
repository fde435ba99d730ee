#include "runtime/images_log.h"
#include <string.h>
#include "runtime/internal.h"

// tags of extras: a segment offset, or one of these
#define TAG_CHANNELS UINT64_MAX
#define TAG_OUTPUT (UINT64_MAX - 1)

struct output_counters {
  uint64_t position, acked;
};

static void add(struct egd_log_snapshot *snapshot, uint64_t tag, const void *data, uint64_t length) {
  if (snapshot->nextras == snapshot->capacity) {
    size_t capacity = snapshot->capacity ? snapshot->capacity * 2 : 256;
    struct egd_image_extra *larger = egd_alloc(capacity * sizeof(*larger));
    if (snapshot->extras) memcpy(larger, snapshot->extras, snapshot->nextras * sizeof(*larger));
    egd_free(snapshot->extras, snapshot->capacity * sizeof(*larger));
    snapshot->extras = larger;
    snapshot->capacity = capacity;
  }
  snapshot->extras[snapshot->nextras++] = (struct egd_image_extra){.tag = tag, .data = data, .length = length};
}

static void add_offset(struct egd_log_snapshot *snapshot, uint64_t offset, uint64_t length) {
  add(snapshot, offset, egd_at(egd_rank.seg, offset), length);
}

// Blocks up to the tail, and the payload of the records in them.
// An image taken in a replay ends where the replay is: what the log holds beyond may belong to a future that a lost node takes with it.
static void add_channel(struct egd_log_snapshot *snapshot, struct egd_channel *channel,
                        const struct egd_log_cursor *oldest, uint64_t sent) {
  uint64_t at = oldest->offset, block = oldest->block, from = block, ssn = oldest->ssn;
  if (!atomic_load(&channel->head)) return;
  uint64_t end = atomic_load(&channel->published);
  if (sent < end) end = sent > ssn ? sent : ssn;
  while (ssn < end) {
    const struct egd_record *record = egd_at(egd_rank.seg, at);
    if (record->kind == EGD_RECORD_LINK) {
      add_offset(snapshot, from, at + 64 - from);
      block = from = record->payload;
      at = block + sizeof(struct egd_block);
      continue;
    }
    for (uint64_t e = record->payload; e;) {
      const struct egd_extent *extent = egd_at(egd_rank.seg, e);
      add_offset(snapshot, e, extent->data - e + extent->length);
      e = extent->next;
    }
    at += egd_record_size(record);
    ssn++;
  }
  add_offset(snapshot, from, at - from);
  atomic_store(&channel->tail, at);
  atomic_store(&channel->published, ssn);
}

void egd_log_snapshot_make(struct egd_log_snapshot *ret_snapshot) {
  struct egd_segment *seg = egd_rank.seg;
  *ret_snapshot = (struct egd_log_snapshot){.channels_size = egd_rank.nranks * sizeof(struct egd_channel)};
  ret_snapshot->channels = egd_alloc(ret_snapshot->channels_size);
  memcpy(ret_snapshot->channels, egd_channel(seg, egd_rank.self, 0), ret_snapshot->channels_size);
  for (uint32_t peer = 0; peer < egd_rank.nranks; peer++)
    add_channel(ret_snapshot, (struct egd_channel *)ret_snapshot->channels + peer, &egd_rt.log.oldest[peer],
                egd_rt.state->peers[peer].sent);
  // After the blocks: when they are put back, another rank may look at the channels at any moment.
  add(ret_snapshot, TAG_CHANNELS, ret_snapshot->channels, ret_snapshot->channels_size);
  struct output_counters *output = ret_snapshot->output = egd_alloc(sizeof(*output));
  uint64_t acked = atomic_load(&egd_rank.cb->output_acked), position = egd_rt.state->output;
  *output = (struct output_counters){.position = position > acked ? position : acked, .acked = acked};
  add(ret_snapshot, TAG_OUTPUT, output, sizeof(*output));
  uint64_t ring = egd_slice(seg, egd_rank.self) + EGD_SLICE_OUTPUT;
  uint64_t begin = output->acked % EGD_OUTPUT_RING, length = output->position - output->acked;
  uint64_t first = begin + length > EGD_OUTPUT_RING ? EGD_OUTPUT_RING - begin : length;
  if (first) add_offset(ret_snapshot, ring + begin, first);
  if (length > first) add_offset(ret_snapshot, ring, length - first);
}

void egd_log_snapshot_drop(struct egd_log_snapshot *snapshot) {
  egd_free(snapshot->extras, snapshot->capacity * sizeof(*snapshot->extras));
  egd_free(snapshot->channels, snapshot->channels_size);
  egd_free(snapshot->output, sizeof(struct output_counters));
  *snapshot = (struct egd_log_snapshot){0};
}

static void put_back(void *arg, uint64_t tag, uint64_t offset, const void *data, size_t length) {
  struct egd_segment *seg = egd_rank.seg;
  if (tag == TAG_CHANNELS) {
    memcpy((unsigned char *)egd_channel(seg, egd_rank.self, 0) + offset, data, length);
  } else if (tag == TAG_OUTPUT) {
    struct output_counters counters;
    if (length != sizeof(counters)) return;
    memcpy(&counters, data, sizeof(counters));
    atomic_store(&egd_rank.cb->output_head, counters.position);
    atomic_store(&egd_rank.cb->output_taken, counters.acked);
    atomic_store(&egd_rank.cb->output_acked, counters.acked);
    egd_rt.output_from = counters.acked; // what was printed before is not here to be compared
  } else {
    if (tag & EGD_SPILL_BIT) egd_spill_reserve(tag & ~EGD_SPILL_BIT, length + offset);
    memcpy((unsigned char *)egd_at(seg, tag) + offset, data, length);
  }
}

void egd_log_snapshot_restore(const char *path) {
  int status = egd_image_read_extra(path, put_back, NULL);
  if (status != 0) egd_die("the log of sent messages in %s cannot be read back (error %d)", path, -status);
  // Behind the last record there may be the beginning of a later one.
  for (uint32_t peer = 0; peer < egd_rank.nranks; peer++) {
    struct egd_channel *channel = egd_channel(egd_rank.seg, egd_rank.self, peer);
    uint64_t tail = atomic_load(&channel->tail);
    if (tail) atomic_store((_Atomic uint64_t *)egd_at(egd_rank.seg, tail), 0);
  }
}
