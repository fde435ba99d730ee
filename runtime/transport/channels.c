// Channels: sending into the own log, reading out of the logs of others, sleeping and waking.
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <time.h>
#include "common/status.h"
#include "runtime/internal.h"

#define DOORBELL_FD (EGD_SEGMENT_FD + 3)
#define SPILL_FD (EGD_SEGMENT_FD + 4)
#define IDLE_LOOKS 64
#define HUGE_PAGE (2ul << 20)
#define SPILL_MAX (15ull << 40) // file systems end at 16 TiB

// ---- the log's hooks
// ---------------------------------------------------------------------------------------------------

static void populate(void *address, size_t length) {
  // Only a range that has a page can be collapsed. A kernel without that (before 6.1), or without room for huge pages, is
  // not asked again: it gets its pages one by one.
  static bool refused;
  bool whole = length >= HUGE_PAGE && (uintptr_t)address % HUGE_PAGE == 0 && length % HUGE_PAGE == 0;
  if (whole && !refused) {
    for (size_t at = 0; at < length; at += HUGE_PAGE) ((volatile char *)address)[at] = 0;
    refused = egd_sys3(SYS_madvise, address, length, 25 /* MADV_COLLAPSE */) != 0;
  }
  if (!whole || refused) egd_sys3(SYS_madvise, address, length, 23 /* MADV_POPULATE_WRITE */);
}

// Everybody on the node maps the spill file, so that whatever is read may lie there. It is sparse: nothing is used before somebody spills.
void egd_spill_map(void) {
  char path[600];
  size_t n = strlen(egd_rank.seg->node_dir);
  memcpy(path, egd_rank.seg->node_dir, n);
  memcpy(path + n, "/spill", 7);
  uint64_t size = egd_segment_size(egd_rank.nranks);
  if (size > SPILL_MAX) size = SPILL_MAX;
  long fd = egd_sys3(SYS_open, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), at = -1;
  if (fd >= 0) {
    egd_sys3(SYS_dup3, fd, SPILL_FD, O_CLOEXEC);
    egd_sys1(SYS_close, fd);
    // Its length follows what is reserved: many file systems have no files as long as the mapping.
    at = egd_sys6(SYS_mmap, EGD_SPILL_BASE, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
                  SPILL_FD, 0);
  }
  if (at != (long)EGD_SPILL_BASE) egd_die("cannot make or map %s (error %d)", path, fd < 0 ? (int)-fd : (int)-at);
}

bool egd_spill_reserve(uint64_t offset, uint64_t length) {
  return egd_sys4(SYS_fallocate, SPILL_FD, 0, offset, length) == 0;
}

static const struct egd_log_hooks hooks = {egd_alloc, egd_free, populate, egd_spill_reserve};

// ---- start and restart ----------------------------------------------------------------------------------------------

void egd_channels_init(void) {
  uint32_t n = egd_rank.nranks;
  egd_rt.readers = egd_calloc(n * sizeof(*egd_rt.readers));
  egd_rt.compare = egd_calloc(n * sizeof(*egd_rt.compare));
  egd_rt.kept = egd_kept_create(n);
  egd_rt.ready_words = (n + 63) / 64;
  egd_channels_restored();
}

void egd_channels_restored(void) {
  struct egd_segment *seg = egd_rank.seg;
  bool keep = seg->plan.flags & EGD_PLAN_LOG_MESSAGES;
  egd_log_attach(&egd_rt.log, seg, egd_rank.self, keep, seg->log_limit, &hooks);
  egd_rt.press_at = egd_rt.press_from = keep ? seg->log_limit / 2 : UINT64_MAX;
  egd_rt.full_at = keep ? seg->log_limit - seg->log_limit / 16 : UINT64_MAX;
  egd_rt.gave_up_at = UINT64_MAX;
  for (uint32_t peer = 0; peer < egd_rank.nranks; peer++) {
    egd_reader_init(&egd_rt.readers[peer], seg, peer, egd_rank.self, egd_rt.state->peers[peer].received);
    egd_reader_init(&egd_rt.compare[peer], seg, egd_rank.self, peer, egd_rt.state->peers[peer].sent);
    // Bits may have been cleared by the incarnation before: look at every channel once.
    if (peer != egd_rank.self) atomic_fetch_or(&egd_ready(seg, egd_rank.self)[peer / 64], 1ull << peer % 64);
  }
}

// ---- waking and sleeping ------------------------------------------------------------------------------------------

void egd_ring_doorbell(void) {
  static long opened_by; // the descriptor is not in images
  long pid = atomic_load_explicit(&egd_rank.cb->pid, memory_order_relaxed);
  if (opened_by != pid || egd_sys2(SYS_fcntl, DOORBELL_FD, F_GETFD) < 0) {
    char path[600];
    size_t n = strlen(egd_rank.seg->node_dir);
    memcpy(path, egd_rank.seg->node_dir, n);
    memcpy(path + n, "/doorbell", 10);
    long fd = egd_sys3(SYS_open, path, O_WRONLY | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0) return; // no agent now: a new one looks at everything
    egd_sys3(SYS_dup3, fd, DOORBELL_FD, O_CLOEXEC);
    egd_sys1(SYS_close, fd);
    opened_by = pid;
  }
  egd_sys3(SYS_write, DOORBELL_FD, "", 1);
}

static void wake(uint32_t dest) {
  struct egd_segment *seg = egd_rank.seg;
  _Atomic uint64_t *word = &egd_ready(seg, dest)[egd_rank.self / 64];
  uint64_t bit = 1ull << egd_rank.self % 64;
  // The fence orders the publication before the looks at the flags of the receiver.
  atomic_thread_fence(memory_order_seq_cst);
  if (!(atomic_load_explicit(word, memory_order_relaxed) & bit)) atomic_fetch_or(word, bit);
  if (atomic_load_explicit(&seg->home[dest], memory_order_relaxed) == seg->node) {
    struct egd_rank_cb *cb = egd_cb(seg, dest);
    if (atomic_load_explicit(&cb->sleeping, memory_order_relaxed)) {
      atomic_store(&cb->sleeping, 0);
      egd_sys4(SYS_futex, &cb->sleeping, FUTEX_WAKE, 1, 0);
    }
  } else if (atomic_load_explicit(&seg->agent_sleeping, memory_order_relaxed)) {
    egd_ring_doorbell();
  }
}

bool egd_anything_ready(void) {
  _Atomic uint64_t *ready = egd_ready(egd_rank.seg, egd_rank.self);
  for (uint32_t word = 0; word < egd_rt.ready_words; word++)
    for (uint64_t bits = atomic_load(&ready[word]); bits; bits &= bits - 1)
      if (egd_reader_peek(&egd_rt.readers[word * 64 + (uint32_t)__builtin_ctzll(bits)])) return true;
  return false;
}

static void sleep_unless(bool (*awaited)(uint32_t), uint32_t source, uint64_t timeout_ns) {
  struct egd_rank_cb *cb = egd_rank.cb;
  atomic_store(&cb->sleeping, 1);
  atomic_thread_fence(memory_order_seq_cst);
  if (!awaited(source)) {
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000), .tv_nsec = (long)(timeout_ns % 1000000000)};
    egd_sys4(SYS_futex, &cb->sleeping, FUTEX_WAIT, 1, &timeout);
  }
  atomic_store(&cb->sleeping, 0);
}

static bool anything(uint32_t source) {
  return egd_anything_ready() || atomic_load(&egd_rank.cb->attention);
}
void egd_sleep(uint64_t timeout_ns) {
  sleep_unless(anything, 0, timeout_ns);
}

static bool that_message(uint32_t source) {
  return egd_reader_peek(&egd_rt.readers[source]) || atomic_load(&egd_rank.cb->attention);
}
void egd_sleep_for(uint32_t source, uint64_t timeout_ns) {
  sleep_unless(that_message, source, timeout_ns);
}

void egd_pause(void) {
  struct timespec pause = {.tv_nsec = 200000};
  egd_sys2(SYS_nanosleep, &pause, 0);
}

// ---- the engine's view of the channels -----------------------------------------------------------------------------

static bool message_available(void *ctx, uint32_t source) {
  return egd_reader_peek(&egd_rt.readers[source]) != NULL;
}

// Round robin over the channels whose ready bit is set. A bit is cleared only after a channel was found empty many
// times, so that a busy channel costs its sender no write to a shared line.
static uint32_t ready_source(void *ctx) {
  _Atomic uint64_t *ready = egd_ready(egd_rank.seg, egd_rank.self);
  uint32_t words = egd_rt.ready_words, start = egd_rt.next_ready;
  for (uint32_t i = 0; i <= words; i++) {
    uint32_t word = (start / 64 + i) % words;
    uint64_t bits = atomic_load_explicit(&ready[word], memory_order_relaxed);
    if (i == 0) bits &= ~0ull << start % 64;
    if (i == words) bits &= ~(~0ull << start % 64);
    for (; bits; bits &= bits - 1) {
      uint32_t source = word * 64 + (uint32_t)__builtin_ctzll(bits);
      if (egd_reader_peek(&egd_rt.readers[source])) {
        egd_rt.next_ready = (source + 1) % (words * 64);
        return source;
      }
    }
  }
  if (egd_rank.nranks <= 8) return UINT32_MAX; // few peers: looking at all costs less than clearing
  for (uint32_t word = 0; word < words; word++) {
    uint64_t bits = atomic_load_explicit(&ready[word], memory_order_relaxed);
    if (!bits || ++egd_rt.ready_idle[word] < IDLE_LOOKS) continue;
    egd_rt.ready_idle[word] = 0;
    atomic_fetch_and(&ready[word], ~bits);
    for (uint64_t again = bits; again; again &= again - 1)
      if (egd_reader_peek(&egd_rt.readers[word * 64 + (uint32_t)__builtin_ctzll(again)]))
        atomic_fetch_or(&ready[word], again & -again);
  }
  return UINT32_MAX;
}

// ---- determinants ---------------------------------------------------------------------------------------------------

static unsigned char *determinant_ring(void) {
  return egd_at(egd_rank.seg, egd_slice(egd_rank.seg, egd_rank.self) + EGD_SLICE_DETERMINANTS);
}

static void ring_write(uint64_t position, const void *from, size_t length) {
  uint64_t at = position % EGD_DETERMINANT_RING, first = EGD_DETERMINANT_RING - at;
  if (first > length) first = length;
  memcpy(determinant_ring() + at, from, first);
  memcpy(determinant_ring(), (const unsigned char *)from + first, length - first);
}

// Never goes back: a replaying rank that dies again must still know up to where nothing else arrived.
static void publish_position(void *ctx, uint64_t polls) {
  _Atomic uint64_t *published = &egd_rank.cb->polls;
  if (polls > atomic_load_explicit(published, memory_order_relaxed))
    atomic_store_explicit(published, polls, memory_order_release);
}

static void append_determinant(void *ctx, uint64_t position, const struct egd_determinant *determinant,
                               const void *data) {
  struct egd_rank_cb *cb = egd_rank.cb;
  uint64_t size = egd_determinant_size(determinant);
  if (__builtin_expect(position + size - atomic_load_explicit(&cb->determinant_tail, memory_order_relaxed) >
                           EGD_DETERMINANT_RING / 4,
                       0))
    egd_determinants_make_room(size);
  memcpy(determinant_ring() + position % EGD_DETERMINANT_RING, determinant, sizeof(*determinant));
  if (size > sizeof(*determinant)) ring_write(position + sizeof(*determinant), data, determinant->source);
  publish_position(NULL, egd_rt.state->polls);
  atomic_store_explicit(&cb->determinant_head, position + size, memory_order_release);
}

static void read_determinants(void *ctx, uint64_t position, void *to, size_t length) {
  uint64_t at = position % EGD_DETERMINANT_RING, first = EGD_DETERMINANT_RING - at;
  if (first > length) first = length;
  memcpy(to, determinant_ring() + at, first);
  memcpy((unsigned char *)to + first, determinant_ring(), length - first);
}

static void diverged(void *ctx, const char *what, const struct egd_determinant *expected, uint64_t position) {
  egd_die(
      "replay diverged at progress call %lu, determinant position %lu: %s (log: kind %u, source %u, value %lu). The "
      "program is not deterministic in a way that Egida does not cover; the job ends rather than go on with a wrong "
      "state",
      (unsigned long)egd_rt.state->polls, (unsigned long)position, what, expected->kind, expected->source,
      (unsigned long)expected->value);
}

const struct egd_env egd_runtime_env = {
    .append = append_determinant,
    .read = read_determinants,
    .publish = publish_position,
    .available = message_available,
    .ready = ready_source,
    .diverged = diverged,
};

// ---- sending --------------------------------------------------------------------------------------------------------

static void send_diverged(const struct egd_send *out, const char *what, uint64_t from, uint64_t to) {
  const struct egd_record *old = out->record;
  egd_say(
      "replay diverged: message %lu to rank %u differs in its %s (bytes %lu to %lu; kind %u, tag or id %lx, %lu bytes)",
      (unsigned long)(egd_rt.state->peers[out->dest].sent - 1), out->dest, what, (unsigned long)from, (unsigned long)to,
      out->header.kind, (unsigned long)out->header.imm, (unsigned long)out->length);
  if (old && what[0] == 'e')
    egd_say("first execution: kind %u, tag or id %lx, %lu bytes", old->kind, (unsigned long)old->imm,
            (unsigned long)old->length);
}

// Find the message in the own log that the first execution sent. NULL: its receivers need it no more.
static struct egd_record *find_sent(uint32_t dest, uint64_t ssn) {
  struct egd_reader *reader = &egd_rt.compare[dest];
  if (reader->ssn != ssn) egd_reader_init(reader, egd_rank.seg, egd_rank.self, dest, ssn);
  const struct egd_record *record = egd_reader_peek(reader);
  if (!record) return NULL;
  reader->offset += egd_record_size(record);
  reader->ssn++;
  if (record->length > EGD_INLINE_MAX && !record->payload) return NULL; // its payload was freed
  return (struct egd_record *)(uintptr_t)record;
}

// ---- the log's budget --------------------------------------------------------------------------------------------------

static void ask_for_image(uint32_t peer) {
  struct egd_rank_cb *cb = egd_cb(egd_rank.seg, peer);
  atomic_fetch_add(&cb->image_request, 1);
  atomic_store(&cb->attention, 1);
  if (atomic_load(&cb->sleeping)) {
    atomic_store(&cb->sleeping, 0);
    egd_sys4(SYS_futex, &cb->sleeping, FUTEX_WAKE, 1, 0);
  }
}

static void ask_receivers(void) {
  for (uint32_t peer = 0; peer < egd_rank.nranks; peer++)
    if (peer != egd_rank.self && egd_rt.log.oldest[peer].offset) ask_for_image(peer);
}

// Past half its budget the log asks the receivers that hold it back for images.
static void press_for_images(uint64_t used) {
  egd_rt.press_at = used + egd_rank.seg->log_limit / 16;
  ask_receivers();
}

// Sum of what receivers need no more; `*ret_more`: some receiver has consumed messages that its next images could cover.
static uint64_t bounds_sum(bool *ret_more) {
  struct egd_segment *seg = egd_rank.seg;
  uint64_t sum = 0;
  *ret_more = false;
  for (uint32_t peer = 0; peer < egd_rank.nranks; peer++) {
    uint64_t bound = atomic_load(&egd_bounds(seg, peer)[egd_rank.self]);
    bool here = atomic_load(&seg->home[peer]) == seg->node;
    uint64_t done = here ? atomic_load(&egd_consumed(seg, peer)[egd_rank.self])
                         : atomic_load(&egd_channel(seg, egd_rank.self, peer)->published);
    if (peer != egd_rank.self && done > bound && atomic_load(&egd_cb(seg, peer)->state) != EGD_RANK_FINISHED)
      *ret_more = true;
    sum += bound;
  }
  return sum;
}

static bool has_room(uint64_t length) {
  for (uint32_t peer = 0; peer < egd_rank.nranks; peer++) egd_log_collect(&egd_rt.log, peer);
  return egd_log_used(&egd_rt.log) + length + (length >> 6) + (64u << 10) <= egd_rank.seg->log_limit;
}

// The log is full: better to wait for the receivers' images than to spill to a disk. Nothing of the send has happened yet, so this rank may take
// its own images meanwhile (its receivers may wait for those). Gives up when no bound moved for PATIENCE_NS; then the message is spilled.
#define PATIENCE_NS 2000000000ull
static void wait_for_log_room(uint64_t length) {
  if (egd_rt.delivering || length > egd_rank.seg->log_limit / 2) return;
  uint64_t last_sum = UINT64_MAX, since = 0, asked = 0;
  for (bool more; !has_room(length);) {
    uint64_t now = egd_monotonic_ns(), sum = bounds_sum(&more);
    if (sum == egd_rt.gave_up_at || !more) return;
    if (sum != last_sum) {
      last_sum = sum;
      since = now;
      asked = 0;
    }
    if (now - since > PATIENCE_NS) {
      egd_rt.gave_up_at = sum;
      return;
    }
    if (now - asked > 50000000) {
      asked = now;
      ask_receivers();
    }
    egd_pause();
    egd_attend();
    if (egd_rank.replaying) return;
  }
}

void egd_send_open(struct egd_send *out, uint32_t dest, enum egd_record_kind kind, uint64_t imm, uint32_t cookie,
                   uint16_t header_length, uint64_t length) {
  egd_rank.in_runtime++;
  if (__builtin_expect(egd_log_used(&egd_rt.log) + length > egd_rt.full_at, 0) && !egd_rank.replaying)
    wait_for_log_room(length);
  uint64_t ssn = egd_engine_send(&egd_rt.engine, dest);
  atomic_store_explicit(&egd_rank.cb->sends, egd_rt.state->sends, memory_order_relaxed);
  egd_fault(EGD_FAULT_SEND, egd_rt.state->sends);
  out->dest = dest;
  out->length = length;
  out->done = 0;
  out->extent_done = 0;
  struct egd_channel *channel = egd_channel(egd_rank.seg, egd_rank.self, dest);
  out->compare = ssn < atomic_load_explicit(&channel->published, memory_order_relaxed);
  // A send that the first execution did not make: all that it did is repeated.
  if (__builtin_expect(egd_rank.replaying && !out->compare, 0) && !egd_rt.delivering &&
      egd_engine_settled(&egd_rt.engine))
    egd_rank_live();
  if (__builtin_expect(out->compare, 0)) {
    out->header = (struct egd_record){
        .length = length, .imm = imm, .cookie = cookie, .kind = kind, .header_length = header_length};
    out->scratch = NULL;
    struct egd_record *old = out->record = find_sent(dest, ssn);
    if (old) {
      if (old->length != length || old->imm != imm || old->kind != kind || old->header_length != header_length ||
          old->cookie != cookie) {
        send_diverged(out, "envelope", 0, 0);
        egd_die("the job ends rather than go on with a wrong state: the program is not deterministic in a way that "
                "Egida does not cover");
      }
    }
  } else {
    out->record = egd_log_open(&egd_rt.log, dest, kind, imm, cookie, header_length, length);
    if (__builtin_expect(!out->record, 0))
      egd_die("no room for a message of %lu bytes to rank %u: the log is at its limit of %lu MiB and there is no space "
              "to spill in "
              "%s; raise --log-limit or make room there",
              (unsigned long)length, dest, (unsigned long)(egd_rank.seg->log_limit >> 20), egd_rank.seg->node_dir);
  }
  out->extent = out->record && length > EGD_INLINE_MAX ? egd_at(egd_rank.seg, out->record->payload) : NULL;
}

// Room in the log for the next bytes: address and how many are contiguous.
static unsigned char *log_room(struct egd_send *out, size_t *ret_length) {
  if (out->length <= EGD_INLINE_MAX) {
    *ret_length = out->length - out->done;
    return out->record->inline_payload + out->done;
  }
  while (out->extent_done == out->extent->length) {
    out->extent = egd_at(egd_rank.seg, out->extent->next);
    out->extent_done = 0;
  }
  *ret_length = out->extent->length - out->extent_done;
  return (unsigned char *)egd_at(egd_rank.seg, out->extent->data) + out->extent_done;
}

static void compare(struct egd_send *out, const unsigned char *new, size_t length) {
  while (length && out->record) {
    size_t n;
    const unsigned char *old = log_room(out, &n);
    if (n > length) n = length;
    if (memcmp(old, new, n) != 0) {
      uint64_t first = UINT64_MAX, last = 0;
      for (size_t i = 0; i < n; i++)
        if (old[i] != new[i]) {
          if (first == UINT64_MAX) first = out->done + i;
          last = out->done + i;
        }
      if (first != UINT64_MAX) {
        send_diverged(out, "payload", first, last);
        if (!atomic_load(&egd_rank.seg->divergence_warn))
          egd_die("the job ends rather than go on with a wrong state (--divergence=warn goes on)");
      }
    }
    out->done += n;
    out->extent_done += n;
    new += n;
    length -= n;
  }
  out->done += out->record ? 0 : length;
}

void egd_send_put(struct egd_send *out, const void *data, size_t length) {
  if (__builtin_expect(out->compare, 0)) {
    compare(out, data, length);
    return;
  }
  const unsigned char *from = data;
  while (length) {
    size_t n;
    unsigned char *to = log_room(out, &n);
    if (n > length) n = length;
    memcpy(to, from, n);
    out->done += n;
    out->extent_done += n;
    from += n;
    length -= n;
  }
}

#define SCRATCH_SIZE (256u << 10)

void *egd_send_room(struct egd_send *out, size_t *length) {
  size_t contiguous;
  unsigned char *to;
  if (__builtin_expect(out->compare, 0)) {
    if (!out->scratch) out->scratch = egd_alloc(SCRATCH_SIZE);
    to = out->scratch;
    contiguous = SCRATCH_SIZE;
  } else {
    to = log_room(out, &contiguous);
  }
  if (*length > contiguous) *length = contiguous;
  return to;
}

void egd_send_commit(struct egd_send *out, size_t length) {
  if (__builtin_expect(out->compare, 0)) {
    compare(out, out->scratch, length);
  } else {
    out->done += length;
    out->extent_done += length;
  }
}

void egd_send_close(struct egd_send *out) {
  if (__builtin_expect(out->compare, 0)) {
    if (out->scratch) egd_free(out->scratch, SCRATCH_SIZE);
  } else {
    egd_log_publish(&egd_rt.log, out->dest, out->record);
    wake(out->dest);
    uint64_t used = egd_log_used(&egd_rt.log);
    if (__builtin_expect(used >= egd_rt.press_at, 0))
      press_for_images(used);
    else if (used < egd_rt.press_from)
      egd_rt.press_at = egd_rt.press_from;
  }
  egd_rank.in_runtime--;
}
