// The mover's frame: views, the tick, and who hears which message.
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include "pmix_agent/mover_internal.h"

void mover_trouble(struct egd_mover *mover, bool fatal, const char *format, ...) {
  char line[512];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (fatal && mover->broken) return; // one verdict is enough
  mover->broken |= fatal;
  if (mover->options.callbacks.trouble) mover->options.callbacks.trouble(mover->options.callbacks.arg, fatal, line);
}

// ---- memory shared with ranks -----------------------------------------------------------------------------------------

void mover_wake(struct egd_mover *mover, uint32_t rank) {
  struct egd_rank_cb *cb = egd_cb(mover->seg, rank);
  // Orders what was published before the look at the receiver's flag.
  atomic_thread_fence(memory_order_seq_cst);
  if (!atomic_load_explicit(&cb->sleeping, memory_order_relaxed)) return;
  atomic_store(&cb->sleeping, 0);
  atomic_fetch_add(&cb->wakeups, 1);
  syscall(SYS_futex, &cb->sleeping, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void map_spill(struct egd_mover *mover) {
  char path[600];
  snprintf(path, sizeof path, "%s/spill", mover->seg->node_dir);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  void *at = fd < 0 ? MAP_FAILED
                    : mmap((void *)EGD_SPILL_BASE, egd_segment_size(mover->nranks), PROT_READ,
                           MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);
  if (fd >= 0) close(fd);
  mover->spill_mapped = at == (void *)EGD_SPILL_BASE;
  if (!mover->spill_mapped) mover_trouble(mover, true, "cannot map the spill file %s", path);
}

void mover_need(struct egd_mover *mover, const struct egd_record *record) {
  if (mover->spill_mapped || record->length <= EGD_INLINE_MAX) return;
  for (uint64_t at = record->payload; at; at = ((const struct egd_extent *)egd_at(mover->seg, at))->next) {
    if (!(at & EGD_SPILL_BIT)) continue;
    map_spill(mover);
    return;
  }
}

// ---- messages ---------------------------------------------------------------------------------------------------------

int mover_message(struct mover_peer *peer, const struct egd_mover_message *message, const unsigned char *data,
                  size_t length) {
  switch (message->kind) {
  case EGD_MOVER_SUBSCRIBE:
  case EGD_MOVER_CREDIT:
  case EGD_MOVER_BOUNDS:
    return mover_stream_message(peer, message, data, length);
  case EGD_MOVER_NEWS:
  case EGD_MOVER_DATA:
  case EGD_MOVER_RETRY:
  case EGD_MOVER_GONE:
  case EGD_MOVER_IMAGE:
    return mover_mirror_message(peer, message, data, length);
  case EGD_MOVER_DETERMINANTS:
  case EGD_MOVER_CUT:
  case EGD_MOVER_HELD:
  case EGD_MOVER_HAVE:
  case EGD_MOVER_HAVE_END:
  case EGD_MOVER_DROP:
    return mover_determinants_message(peer, message, data, length);
  case EGD_MOVER_COLLECT:
  case EGD_MOVER_REPLICA:
  case EGD_MOVER_FETCH:
  case EGD_MOVER_BYTES:
    return mover_adopt_message(peer, message, data, length);
  default:
    return EGD_ERR_CORRUPT;
  }
}

void mover_peer_up(struct mover_peer *peer) {
  struct egd_mover *mover = mover_of(peer);
  mover_determinants_up(peer);
  mover_mirror_up(peer);
  mover_stream_up(peer);
  mover_adopt_ask(mover, peer);
  mover_pump(peer);
}

void mover_peer_down(struct mover_peer *peer) {
  mover_determinants_down(peer);
  mover_mirror_down(peer);
  mover_stream_down(peer);
  mover_adopt_down(peer);
}

// ---- work -------------------------------------------------------------------------------------------------------------

static void pump_all(struct egd_mover *mover) {
  for (uint32_t node = 0; node < mover->nnodes; node++)
    if (mover_up(&mover->peers[node])) mover_pump(&mover->peers[node]);
}

void mover_kick(void *arg) {
  struct egd_mover *mover = arg;
  mover->kick = 0;
  egd_mover_work(mover);
}

static void work(struct egd_mover *mover, bool tick) {
  // A message handled below may call for more work: one level is enough.
  if (mover->working) {
    mover->again = true;
    return;
  }
  mover->working = true;
  int rounds = 0;
  do {
    mover->again = false;
    mover_cursors(mover);
    mover_stream_scan(mover);
    egd_mover_cut(mover); // local events alone make progress too: visible acts wait for them
    mover_mirror_work(mover, egd_monotonic_ns(), tick);
    mover_adopt_work(mover, tick);
    mover_determinants_disk(mover);
    pump_all(mover);
    mover_determinants_stable(mover);
    tick = false;
  } while (mover->again && ++rounds < 4);
  mover->working = false;
  // Ranks that run make news all the time: the reactor's other descriptors want their turn.
  if (mover->again && !mover->kick) mover->kick = egd_reactor_after(mover->reactor, 0, mover_kick, mover);
}

void egd_mover_work(struct egd_mover *mover) {
  work(mover, false);
}

static void on_tick(void *arg) {
  struct egd_mover *mover = arg;
  mover_link_bury(mover);
  uint64_t now = egd_monotonic_ns();
  bool tick = now - mover->last_tick_ns >= MOVER_TICK - MOVER_MILLISECOND;
  mover->quick = false;
  if (tick) {
    mover->last_tick_ns = now;
    mover_zombies(mover);
    mover_stream_tick(mover);
  }
  work(mover, tick);
  mover->timer = egd_reactor_after(mover->reactor, mover->quick ? MOVER_MILLISECOND : MOVER_TICK, on_tick, mover);
}

bool egd_mover_before_sleep(struct egd_mover *mover) {
  atomic_store(&mover->seg->agent_sleeping, 1);
  atomic_thread_fence(memory_order_seq_cst);
  return !mover_stream_scan(mover);
}

void egd_mover_after_sleep(struct egd_mover *mover) {
  atomic_store(&mover->seg->agent_sleeping, 0);
}

// ---- views ------------------------------------------------------------------------------------------------------------

static int check_view(const struct egd_mover *mover, const struct egd_mover_view *view) {
  if (view->nnodes > EGD_MOVER_MAX_NODES || view->nnodes <= mover->self || view->nranks != mover->nranks)
    return EGD_ERR_INVALID;
  for (uint32_t rank = 0; rank < view->nranks; rank++)
    if (view->home[rank] >= view->nnodes) return EGD_ERR_INVALID;
  return EGD_OK;
}

int egd_mover_set_view(struct egd_mover *mover, const struct egd_mover_view *view) {
  if (check_view(mover, view) != EGD_OK) return EGD_ERR_INVALID;
  const struct egd_mover_node *own = &view->nodes[mover->self];
  if (!own->alive || own->incarnation != mover->options.incarnation) {
    mover_link_close_all(mover);
    mover->broken = true; // nothing leaves any more
    return EGD_ERR_FOREIGN;
  }
  if (view->epoch <= mover->epoch) return EGD_OK;
  bool first = mover->epoch == 0;
  mover->epoch = view->epoch;
  mover->nnodes = view->nnodes;
  for (uint32_t node = 0; node < view->nnodes; node++) {
    struct mover_peer *peer = &mover->peers[node];
    const struct egd_mover_node *now = &view->nodes[node];
    if (node == mover->self) continue;
    bool same = peer->alive && now->alive && peer->incarnation == now->incarnation &&
                strncmp(peer->address, now->address, sizeof peer->address) == 0;
    peer->alive = now->alive;
    peer->incarnation = now->incarnation;
    snprintf(peer->address, sizeof peer->address, "%.*s", (int)sizeof now->address - 1, now->address);
    if (same) continue;
    if (peer->link) mover_link_drop(peer->link);
    egd_reactor_cancel(mover->reactor, peer->dial_timer);
    peer->dial_timer = 0;
    peer->backoff_ns = 0;
  }
  for (uint32_t rank = 0; rank < mover->nranks; rank++) {
    bool local = view->home[rank] == mover->self;
    // The first view tells what was started here; who comes later is adopted.
    if (local && !mover->is_local[rank] && !first) mover->is_adopting[rank] = mover->is_held[rank] = true;
    if (!local) mover->is_adopting[rank] = mover->is_held[rank] = false;
    mover->is_local[rank] = local;
    atomic_store(&mover->seg->home[rank], view->home[rank]);
  }
  mover_determinants_view(mover);
  if (first) mover_mirror_find(mover);
  mover_mirror_view(mover);
  mover_stream_view(mover);
  mover_adopt_view(mover);
  for (uint32_t node = 0; node < view->nnodes; node++) mover_link_want(&mover->peers[node]);
  mover->was_safe = false;
  if (!mover->timer) mover->timer = egd_reactor_after(mover->reactor, MOVER_MILLISECOND, on_tick, mover);
  egd_mover_work(mover);
  return EGD_OK;
}

void egd_mover_begin_anew(struct egd_mover *mover) {
  mover_link_close_all(mover);
  mover_stream_free(mover);
  mover_mirror_free(mover);
  mover_adopt_free(mover);
  mover_determinants_free(mover);
  memset(mover->is_adopting, 0, mover->nranks * sizeof(bool));
  memset(mover->is_held, 0, mover->nranks * sizeof(bool));
  mover->stable = 0;
  mover->was_safe = false;
  if (mover->epoch) mover_determinants_view(mover);
  for (uint32_t node = 0; node < mover->nnodes; node++) {
    mover->peers[node].backoff_ns = 0;
    mover_link_want(&mover->peers[node]);
  }
}

// ---- life -------------------------------------------------------------------------------------------------------------

int egd_mover_create(const struct egd_mover_options *options, struct egd_mover **ret_mover, char *why,
                     size_t why_size) {
  struct egd_segment *seg = options->seg;
  if (!options->reactor || !seg || seg->node >= EGD_MOVER_MAX_NODES || seg->plan.f > EGD_GATE_MAX_HOLDERS) {
    snprintf(why, why_size, "the job does not fit this version: at most %u nodes and f = %u", EGD_MOVER_MAX_NODES,
             EGD_GATE_MAX_HOLDERS);
    return EGD_ERR_INVALID;
  }
  struct egd_mover *mover = calloc(1, sizeof *mover);
  if (!mover) goto no_memory;
  mover->options = *options;
  mover->reactor = options->reactor;
  mover->seg = seg;
  mover->self = seg->node;
  mover->nranks = seg->nranks;
  mover->listen_fd = -1;
  for (uint32_t node = 0; node < EGD_MOVER_MAX_NODES; node++) mover->peers[node].node = node;
  mover->input = malloc(EGD_MOVER_PIECE);
  mover->scratch = malloc(EGD_MOVER_PIECE);
  mover->is_local = calloc(mover->nranks, sizeof(bool));
  mover->is_held = calloc(mover->nranks, sizeof(bool));
  mover->is_adopting = calloc(mover->nranks, sizeof(bool));
  mover->stream_rows = calloc(mover->nranks, sizeof *mover->stream_rows);
  mover->mirror_rows = calloc(mover->nranks, sizeof *mover->mirror_rows);
  mover->logs = calloc(mover->nranks, sizeof *mover->logs);
  mover->local = calloc(mover->nranks, sizeof *mover->local);
  mover->now = calloc(mover->nranks, sizeof *mover->now);
  mover->last = calloc(mover->nranks, sizeof *mover->last);
  mover->worker_words = calloc(mover->nranks / 64 + 1, sizeof *mover->worker_words);
  mover->replicas = calloc(mover->nranks, sizeof *mover->replicas);
  if (!mover->input || !mover->scratch || !mover->is_local || !mover->is_held || !mover->stream_rows ||
      !mover->mirror_rows || !mover->logs || !mover->local || !mover->now || !mover->last || !mover->worker_words ||
      !mover->replicas || !mover->is_adopting)
    goto no_memory;
  int status = mover_determinants_init(mover, why, why_size);
  if (status == EGD_OK && seg->nnodes > 1) status = mover_link_listen(mover, why, why_size);
  if (status != EGD_OK) {
    egd_mover_destroy(mover);
    return status;
  }
  *ret_mover = mover;
  return EGD_OK;
no_memory:
  snprintf(why, why_size, "no memory for the mover's tables");
  egd_mover_destroy(mover);
  return EGD_ERR_NO_MEMORY;
}

void egd_mover_destroy(struct egd_mover *mover) {
  if (!mover) return;
  egd_reactor_cancel(mover->reactor, mover->timer);
  egd_reactor_cancel(mover->reactor, mover->kick);
  for (uint32_t node = 0; node < EGD_MOVER_MAX_NODES; node++) {
    mover->peers[node].alive = false; // not dialled again
    egd_reactor_cancel(mover->reactor, mover->peers[node].dial_timer);
  }
  mover_link_close_all(mover);
  mover_link_bury(mover);
  if (mover->listen_fd >= 0) {
    egd_reactor_remove(mover->reactor, mover->listen_fd);
    close(mover->listen_fd);
  }
  if (mover->stream_rows) mover_stream_free(mover);
  if (mover->mirror_rows && mover->logs) mover_mirror_free(mover);
  mover_adopt_free(mover);
  if (mover->replicas && mover->last) mover_determinants_free(mover);
  free(mover->disk_holder.sent);
  if (mover->disk) {
    egd_reactor_remove(mover->reactor, egd_disk_fd(mover->disk));
    egd_disk_destroy(mover->disk);
  }
  if (mover->spill_mapped) munmap((void *)EGD_SPILL_BASE, egd_segment_size(mover->nranks));
  free(mover->input);
  free(mover->scratch);
  free(mover->is_local);
  free(mover->is_held);
  free(mover->stream_rows);
  free(mover->mirror_rows);
  free(mover->logs);
  free(mover->local);
  free(mover->now);
  free(mover->last);
  free(mover->worker_words);
  free(mover->replicas);
  free(mover->is_adopting);
  OPENSSL_cleanse(mover->options.secret, EGD_SECRET_SIZE);
  free(mover);
}

const char *egd_mover_address(const struct egd_mover *mover) {
  return mover->address;
}

void egd_mover_get_counters(const struct egd_mover *mover, struct egd_mover_counters *ret_counters) {
  *ret_counters = mover->counters;
  ret_counters->replica_bytes = 0;
  for (uint32_t rank = 0; rank < mover->nranks; rank++) {
    const struct egd_replica *replica = &mover->replicas[rank];
    if (replica->known) ret_counters->replica_bytes += replica->state.head - replica->state.tail;
  }
}
