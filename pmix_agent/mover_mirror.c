// The receiver's side: mirrors of channels from ranks elsewhere to ranks that live here.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "pmix_agent/mover_internal.h"

#define MARK_STEP (64u << 10)
#define PATIENCE_FIRST (10 * MOVER_MILLISECOND)
#define PATIENCE_MOST (1000 * MOVER_MILLISECOND)
#define BOUNDS_MOST 1024u

static void *log_allocate(size_t size) {
  return malloc(size);
}
static void log_release(void *p, size_t size) {
  free(p);
}
// Mirrors are as long as their senders' logs at most, which have a limit: no spill file of our own.
static const struct egd_log_hooks hooks = {.allocate = log_allocate, .release = log_release};

static struct egd_log *log_of(struct egd_mover *mover, uint32_t from) {
  if (mover->logs[from]) return mover->logs[from];
  struct egd_log *log = calloc(1, sizeof *log);
  if (!log) return NULL;
  egd_log_attach_mirror(log, mover->seg, from, &hooks);
  return mover->logs[from] = log;
}

static struct mover_mirror *mirror_of(const struct egd_mover *mover, uint32_t from, uint32_t to) {
  return mover->mirror_rows[to] ? mover->mirror_rows[to][from] : NULL;
}

static struct egd_channel *channel_of(const struct egd_mover *mover, const struct mover_mirror *mirror) {
  return egd_channel(mover->seg, mirror->from, mirror->to);
}

static uint64_t published(const struct egd_mover *mover, const struct mover_mirror *mirror) {
  return atomic_load_explicit(&channel_of(mover, mirror)->published, memory_order_relaxed);
}

static struct mover_mirror *mirror_create(struct egd_mover *mover, uint32_t from, uint32_t to) {
  if (!mover->mirror_rows[to]) mover->mirror_rows[to] = calloc(mover->nranks, sizeof(struct mover_mirror *));
  if (mover->nmirrors == mover->mirrors_size) {
    uint32_t size = mover->mirrors_size ? 2 * mover->mirrors_size : 64;
    struct mover_mirror **grown = realloc(mover->mirrors, size * sizeof *grown);
    if (grown) {
      mover->mirrors = grown;
      mover->mirrors_size = size;
    }
  }
  struct mover_mirror *mirror = calloc(1, sizeof *mirror);
  if (!mirror || !mover->mirror_rows[to] || mover->nmirrors == mover->mirrors_size || !log_of(mover, from)) {
    free(mirror);
    mover_trouble(mover, true, "no memory for the channel from rank %u to rank %u", from, to);
    return NULL;
  }
  *mirror = (struct mover_mirror){.from = from, .to = to, .id = mover->nmirrors, .patience_ns = PATIENCE_FIRST};
  mover->mirror_rows[to][from] = mirror;
  mover->mirrors[mover->nmirrors++] = mirror;
  return mirror;
}

// ---- subscriptions --------------------------------------------------------------------------------------------------

static struct mover_peer *sender_of(struct egd_mover *mover, const struct mover_mirror *mirror) {
  return &mover->peers[atomic_load(&mover->seg->home[mirror->from])];
}

static void subscribe(struct egd_mover *mover, struct mover_mirror *mirror) {
  struct mover_peer *peer = sender_of(mover, mirror);
  if (mirror->subscribed || mover->is_held[mirror->to] || mover->is_local[mirror->from] || !mover_up(peer)) return;
  // A record that was cut off is sent again from its beginning, into the same room.
  mirror->head_got = 0;
  mirror->received = mirror->freed = 0;
  mirror->marks_count = 0;
  mirror->limit = MOVER_WINDOW;
  mirror->stalled_ns = 0;
  mirror->subscribed = true;
  struct egd_mover_message message = {.kind = EGD_MOVER_SUBSCRIBE,
                                      .id = mirror->id,
                                      .from = mirror->from,
                                      .to = mirror->to,
                                      .v = {published(mover, mirror), mirror->limit, ++mirror->epoch}};
  mover_say(peer, &message, NULL, 0);
  mover->counters.resubscriptions++;
}

// A restored rank reads from `ssn` on; what the mirror has does not reach back so far.
static void restart_mirror(struct egd_mover *mover, struct mover_mirror *mirror, uint64_t ssn) {
  struct egd_log *log = log_of(mover, mirror->from);
  if (mirror->record) egd_log_publish(log, mirror->to, mirror->record); // so that the reset frees it; nobody reads now
  mirror->record = NULL;
  egd_log_reset_channel(log, mirror->to, ssn);
  mirror->subscribed = false;
  mirror->consumed = ssn;
}

void mover_mirror_cursors(struct egd_mover *mover, uint32_t to) {
  for (uint32_t from = 0; from < mover->nranks; from++) {
    if (mover->is_local[from]) continue;
    uint64_t wanted = atomic_load_explicit(&egd_consumed(mover->seg, to)[from], memory_order_acquire);
    struct mover_mirror *mirror = mirror_of(mover, from, to);
    if (!mirror && wanted > 0) mirror = mirror_create(mover, from, to);
    if (!mirror) continue;
    const struct egd_log_cursor *oldest = &log_of(mover, from)->oldest[to];
    bool reaches = wanted >= oldest->ssn && wanted <= published(mover, mirror);
    if (!reaches) restart_mirror(mover, mirror, wanted);
    mirror->consumed = wanted;
    subscribe(mover, mirror);
  }
}

// ---- credit ---------------------------------------------------------------------------------------------------------

static void add_mark(struct mover_mirror *mirror, uint64_t ssn) {
  if (mirror->marks_count > 0) {
    struct mover_mark *last = &mirror->marks[(mirror->marks_first + mirror->marks_count - 1) % mirror->marks_size];
    struct mover_mark *before =
        mirror->marks_count > 1 ? &mirror->marks[(mirror->marks_first + mirror->marks_count - 2) % mirror->marks_size]
                                : NULL;
    if (last->bytes - (before ? before->bytes : mirror->freed) < MARK_STEP) {
      *last = (struct mover_mark){ssn, mirror->received};
      return;
    }
  }
  if (mirror->marks_count == mirror->marks_size) {
    uint32_t size = mirror->marks_size ? 2 * mirror->marks_size : 16;
    struct mover_mark *grown = malloc(size * sizeof *grown);
    if (!grown) return; // coarser marks only delay credit
    for (uint32_t i = 0; i < mirror->marks_count; i++)
      grown[i] = mirror->marks[(mirror->marks_first + i) % mirror->marks_size];
    free(mirror->marks);
    mirror->marks = grown;
    mirror->marks_first = 0;
    mirror->marks_size = size;
  }
  mirror->marks[(mirror->marks_first + mirror->marks_count++) % mirror->marks_size] =
      (struct mover_mark){ssn, mirror->received};
}

static void say_credit(struct egd_mover *mover, struct mover_mirror *mirror, uint64_t limit) {
  if (limit > mirror->limit) mirror->limit = limit;
  struct egd_mover_message credit = {
      .kind = EGD_MOVER_CREDIT, .id = mirror->id, .v = {mirror->limit, published(mover, mirror)}};
  mover_say(sender_of(mover, mirror), &credit, NULL, 0);
  mirror->stalled_ns = 0;
}

// The receiver took something: free it and let the sender send more.
static void advance(struct egd_mover *mover, struct mover_mirror *mirror, uint64_t consumed) {
  mirror->consumed = consumed;
  mirror->patience_ns = PATIENCE_FIRST;
  egd_log_collect(mover->logs[mirror->from], mirror->to);
  while (mirror->marks_count > 0 && mirror->marks[mirror->marks_first].ssn <= consumed) {
    mirror->freed = mirror->marks[mirror->marks_first].bytes;
    mirror->marks_first = (mirror->marks_first + 1) % mirror->marks_size;
    mirror->marks_count--;
  }
  if (mirror->subscribed && mirror->freed + MOVER_WINDOW >= mirror->limit + MOVER_WINDOW / 4)
    say_credit(mover, mirror, mirror->freed + MOVER_WINDOW);
}

// No credit left, and nothing is consumed. The receiver may be unable to consume before it gets a *later* message (it keeps the
// others unmatched), so the window must give way in the end; at once if it sleeps or replays, otherwise with growing patience.
static void relieve(struct egd_mover *mover, struct mover_mirror *mirror, uint64_t now_ns) {
  if (mirror->received < mirror->limit) return;
  mover->quick = true;
  if (mirror->stalled_ns == 0) {
    mirror->stalled_ns = now_ns;
    return;
  }
  const struct egd_rank_cb *cb = egd_cb(mover->seg, mirror->to);
  bool waits = atomic_load(&cb->sleeping) || atomic_load(&cb->state) == EGD_RANK_REPLAYING;
  if (!waits && now_ns - mirror->stalled_ns < mirror->patience_ns) return;
  if (!waits && mirror->patience_ns < PATIENCE_MOST) mirror->patience_ns *= 2;
  say_credit(mover, mirror, mirror->limit + MOVER_WINDOW);
}

static void say_bounds(struct egd_mover *mover) {
  // One message per receiver and node: pairs are grouped by walking the receivers' rows.
  for (uint32_t to = 0; to < mover->nranks; to++) {
    if (!mover->is_local[to] || !mover->mirror_rows[to]) continue;
    for (uint32_t node = 0; node < mover->nnodes; node++) {
      struct mover_peer *peer = &mover->peers[node];
      if (!mover_up(peer)) continue;
      struct egd_mover_bound list[BOUNDS_MOST];
      uint32_t count = 0;
      for (uint32_t from = 0; from < mover->nranks && count < BOUNDS_MOST; from++) {
        struct mover_mirror *mirror = mover->mirror_rows[to][from];
        if (!mirror || sender_of(mover, mirror) != peer) continue;
        // Order: a bound is never newer than what `newest` says.
        uint64_t bound = atomic_load(&egd_bounds(mover->seg, to)[from]);
        uint64_t newest = atomic_load(&egd_newest(mover->seg, to)[from]);
        if (newest < bound) newest = bound;
        if (bound == mirror->bound && newest == mirror->newest) continue;
        mirror->bound = bound;
        mirror->newest = newest;
        list[count++] = (struct egd_mover_bound){.from = from, .bound = bound, .newest = newest};
      }
      struct egd_mover_message message = {.kind = EGD_MOVER_BOUNDS, .to = to};
      if (count > 0) mover_say(peer, &message, list, count * sizeof *list);
    }
  }
}

void mover_mirror_work(struct egd_mover *mover, uint64_t now_ns, bool tick) {
  for (uint32_t i = 0; i < mover->nmirrors; i++) {
    struct mover_mirror *mirror = mover->mirrors[i];
    if (mover->is_held[mirror->to] || mover->is_local[mirror->from]) continue;
    uint64_t consumed = atomic_load_explicit(&egd_consumed(mover->seg, mirror->to)[mirror->from], memory_order_acquire);
    if (consumed > mirror->consumed) advance(mover, mirror, consumed);
    if (mirror->subscribed)
      relieve(mover, mirror, now_ns);
    else if (tick)
      subscribe(mover, mirror);
  }
  if (tick) say_bounds(mover);
}

// ---- data -----------------------------------------------------------------------------------------------------------

static bool same_record(const struct egd_record *record, const struct egd_mover_record *head) {
  return record->length == head->length && record->imm == head->imm && record->cookie == head->cookie &&
         record->kind == head->kind && record->header_length == head->header_length;
}

static int begin_record(struct egd_mover *mover, struct mover_mirror *mirror) {
  const struct egd_mover_record *head = &mirror->head;
  if (egd_mover_check_record(head) != EGD_OK) return EGD_ERR_CORRUPT;
  if (mirror->record && !same_record(mirror->record, head)) {
    mover_trouble(
        mover, true,
        "rank %u sends message %llu to rank %u again after its recovery, but another one: its replay diverged",
        mirror->from, (unsigned long long)published(mover, mirror), mirror->to);
    return EGD_ERR_DIVERGED;
  }
  if (!mirror->record)
    mirror->record = egd_log_open(mover->logs[mirror->from], mirror->to, head->kind, head->imm, head->cookie,
                                  head->header_length, head->length);
  if (!mirror->record) {
    mover_trouble(mover, true, "no room for a message of %llu bytes from rank %u to rank %u on node %u",
                  (unsigned long long)head->length, mirror->from, mirror->to, mover->self);
    return EGD_ERR_NO_MEMORY;
  }
  mirror->got = mirror->extent_got = 0;
  mirror->extent = head->length > EGD_INLINE_MAX ? egd_at(mover->seg, mirror->record->payload) : NULL;
  // A long record has credit to its end: the receiver sees none of it before.
  uint64_t end = mirror->received + EGD_MOVER_RECORD + head->length;
  if (end > mirror->limit) say_credit(mover, mirror, end);
  return EGD_OK;
}

static void put_payload(struct egd_mover *mover, struct mover_mirror *mirror, const unsigned char *data, size_t n) {
  if (!mirror->extent) {
    memcpy(mirror->record->inline_payload + mirror->got, data, n);
    mirror->got += n;
    return;
  }
  while (n > 0) {
    if (mirror->extent_got == mirror->extent->length) {
      mirror->extent = egd_at(mover->seg, mirror->extent->next);
      mirror->extent_got = 0;
    }
    uint64_t room = mirror->extent->length - mirror->extent_got, take = n < room ? n : room;
    memcpy((unsigned char *)egd_at(mover->seg, mirror->extent->data) + mirror->extent_got, data, take);
    mirror->extent_got += take;
    mirror->got += take;
    data += take;
    n -= take;
  }
}

static int on_data(struct egd_mover *mover, struct mover_mirror *mirror, const struct egd_mover_message *message,
                   const unsigned char *data, size_t length) {
  uint64_t offset = mirror->head_got < EGD_MOVER_RECORD ? mirror->head_got : EGD_MOVER_RECORD + mirror->got;
  uint64_t ssn = published(mover, mirror);
  if (message->v[0] != ssn || message->v[1] != offset) return EGD_ERR_CORRUPT;
  if (length > mirror->limit - mirror->received) return EGD_ERR_CORRUPT;
  mover->counters.bytes_received += length;
  bool fresh = false;
  while (length > 0) {
    size_t n = 0;
    if (mirror->head_got < EGD_MOVER_RECORD) {
      n = EGD_MOVER_RECORD - mirror->head_got < length ? EGD_MOVER_RECORD - mirror->head_got : length;
      memcpy((unsigned char *)&mirror->head + mirror->head_got, data, n);
      mirror->head_got += (uint32_t)n;
      if (mirror->head_got == EGD_MOVER_RECORD) {
        int status = begin_record(mover, mirror);
        if (status != EGD_OK) return status;
      }
      mirror->received += n;
    } else {
      n = mirror->head.length - mirror->got < length ? mirror->head.length - mirror->got : length;
      put_payload(mover, mirror, data, n);
      mirror->received += n;
    }
    data += n;
    length -= n;
    if (mirror->head_got < EGD_MOVER_RECORD || mirror->got < mirror->head.length) continue;
    egd_log_publish(mover->logs[mirror->from], mirror->to, mirror->record);
    mirror->record = NULL;
    mirror->head_got = 0;
    mirror->got = 0;
    mover->counters.records_received++;
    add_mark(mirror, ++ssn);
    fresh = true;
  }
  if (fresh) {
    _Atomic uint64_t *word = &egd_ready(mover->seg, mirror->to)[mirror->from / 64];
    uint64_t bit = 1ull << mirror->from % 64;
    atomic_thread_fence(memory_order_seq_cst);
    if (!(atomic_load_explicit(word, memory_order_relaxed) & bit)) atomic_fetch_or(word, bit);
    mover_wake(mover, mirror->to);
  }
  return EGD_OK;
}

static void on_image(struct egd_mover *mover, uint32_t rank) {
  if (!mover->is_local[rank]) return;
  struct egd_rank_cb *cb = egd_cb(mover->seg, rank);
  atomic_fetch_add(&cb->image_request, 1);
  atomic_store(&cb->attention, 1);
  mover_wake(mover, rank);
}

int mover_mirror_message(struct mover_peer *peer, const struct egd_mover_message *message, const unsigned char *data,
                         size_t length) {
  struct egd_mover *mover = mover_of(peer);
  if (message->kind == EGD_MOVER_IMAGE) {
    on_image(mover, message->to);
    return EGD_OK;
  }
  if (message->kind == EGD_MOVER_NEWS) {
    // It is said again: a view that lags behind, here or there, does no harm.
    if (!mover->is_local[message->to] || atomic_load(&mover->seg->home[message->from]) != peer->node) return EGD_OK;
    struct mover_mirror *mirror = mirror_of(mover, message->from, message->to);
    if (!mirror) mirror = mirror_create(mover, message->from, message->to);
    if (mirror) subscribe(mover, mirror);
    return EGD_OK;
  }
  if (message->id >= mover->nmirrors) return EGD_ERR_CORRUPT;
  struct mover_mirror *mirror = mover->mirrors[message->id];
  if (!mirror->subscribed || sender_of(mover, mirror) != peer || message->v[2] != mirror->epoch)
    return EGD_OK; // of a subscription that is over
  if (message->kind == EGD_MOVER_RETRY) {
    mirror->subscribed = false;
    return EGD_OK;
  }
  if (message->kind == EGD_MOVER_GONE) {
    mover_trouble(mover, true,
                  "message %llu from rank %u to rank %u is needed again, but its sender has %llu and later ones only",
                  (unsigned long long)published(mover, mirror), mirror->from, mirror->to,
                  (unsigned long long)message->v[0]);
    mirror->subscribed = false;
    return EGD_OK;
  }
  return on_data(mover, mirror, message, data, length);
}

// ---- changes --------------------------------------------------------------------------------------------------------

void mover_mirror_up(struct mover_peer *peer) {
  struct egd_mover *mover = mover_of(peer);
  for (uint32_t i = 0; i < mover->nmirrors; i++)
    if (sender_of(mover, mover->mirrors[i]) == peer) subscribe(mover, mover->mirrors[i]);
}

void mover_mirror_down(struct mover_peer *peer) {
  struct egd_mover *mover = mover_of(peer);
  for (uint32_t i = 0; i < mover->nmirrors; i++) {
    struct mover_mirror *mirror = mover->mirrors[i];
    if (sender_of(mover, mirror) != peer) continue;
    mirror->subscribed = false;
    mirror->bound = mirror->newest = 0; // a sender that moved must be told again
  }
}

void mover_mirror_view(struct egd_mover *mover) {
  for (uint32_t i = 0; i < mover->nmirrors; i++) {
    struct mover_mirror *mirror = mover->mirrors[i];
    struct mover_peer *peer = sender_of(mover, mirror);
    // Subscriptions at nodes that are gone ended with their connections; this is for senders that moved.
    if (mirror->subscribed && mover_up(peer)) continue;
    mirror->subscribed = false;
    mirror->bound = mirror->newest = 0;
    subscribe(mover, mirror);
  }
}

void mover_mirror_find(struct egd_mover *mover) {
  for (uint32_t from = 0; from < mover->nranks; from++) {
    if (mover->is_local[from]) continue;
    off_t begin = (off_t)(egd_slice(mover->seg, from) + EGD_SLICE_CHANNELS);
    off_t end = begin + (off_t)(mover->nranks * sizeof(struct egd_channel));
    // A look would bring memory into being: ask whether there is any.
    off_t there = lseek(mover->options.segment_fd, begin, SEEK_DATA);
    if (there < 0 || there >= end) continue;
    for (uint32_t to = 0; to < mover->nranks; to++) {
      struct egd_channel *channel = egd_channel(mover->seg, from, to);
      if (!mover->is_local[to] || mirror_of(mover, from, to)) continue;
      if (atomic_load(&channel->head) || atomic_load(&channel->published)) mirror_create(mover, from, to);
    }
  }
}

void mover_mirror_free(struct egd_mover *mover) {
  for (uint32_t i = 0; i < mover->nmirrors; i++) {
    free(mover->mirrors[i]->marks);
    free(mover->mirrors[i]);
  }
  free(mover->mirrors);
  mover->mirrors = NULL;
  mover->nmirrors = mover->mirrors_size = 0;
  for (uint32_t rank = 0; rank < mover->nranks; rank++) {
    free(mover->mirror_rows[rank]);
    mover->mirror_rows[rank] = NULL;
    if (!mover->logs[rank]) continue;
    egd_log_detach(mover->logs[rank]);
    free(mover->logs[rank]);
    mover->logs[rank] = NULL;
  }
}
