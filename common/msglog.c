#include "common/msglog.h"
#include <string.h>
#include "common/status.h"

#define PAGE 4096ull
#define POPULATE_STEP (2ull << 20)
#define BLOCK_PAGES_MAX 64u // 256 KiB
#define LOCATE_TRIES 1000u

static unsigned class_of(uint64_t bytes) { // largest class that is not larger than `bytes`
  unsigned class = 63u - (unsigned)__builtin_clzll(bytes / PAGE);
  return class < EGD_LOG_CLASSES ? class : EGD_LOG_CLASSES - 1;
}

// ---- space: LIFO lists of power-of-two pieces, so that memory that is still in the caches is used first -------------

static void space_give(struct egd_log *log, struct egd_log_space *space, uint64_t offset, unsigned class) {
  *(uint64_t *)egd_at(log->seg, offset) = space->free_list[class];
  space->free_list[class] = offset;
  space->free_bytes += PAGE << class;
}

static void space_give_run(struct egd_log *log, struct egd_log_space *space, uint64_t offset, uint64_t length) {
  while (length) {
    unsigned class = class_of(length);
    space_give(log, space, offset, class);
    offset += PAGE << class;
    length -= PAGE << class;
  }
}

// Give all runs of pages whose bit is `value`.
static void give_marked(struct egd_log *log, struct egd_log_space *space, const uint64_t *bits, uint64_t npages,
                        bool value) {
  for (uint64_t i = 0; i < npages;) {
    uint64_t j = i;
    while (j < npages && (bits[j / 64] >> j % 64 & 1) == value) j++;
    if (j > i) space_give_run(log, space, space->begin + i * PAGE, (j - i) * PAGE);
    i = j + 1;
  }
}

static uint64_t space_take_free(struct egd_log *log, struct egd_log_space *space, unsigned class) {
  unsigned from = class;
  while (from < EGD_LOG_CLASSES && !space->free_list[from]) from++;
  if (from == EGD_LOG_CLASSES) return 0;
  uint64_t offset = space->free_list[from];
  space->free_list[from] = *(uint64_t *)egd_at(log->seg, offset);
  space->free_bytes -= PAGE << from;
  while (from > class) { // split, keep the lower half
    from--;
    space_give(log, space, offset + (PAGE << from), from);
  }
  return offset;
}

static uint64_t space_take_fresh(struct egd_log *log, struct egd_log_space *space, unsigned class) {
  uint64_t size = PAGE << class;
  if (space->end - space->bump < size) return 0;
  if (space == &log->spill) {
    if (!log->hooks->grow_spill || !log->hooks->grow_spill(space->bump & ~EGD_SPILL_BIT, size)) return 0;
  } else if (log->hooks->populate && space->bump + size > space->populated) {
    uint64_t to = (space->bump + size + POPULATE_STEP - 1) & ~(POPULATE_STEP - 1);
    if (to > space->end) to = space->end;
    log->hooks->populate(egd_at(log->seg, space->populated), to - space->populated);
    space->populated = to;
  }
  uint64_t offset = space->bump;
  space->bump += size;
  return offset;
}

static void note_use(struct egd_log *log) {
  struct egd_rank_cb *cb = egd_cb(log->seg, log->rank);
  uint64_t used = egd_log_used(log);
  atomic_store_explicit(&cb->log_bytes, used, memory_order_relaxed);
  if (used > atomic_load_explicit(&cb->log_peak, memory_order_relaxed))
    atomic_store_explicit(&cb->log_peak, used, memory_order_relaxed);
  atomic_store_explicit(&cb->log_spilled, log->spill.bump - log->spill.begin - log->spill.free_bytes,
                        memory_order_relaxed);
}

// Join neighbouring free pieces again: without it, pieces that were split for small payloads never serve a block.
static bool space_join(struct egd_log *log, struct egd_log_space *space, uint64_t wanted) {
  uint64_t npages = (space->bump - space->begin) / PAGE, bytes = (npages + 63) / 64 * 8;
  if (space->free_bytes < wanted) return false;
  uint64_t *bits = log->hooks->allocate(bytes);
  memset(bits, 0, bytes);
  for (unsigned class = 0; class < EGD_LOG_CLASSES; class ++) {
    for (uint64_t at = space->free_list[class]; at; at = *(uint64_t *)egd_at(log->seg, at))
      for (uint64_t i = (at - space->begin) / PAGE, n = 1ull << class; n; i++, n--) bits[i / 64] |= 1ull << i % 64;
    space->free_list[class] = 0;
  }
  space->free_bytes = 0;
  give_marked(log, space, bits, npages, true);
  log->hooks->release(bits, bytes);
  return true;
}

// One piece of at most `bytes` (a multiple of a page): memory first, smaller pieces rather than the spill file.
static uint64_t take(struct egd_log *log, uint32_t dest, uint64_t bytes, bool whole, uint64_t *ret_bytes) {
  unsigned class = class_of(bytes);
  uint64_t offset = space_take_free(log, &log->memory, class);
  if (!offset && egd_log_collect(log, dest)) offset = space_take_free(log, &log->memory, class);
  if (!offset) offset = space_take_fresh(log, &log->memory, class);
  if (!offset) {
    for (uint32_t other = 0; other < log->seg->nranks; other++)
      if (other != dest) egd_log_collect(log, other);
    offset = space_take_free(log, &log->memory, class);
  }
  if (!offset && whole && space_join(log, &log->memory, PAGE << class))
    offset = space_take_free(log, &log->memory, class);
  if (!offset && !whole) {
    unsigned smaller = class;
    while (!offset && smaller-- > 0) offset = space_take_free(log, &log->memory, smaller);
    if (offset) class = smaller;
  }
  if (!offset) {
    offset = space_take_free(log, &log->spill, class);
    // On a new node the room between what came with the image is only a hole in the file.
    if (offset && !log->hooks->grow_spill(offset & ~EGD_SPILL_BIT, PAGE << class)) {
      space_give(log, &log->spill, offset, class);
      offset = 0;
    }
    if (!offset) offset = space_take_fresh(log, &log->spill, class);
  }
  if (offset) *ret_bytes = PAGE << class;
  return offset;
}

static void give(struct egd_log *log, uint64_t offset, uint64_t length) {
  space_give_run(log, offset & EGD_SPILL_BIT ? &log->spill : &log->memory, offset, length);
}

static void free_extents(struct egd_log *log, uint64_t first) {
  // A descriptor stands at the start of its own piece, so each is read before its piece goes.
  for (uint64_t at = first; at;) {
    const struct egd_extent *extent = egd_at(log->seg, at);
    uint64_t next = extent->next, pages = extent->pages;
    give(log, at, pages * PAGE);
    at = next;
  }
}

// ---- attach: what is reachable is in use ----------------------------------------------------------------------------

struct marks {    // of one space
  uint64_t *bits; // pages in use; NULL: only `top` is wanted
  uint64_t begin, npages;
  uint64_t top; // end of the highest piece in use
};

struct both_marks {
  struct marks memory, spill;
};

static void mark(struct both_marks *both, uint64_t offset, uint64_t pages) {
  struct marks *marks = offset & EGD_SPILL_BIT ? &both->spill : &both->memory;
  if (marks->bits) {
    if (offset < marks->begin || offset >= marks->begin + marks->npages * PAGE) return;
    uint64_t first = (offset - marks->begin) / PAGE;
    for (uint64_t i = first; i < first + pages && i < marks->npages; i++) marks->bits[i / 64] |= 1ull << (i % 64);
  }
  if (offset + pages * PAGE > marks->top) marks->top = offset + pages * PAGE;
}

static void mark_record(struct egd_log *log, struct both_marks *marks, const struct egd_record *record) {
  for (uint64_t at = record->payload; at;) {
    const struct egd_extent *extent = egd_at(log->seg, at);
    mark(marks, at, extent->pages);
    at = extent->next;
  }
}

static void open_marks(struct egd_log *log, struct marks *marks, uint64_t npages) {
  size_t bytes = (npages + 63) / 64 * 8;
  marks->npages = npages;
  marks->bits = log->hooks->allocate(bytes);
  memset(marks->bits, 0, bytes);
}

static void close_marks(struct egd_log *log, struct marks *marks, struct egd_log_space *space) {
  space->bump = marks->top;
  give_marked(log, space, marks->bits, (marks->top - marks->begin) / PAGE, false);
  log->hooks->release(marks->bits, (marks->npages + 63) / 64 * 8);
}

static void attach_channel(struct egd_log *log, struct both_marks *marks, uint32_t dest) {
  struct egd_channel *channel = egd_channel(log->seg, log->rank, dest);
  struct egd_log_cursor *oldest = &log->oldest[dest];
  *oldest = (struct egd_log_cursor){.next_pages = 1};
  uint64_t block_at = atomic_load(&channel->head);
  if (atomic_load(&channel->generation) & 1) atomic_fetch_add(&channel->generation, 1);
  if (!block_at) { // a first block that was not yet named is free
    atomic_store(&channel->tail, 0);
    channel->tail_end = 0;
    return;
  }
  const struct egd_block *block = egd_at(log->seg, block_at);
  mark(marks, block_at, block->pages);
  uint64_t ssn = block->first_ssn;
  atomic_store(&channel->head_ssn, ssn);
  uint64_t at = block_at + sizeof(struct egd_block);
  *oldest = (struct egd_log_cursor){.offset = at, .block = block_at, .ssn = ssn, .next_pages = block->pages};
  for (;;) {
    struct egd_record *record = egd_at(log->seg, at);
    uint64_t commit = atomic_load_explicit(&record->commit, memory_order_acquire);
    if (commit == EGD_LOG_LINK_COMMIT) {
      block_at = record->payload;
      block = egd_at(log->seg, block_at);
      mark(marks, block_at, block->pages);
      at = block_at + sizeof(struct egd_block);
      continue;
    }
    if (commit != ssn + 1) break;
    mark_record(log, marks, record);
    at += egd_record_size(record);
    ssn++;
  }
  oldest->next_pages = block->pages < BLOCK_PAGES_MAX ? block->pages * 2 : BLOCK_PAGES_MAX;
  atomic_store((_Atomic uint64_t *)egd_at(log->seg, at), 0);
  channel->tail_end = block_at + block->pages * PAGE;
  atomic_store(&channel->tail, at);
  atomic_store(&channel->published, ssn);
}

static uint64_t arena_begin(const struct egd_segment *seg, uint32_t rank) {
  return (egd_slice(seg, rank) + EGD_SLICE_ARENA + POPULATE_STEP - 1) & ~(POPULATE_STEP - 1);
}

static void attach_range(struct egd_log *log, struct egd_segment *seg, uint32_t rank, bool keep, uint64_t begin,
                         uint64_t end, const struct egd_log_hooks *hooks) {
  *log = (struct egd_log){.seg = seg, .hooks = hooks, .rank = rank, .keep = keep};
  log->memory = (struct egd_log_space){.begin = begin, .bump = begin, .end = end, .populated = begin};
  uint64_t spill_size = egd_spill_slice_size(seg->nranks);
  uint64_t spill = EGD_SPILL_BIT | rank * spill_size;
  log->spill = (struct egd_log_space){.begin = spill + PAGE, .bump = spill + PAGE, .end = spill + spill_size};
  log->oldest = hooks->allocate(seg->nranks * sizeof(*log->oldest));

  struct both_marks marks = {.memory = {.begin = begin, .top = begin},
                             .spill = {.begin = log->spill.begin, .top = log->spill.begin}};
  open_marks(log, &marks.memory, (end - begin) / PAGE);
  for (uint32_t dest = 0; dest < seg->nranks; dest++) attach_channel(log, &marks, dest);
  if (marks.spill.top > marks.spill.begin) { // seldom: a second walk finds the holes between what was spilled
    open_marks(log, &marks.spill, (marks.spill.top - marks.spill.begin) / PAGE);
    for (uint32_t dest = 0; dest < seg->nranks; dest++) attach_channel(log, &marks, dest);
    close_marks(log, &marks.spill, &log->spill);
  }
  close_marks(log, &marks.memory, &log->memory);
  log->memory.populated = log->memory.bump;
  note_use(log);
}

void egd_log_attach(struct egd_log *log, struct egd_segment *seg, uint32_t rank, bool keep, uint64_t limit,
                    const struct egd_log_hooks *hooks) {
  uint64_t begin = arena_begin(seg, rank), end = egd_mirror_begin(seg, rank);
  limit &= ~(PAGE - 1);
  if (limit < POPULATE_STEP) limit = POPULATE_STEP;
  if (limit < end - begin) end = begin + limit;
  attach_range(log, seg, rank, keep, begin, end, hooks);
}

void egd_log_attach_mirror(struct egd_log *log, struct egd_segment *seg, uint32_t rank,
                           const struct egd_log_hooks *hooks) {
  uint64_t end = egd_slice(seg, rank) + seg->slice_size;
  attach_range(log, seg, rank, false, egd_mirror_begin(seg, rank), end, hooks);
}

void egd_log_detach(struct egd_log *log) {
  log->hooks->release(log->oldest, log->seg->nranks * sizeof(*log->oldest));
  log->oldest = NULL;
}

// ---- writing --------------------------------------------------------------------------------------------------------

static void zero_commit(struct egd_log *log, uint64_t offset) {
  atomic_store_explicit((_Atomic uint64_t *)egd_at(log->seg, offset), 0, memory_order_relaxed);
}

static bool new_block(struct egd_log *log, uint32_t dest, uint64_t record_size) {
  struct egd_channel *channel = egd_channel(log->seg, log->rank, dest);
  struct egd_log_cursor *oldest = &log->oldest[dest];
  uint64_t bytes = oldest->next_pages * PAGE, got;
  if (bytes < record_size + 128 + PAGE) bytes = 2 * PAGE;
  if (record_size <= 1024 && oldest->next_pages == 1) bytes = PAGE;
  uint64_t at = take(log, dest, bytes, true, &got);
  if (!at && bytes > 2 * PAGE) at = take(log, dest, 2 * PAGE, true, &got);
  if (!at) return false;
  struct egd_block *block = egd_at(log->seg, at);
  uint64_t ssn = atomic_load_explicit(&channel->published, memory_order_relaxed);
  *block = (struct egd_block){.pages = got / PAGE, .first_ssn = ssn};
  oldest->next_pages = got / PAGE < BLOCK_PAGES_MAX ? got / PAGE * 2 : BLOCK_PAGES_MAX;
  uint64_t first = at + sizeof(struct egd_block);
  zero_commit(log, first);
  uint64_t old_tail = atomic_load_explicit(&channel->tail, memory_order_relaxed);
  if (atomic_load_explicit(&channel->head, memory_order_relaxed) == 0) {
    *oldest = (struct egd_log_cursor){.offset = first, .block = at, .ssn = ssn, .next_pages = oldest->next_pages};
    channel->tail_end = at + got;
    atomic_store_explicit(&channel->tail, first, memory_order_release);
    atomic_store_explicit(&channel->head_ssn, ssn, memory_order_release);
    atomic_store_explicit(&channel->head, at, memory_order_release);
    return true;
  }
  struct egd_record *link = egd_at(log->seg, old_tail);
  link->kind = EGD_RECORD_LINK;
  link->length = 0;
  link->payload = at;
  atomic_store_explicit(&link->commit, EGD_LOG_LINK_COMMIT, memory_order_release);
  channel->tail_end = at + got;
  atomic_store_explicit(&channel->tail, first, memory_order_release);
  return true;
}

static bool add_extents(struct egd_log *log, uint32_t dest, struct egd_record *record, uint64_t length) {
  uint64_t *link = &record->payload;
  uint64_t left = length;
  while (left) {
    uint64_t want = left + sizeof(struct egd_extent), got;
    // A power of two of payload (the common case) should not cost a second piece for 32 bytes of descriptor.
    want = (want + PAGE - 1) & ~(PAGE - 1);
    uint64_t at = take(log, dest, want, false, &got);
    if (!at) {
      free_extents(log, record->payload);
      record->payload = 0;
      return false;
    }
    struct egd_extent *extent = egd_at(log->seg, at);
    uint64_t room = got - sizeof(struct egd_extent);
    *extent = (struct egd_extent){
        .data = at + sizeof(struct egd_extent), .length = left < room ? left : room, .pages = got / PAGE};
    left -= extent->length;
    *link = at;
    link = &extent->next;
  }
  note_use(log);
  return true;
}

struct egd_record *egd_log_open(struct egd_log *log, uint32_t dest, uint32_t kind, uint64_t imm, uint32_t cookie,
                                uint16_t header_length, uint64_t length) {
  struct egd_channel *channel = egd_channel(log->seg, log->rank, dest);
  bool is_inline = length <= EGD_INLINE_MAX;
  uint64_t size = (EGD_RECORD_HEADER + (is_inline ? length : 0) + 63) & ~63ull;
  uint64_t tail = atomic_load_explicit(&channel->tail, memory_order_relaxed);
  // Behind each record there is always room for a link.
  if (__builtin_expect(tail == 0 || tail + size + 64 > channel->tail_end, 0)) {
    if (!new_block(log, dest, size)) return NULL;
    tail = atomic_load_explicit(&channel->tail, memory_order_relaxed);
  }
  struct egd_record *record = egd_at(log->seg, tail);
  record->length = length;
  record->imm = imm;
  record->cookie = cookie;
  record->kind = (uint16_t)kind;
  record->header_length = header_length;
  record->payload = 0;
  if (!is_inline && !add_extents(log, dest, record, length)) return NULL;
  return record;
}

void egd_log_publish(struct egd_log *log, uint32_t dest, struct egd_record *record) {
  struct egd_channel *channel = egd_channel(log->seg, log->rank, dest);
  uint64_t ssn = atomic_load_explicit(&channel->published, memory_order_relaxed);
  uint64_t next = atomic_load_explicit(&channel->tail, memory_order_relaxed) + egd_record_size(record);
  zero_commit(log, next);
  atomic_store_explicit(&record->commit, ssn + 1, memory_order_release);
  atomic_store_explicit(&channel->tail, next, memory_order_release);
  atomic_store_explicit(&channel->published, ssn + 1, memory_order_release);
}

bool egd_log_collect(struct egd_log *log, uint32_t dest) {
  struct egd_log_cursor *oldest = &log->oldest[dest];
  if (!oldest->offset || log->hold) return false;
  _Atomic uint64_t *needed = log->keep ? egd_bounds(log->seg, dest) : egd_consumed(log->seg, dest);
  uint64_t bound = atomic_load_explicit(&needed[log->rank], memory_order_acquire);
  if (bound <= oldest->ssn) return false;
  struct egd_channel *channel = egd_channel(log->seg, log->rank, dest);
  uint64_t freed_before = log->memory.free_bytes + log->spill.free_bytes;
  uint64_t published = atomic_load_explicit(&channel->published, memory_order_relaxed);
  if (bound > published) bound = published;
  for (;;) {
    // Before the link is followed: a reader that wants record `bound` may still stand in front of it.
    if (oldest->ssn >= bound) break;
    struct egd_record *record = egd_at(log->seg, oldest->offset);
    uint64_t commit = atomic_load_explicit(&record->commit, memory_order_relaxed);
    if (commit == EGD_LOG_LINK_COMMIT) {
      uint64_t old_block = oldest->block;
      const struct egd_block *old = egd_at(log->seg, old_block);
      uint64_t pages = old->pages;
      oldest->block = record->payload;
      oldest->offset = record->payload + sizeof(struct egd_block);
      atomic_fetch_add_explicit(&channel->generation, 1, memory_order_acq_rel);
      atomic_store_explicit(&channel->head, oldest->block, memory_order_release);
      atomic_store_explicit(&channel->head_ssn, oldest->ssn, memory_order_release);
      atomic_fetch_add_explicit(&channel->generation, 1, memory_order_acq_rel);
      give(log, old_block, pages * PAGE);
      continue;
    }
    uint64_t size = egd_record_size(record);
    uint64_t extents = record->payload;
    if (extents) {
      record->payload = 0; // unreachable before it is free
      atomic_signal_fence(memory_order_seq_cst);
      free_extents(log, extents);
    }
    oldest->offset += size;
    oldest->ssn++;
  }
  note_use(log);
  return log->memory.free_bytes + log->spill.free_bytes > freed_before;
}

void egd_log_reset_channel(struct egd_log *log, uint32_t dest, uint64_t ssn) {
  struct egd_channel *channel = egd_channel(log->seg, log->rank, dest);
  uint64_t block_at = atomic_load(&channel->head);
  atomic_fetch_add(&channel->generation, 1);
  atomic_store(&channel->head, 0);
  atomic_store(&channel->tail, 0);
  channel->tail_end = 0;
  while (block_at) {
    const struct egd_block *block = egd_at(log->seg, block_at);
    uint64_t at = block_at + sizeof(struct egd_block), next = 0, pages = block->pages;
    for (;;) {
      const struct egd_record *record = egd_at(log->seg, at);
      uint64_t commit = atomic_load(&record->commit);
      if (commit == EGD_LOG_LINK_COMMIT) next = record->payload;
      if (commit == 0 || commit == EGD_LOG_LINK_COMMIT) break;
      at += egd_record_size(record);
      free_extents(log, record->payload);
    }
    give(log, block_at, pages * PAGE);
    block_at = next;
  }
  log->oldest[dest] = (struct egd_log_cursor){.ssn = ssn, .next_pages = 1};
  atomic_store(&channel->head_ssn, ssn);
  atomic_store(&channel->published, ssn);
  atomic_fetch_add(&channel->generation, 1);
  note_use(log);
}

// ---- reading --------------------------------------------------------------------------------------------------------

int egd_reader_locate(struct egd_reader *reader) {
  struct egd_channel *channel = egd_channel(reader->seg, reader->from, reader->to);
  unsigned tries = 0;
  for (;;) {
    uint64_t generation = atomic_load_explicit(&channel->generation, memory_order_acquire);
    uint64_t block = atomic_load_explicit(&channel->head, memory_order_acquire);
    if (!block) return EGD_ERR_NOT_FOUND;
    if (generation & 1) { // its writer is at it, or died at it: then its next incarnation makes it even
      if (++tries > LOCATE_TRIES) return EGD_ERR_NOT_FOUND;
      continue;
    }
    uint64_t ssn = atomic_load_explicit(&channel->head_ssn, memory_order_acquire);
    bool lost = ssn > reader->ssn;
    uint64_t at = block + sizeof(struct egd_block);
    while (!lost && ssn < reader->ssn) {
      const struct egd_record *record = egd_at(reader->seg, at);
      uint64_t commit = atomic_load_explicit(&record->commit, memory_order_acquire);
      if (commit == EGD_LOG_LINK_COMMIT) {
        uint64_t next = record->payload;
        // In a block that went away meanwhile this is no link, but somebody's data.
        if (atomic_load_explicit(&channel->generation, memory_order_acquire) != generation) break;
        at = next + sizeof(struct egd_block);
      } else if (commit == ssn + 1) {
        at += egd_record_size(record);
        ssn++;
      } else {
        break;
      }
    }
    // The walk only counts if no block went away under it.
    if (atomic_load_explicit(&channel->generation, memory_order_acquire) != generation) continue;
    if (lost) return EGD_ERR_LOST;
    if (ssn < reader->ssn) return EGD_ERR_NOT_FOUND;
    reader->offset = at;
    return EGD_OK;
  }
}

const struct egd_record *egd_reader_peek_slow(struct egd_reader *reader) {
  if (!reader->offset && egd_reader_locate(reader) != EGD_OK) return NULL;
  for (;;) {
    const struct egd_record *record = egd_at(reader->seg, reader->offset);
    uint64_t commit = atomic_load_explicit(&record->commit, memory_order_acquire);
    if (commit == EGD_LOG_LINK_COMMIT)
      reader->offset = record->payload + sizeof(struct egd_block);
    else
      return commit == reader->ssn + 1 ? record : NULL;
  }
}

void egd_record_read(const struct egd_segment *seg, const struct egd_record *record, uint64_t offset, void *to,
                     size_t length) {
  if (record->length <= EGD_INLINE_MAX) {
    memcpy(to, record->inline_payload + offset, length);
    return;
  }
  unsigned char *out = to;
  for (uint64_t at = record->payload; at && length;) {
    const struct egd_extent *extent = egd_at(seg, at);
    if (offset < extent->length) {
      uint64_t n = extent->length - offset;
      if (n > length) n = length;
      memcpy(out, (const unsigned char *)egd_at(seg, extent->data) + offset, n);
      out += n;
      length -= n;
      offset = 0;
    } else {
      offset -= extent->length;
    }
    at = extent->next;
  }
}

const void *egd_record_contiguous(const struct egd_segment *seg, const struct egd_record *record) {
  if (record->length <= EGD_INLINE_MAX) return record->inline_payload;
  const struct egd_extent *extent = egd_at(seg, record->payload);
  return extent->next ? NULL : egd_at(seg, extent->data);
}
