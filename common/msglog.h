// The message log: records of one slice of the node segment, one channel per destination. The log is the channel.
//
// One writer per slice (the rank at home; the agent for a mirror of a remote rank), any number of readers. Records are
// appended, published by one store, never changed, and freed in ssn order once the receiver can never ask for them
// again.
//
// Crash safety: the writer may be killed at any instruction. What counts is only what is reachable from the channels:
// record.commit is stored after the record's contents, channel.tail/published after that. egd_log_attach() repairs a
// lagging tail and rebuilds the allocator from what is reachable; everything else is free. Layout:
// docs/formats/segment.md.
//
// No system calls, no malloc: memory and growth come through the caller's hooks. Not thread-safe.
#ifndef EGIDA_COMMON_MSGLOG_H
#define EGIDA_COMMON_MSGLOG_H

#include <stdbool.h>
#include <stddef.h>
#include "common/segment.h"

#define EGD_LOG_CLASSES 11 // allocations of 4 KiB << class, up to 4 MiB
#define EGD_LOG_LINK_COMMIT UINT64_MAX

// A block of a channel: this header, then records.
struct egd_block {
  uint64_t pages; // size of the block, 4 KiB pages
  uint64_t first_ssn;
  uint64_t reserved[6];
};
_Static_assert(sizeof(struct egd_block) == 64, "records stay aligned");

struct egd_log_hooks {
  void *(*allocate)(size_t size);
  void (*release)(void *p, size_t size);
  void (*populate)(void *address, size_t length); // fresh memory comes into use: fault it in at once; may be NULL
  // Make `length` bytes of the spill file at `offset` usable. false: no space.
  bool (*grow_spill)(uint64_t offset, uint64_t length);
};

struct egd_log_space { // one address range that is carved up
  uint64_t begin, bump, end, populated;
  uint64_t free_list[EGD_LOG_CLASSES];
  uint64_t free_bytes;
};

struct egd_log_cursor {
  uint64_t offset; // oldest record whose payload was not freed; 0 = channel empty
  uint64_t block;
  uint64_t ssn;
  uint64_t next_pages; // size of the next block
};

struct egd_log {
  struct egd_segment *seg;
  const struct egd_log_hooks *hooks;
  uint32_t rank;
  bool keep; // free by the receiver's oldest image (bounds) instead of by consumption
  bool hold; // free nothing while set: an image's writer reads the log
  struct egd_log_space memory, spill;
  struct egd_log_cursor *oldest; // [nranks]
};

/// Bind `log` to slice `rank`. Everything reachable stays; a new slice is empty. `keep`: see the struct; the spill file
/// is used if `hooks->grow_spill`.
void egd_log_attach(struct egd_log *log, struct egd_segment *seg, uint32_t rank, bool keep, uint64_t limit,
                    const struct egd_log_hooks *hooks);
/// The same for the agent's mirror of a rank that lives elsewhere: its memory is the other half of the slice, so that it can stay for a
/// while when the rank comes here and writes its own log again.
void egd_log_attach_mirror(struct egd_log *log, struct egd_segment *seg, uint32_t rank,
                           const struct egd_log_hooks *hooks);
/// Give the arrays of `log` back (not the slice's content).
void egd_log_detach(struct egd_log *log);

/// Begin a record to `dest`: room for `length` payload bytes, fields set, not visible. NULL: neither memory nor spill
/// space is left (nothing changed).
struct egd_record *egd_log_open(struct egd_log *log, uint32_t dest, uint32_t kind, uint64_t imm, uint32_t cookie,
                                uint16_t header_length, uint64_t length);
/// Make the record visible with the next ssn. Does not wake anybody.
void egd_log_publish(struct egd_log *log, uint32_t dest, struct egd_record *record);
/// Free what the receiver needs no more; true if anything was freed.
bool egd_log_collect(struct egd_log *log, uint32_t dest);
/// Start channel `dest` anew, empty, the next record being `ssn` (mirrors only, while nobody reads).
void egd_log_reset_channel(struct egd_log *log, uint32_t dest, uint64_t ssn);
/// Bytes in use (allocated and not free) in memory.
static inline uint64_t egd_log_used(const struct egd_log *log) {
  return log->memory.bump - log->memory.begin - log->memory.free_bytes;
}

struct egd_reader {
  struct egd_segment *seg;
  uint32_t from, to;
  uint64_t offset; // where the next record will stand; 0 = not located yet
  uint64_t ssn;    // of the next record
};

static inline void egd_reader_init(struct egd_reader *reader, struct egd_segment *seg, uint32_t from, uint32_t to,
                                   uint64_t ssn) {
  *reader = (struct egd_reader){.seg = seg, .from = from, .to = to, .ssn = ssn};
}
/// Locate ssn in the channel. EGD_ERR_NOT_FOUND: the channel is still empty; EGD_ERR_LOST: ssn was freed already.
int egd_reader_locate(struct egd_reader *reader);
/// The next record, or NULL if it is not published yet. The reader does not move. Follows links.
const struct egd_record *egd_reader_peek_slow(struct egd_reader *reader);
static inline uint64_t egd_record_size(const struct egd_record *record) {
  uint64_t inline_length = record->payload == 0 && record->kind != EGD_RECORD_LINK ? record->length : 0;
  if (inline_length > EGD_INLINE_MAX) inline_length = 0; // its extents were freed
  return (EGD_RECORD_HEADER + inline_length + 63) & ~63ull;
}
static inline const struct egd_record *egd_reader_peek(struct egd_reader *reader) {
  if (reader->offset) {
    const struct egd_record *record = egd_at(reader->seg, reader->offset);
    uint64_t commit = atomic_load_explicit(&record->commit, memory_order_acquire);
    if (commit == 0) return NULL;
    if (commit == reader->ssn + 1) return record;
  }
  return egd_reader_peek_slow(reader);
}
static inline void egd_reader_advance(struct egd_reader *reader, const struct egd_record *record) {
  reader->offset += egd_record_size(record);
  reader->ssn++;
}

/// Copy [offset, offset+length) of the record's payload to `to`.
void egd_record_read(const struct egd_segment *seg, const struct egd_record *record, uint64_t offset, void *to,
                     size_t length);
/// Address of the payload if it is in one piece, else NULL.
const void *egd_record_contiguous(const struct egd_segment *seg, const struct egd_record *record);

#endif
