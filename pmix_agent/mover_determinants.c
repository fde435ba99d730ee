// Determinants: those of the ranks that live here go to their holders, those of others are held here.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pmix_agent/mover_internal.h"

static void on_disk(void *arg, int fd, uint32_t events);

static bool on_shared_disk(const struct egd_mover *mover) {
  return mover->seg->plan.determinant_store == EGD_DETERMINANT_SHARED_DISK;
}

static void init_gate(struct egd_mover *mover) {
  const struct egd_plan *plan = &mover->seg->plan;
  mover->logs_determinants = plan->flags & EGD_PLAN_LOG_DETERMINANTS && plan->determinant_store;
  bool open = !mover->logs_determinants || (mover->seg->nnodes == 1 && !on_shared_disk(mover));
  egd_gate_init(&mover->gate, on_shared_disk(mover) ? 1 : plan->f, open);
  memset(mover->last, 0xff, mover->nranks * sizeof *mover->last);
}

int mover_determinants_init(struct egd_mover *mover, char *why, size_t why_size) {
  init_gate(mover);
  if (!mover->logs_determinants || !on_shared_disk(mover)) return EGD_OK;
  mover->disk_holder.sent = calloc(mover->nranks, sizeof *mover->disk_holder.sent);
  if (!mover->disk_holder.sent) {
    snprintf(why, why_size, "no memory for the mover's tables");
    return EGD_ERR_NO_MEMORY;
  }
  mover->disk_holder.is_holder = mover->disk_holder.ready = true;
  int status = egd_disk_create(mover->seg->job_dir, mover->seg->job_hash, &mover->disk, why, why_size);
  if (status != EGD_OK) return status;
  return egd_reactor_add(mover->reactor, egd_disk_fd(mover->disk), EPOLLIN, on_disk, mover);
}

// ---- cuts -----------------------------------------------------------------------------------------------------------

static struct egd_gate_position position_of(const struct egd_mover *mover, uint32_t rank) {
  struct egd_rank_cb *cb = egd_cb(mover->seg, rank);
  struct egd_gate_position position;
  position.polls = atomic_load_explicit(&cb->polls, memory_order_acquire); // first: see protocol/gate.h
  position.determinants = atomic_load_explicit(&cb->determinant_head, memory_order_acquire);
  // A rank that replays says less for a while than its predecessor did, which holds all the same.
  uint64_t stable = atomic_load_explicit(&cb->polls_stable, memory_order_relaxed);
  if (position.polls < stable) position.polls = stable;
  return position;
}

#define CUT_PASSES 1000

uint64_t egd_mover_cut(struct egd_mover *mover) {
  if (!mover->logs_determinants) return egd_gate_cut(&mover->gate, mover->now, mover->last, 0);
  // The positions must be those of one moment: if a rank sent and another admitted between two looks, the later one would depend on what the
  // cut does not hold. Two equal passes prove that nothing happened in between.
  for (unsigned pass = 0; pass < CUT_PASSES; pass++) {
    bool same = pass > 0;
    for (uint32_t i = 0; i < mover->nlocal; i++) {
      struct egd_gate_position now = position_of(mover, mover->local[i]);
      same = same && now.determinants == mover->now[i].determinants && now.polls == mover->now[i].polls;
      mover->now[i] = now;
    }
    if (same) break;
  }
  for (uint32_t i = 0; i < mover->nlocal; i++) {
    // A rank that was just restarted may say less for a moment than its predecessor did.
    if (mover->last[i].polls != UINT64_MAX && mover->now[i].polls < mover->last[i].polls)
      mover->now[i].polls = mover->last[i].polls;
  }
  uint64_t before = mover->gate.cut, cut = egd_gate_cut(&mover->gate, mover->now, mover->last, mover->nlocal);
  mover->counters.cuts += cut - before;
  return cut;
}

uint64_t egd_mover_stable(const struct egd_mover *mover) {
  return mover->broken ? 0 : egd_gate_stable(&mover->gate);
}

bool egd_mover_is_safe(const struct egd_mover *mover) {
  if (mover->broken || (mover->seg->nnodes > 1 && !mover->epoch)) return false;
  return egd_gate_stable(&mover->gate) >= mover->gate.cut && !mover->adoptions;
}

// ---- holders --------------------------------------------------------------------------------------------------------

static void retarget(struct mover_holder *holder) {
  holder->target_cut = 0;
  holder->next = 0;
}

static void choose_holders(struct egd_mover *mover) {
  uint32_t nodes[EGD_GATE_MAX_HOLDERS], count = 0;
  for (uint32_t i = 1; i < mover->nnodes && count < mover->gate.f; i++) {
    uint32_t node = (mover->self + i) % mover->nnodes;
    if (mover->peers[node].alive) nodes[count++] = node;
  }
  for (uint32_t node = 0; node < mover->nnodes; node++) {
    struct mover_peer *peer = &mover->peers[node];
    struct mover_holder *holder = &peer->holder;
    bool chosen = false;
    for (uint32_t i = 0; i < count; i++) chosen |= nodes[i] == node;
    if (holder->is_holder && !chosen)
      for (uint32_t i = 0; i < mover->nlocal; i++) {
        struct egd_mover_message drop = {.kind = EGD_MOVER_DROP, .from = mover->local[i]};
        mover_say(peer, &drop, NULL, 0);
      }
    if (chosen && !holder->is_holder) {
      free(holder->sent);
      holder->sent = calloc(mover->nranks, sizeof *holder->sent);
      holder->queued_cut = 0;
      if (!holder->sent) {
        mover_trouble(mover, true, "no memory for the replicas on node %u", node);
        chosen = false;
      }
    }
    holder->is_holder = chosen;
    retarget(holder);
  }
  egd_gate_set_holders(&mover->gate, nodes, count);
}

void mover_determinants_view(struct egd_mover *mover) {
  mover->nlocal = 0;
  for (uint32_t rank = 0; rank < mover->nranks; rank++)
    if (mover->is_local[rank] && !mover->is_adopting[rank]) mover->local[mover->nlocal++] = rank;
  // Everything counts as moved: the next cut is a new one, and covers exactly these ranks.
  memset(mover->last, 0xff, mover->nranks * sizeof *mover->last);
  if (on_shared_disk(mover)) {
    uint32_t disk = MOVER_DISK_NODE;
    if (mover->logs_determinants) egd_gate_set_holders(&mover->gate, &disk, 1);
    retarget(&mover->disk_holder);
  } else if (mover->logs_determinants) {
    choose_holders(mover);
  }
  mover->view_cut = egd_mover_cut(mover);
  mover->was_safe = false;
}

void mover_determinants_up(struct mover_peer *peer) {
  struct egd_mover *mover = mover_of(peer);
  for (uint32_t rank = 0; rank < mover->nranks; rank++) {
    const struct egd_replica *replica = &mover->replicas[rank];
    if (!replica->known || atomic_load(&mover->seg->home[rank]) != peer->node) continue;
    struct egd_mover_message have = {
        .kind = EGD_MOVER_HAVE, .from = rank, .v = {replica->state.tail, replica->state.head}};
    mover_say(peer, &have, NULL, 0);
  }
  struct egd_mover_message end = {.kind = EGD_MOVER_HAVE_END};
  mover_say(peer, &end, NULL, 0);
}

void mover_determinants_down(struct mover_peer *peer) {
  struct egd_mover *mover = mover_of(peer);
  struct mover_holder *holder = &peer->holder;
  for (uint32_t i = 0; i < peer->nstaged; i++) egd_replica_rollback(&mover->replicas[peer->staged[i]]);
  peer->nstaged = 0;
  holder->ready = false;
  holder->queued_cut = 0;
  retarget(holder);
  if (holder->sent) memset(holder->sent, 0, mover->nranks * sizeof *holder->sent);
  egd_gate_holder_restarted(&mover->gate, peer->node);
}

// ---- sending --------------------------------------------------------------------------------------------------------

static const unsigned char *ring_of(const struct egd_mover *mover, uint32_t rank) {
  return egd_at(mover->seg, egd_slice(mover->seg, rank) + EGD_SLICE_DETERMINANTS);
}

static struct egd_replica_state state_of(const struct egd_mover *mover, uint32_t rank, uint64_t end, uint64_t polls) {
  struct egd_rank_cb *cb = egd_cb(mover->seg, rank);
  struct egd_replica_state state = {.head = end, .polls = polls};
  state.tail = atomic_load(&cb->determinant_tail);
  state.newest = atomic_load(&cb->determinant_newest);
  // An image covers what this piece does not reach yet.
  if (state.tail > end) state.tail = end;
  if (state.newest > end) state.newest = end;
  return state;
}

static bool set_target(struct egd_mover *mover, struct mover_holder *holder) {
  if (holder->target_cut) return true;
  if (mover->gate.cut == 0 || holder->queued_cut >= mover->gate.cut) return false;
  holder->target_cut = mover->gate.cut;
  holder->next = 0;
  for (uint32_t i = 0; i < mover->nlocal; i++) {
    struct mover_sent *sent = &holder->sent[mover->local[i]];
    sent->target_determinants = mover->last[i].determinants;
    sent->target_polls = mover->last[i].polls;
  }
  return true;
}

// Where the next piece begins; *ret_restart if what the holder has is of no use for it.
static uint64_t begin_of(const struct egd_mover *mover, const struct mover_sent *sent, uint32_t rank,
                         bool *ret_restart) {
  uint64_t tail = atomic_load(&egd_cb(mover->seg, rank)->determinant_tail);
  if (tail > sent->target_determinants) tail = sent->target_determinants;
  *ret_restart = !sent->announced || sent->determinants < tail;
  return *ret_restart ? tail : sent->determinants;
}

// One message of `rank`'s determinants. False: the rank has reached the target.
static bool send_piece(struct mover_peer *peer, uint32_t rank) {
  struct egd_mover *mover = mover_of(peer);
  struct mover_sent *sent = &peer->holder.sent[rank];
  if (sent->announced && sent->determinants >= sent->target_determinants && sent->polls == sent->target_polls)
    return false;
  bool restart;
  uint64_t position = begin_of(mover, sent, rank, &restart);
  uint64_t length = sent->target_determinants > position ? sent->target_determinants - position : 0;
  if (length > EGD_MOVER_PIECE) length = EGD_MOVER_PIECE;
  uint64_t at = position % EGD_DETERMINANT_RING, first = EGD_DETERMINANT_RING - at;
  if (first > length) first = length;
  memcpy(mover->scratch, ring_of(mover, rank) + at, first);
  memcpy(mover->scratch + first, ring_of(mover, rank), length - first);
  // Images free the ring from its tail; if that went on under the copy, the copy begins anew.
  uint64_t head = atomic_load(&egd_cb(mover->seg, rank)->determinant_head);
  if (head > position && head - position > EGD_DETERMINANT_RING) return true;
  struct egd_replica_state state = state_of(mover, rank, position + length, sent->target_polls);
  struct egd_mover_message message = {.kind = EGD_MOVER_DETERMINANTS,
                                      .flags = restart,
                                      .from = rank,
                                      .v = {position, state.polls, state.tail, state.newest}};
  mover_say(peer, &message, mover->scratch, length);
  mover->counters.determinant_bytes_sent += length;
  sent->announced = true;
  sent->determinants = position + length;
  if (sent->determinants >= sent->target_determinants) sent->polls = sent->target_polls;
  return true;
}

void mover_determinants_pull(struct mover_peer *peer) {
  struct egd_mover *mover = mover_of(peer);
  struct mover_holder *holder = &peer->holder;
  if (!holder->is_holder || !holder->ready || mover->broken) return;
  while (mover_up(peer) && egd_frame_queued(&peer->link->out) < MOVER_QUEUE && set_target(mover, holder)) {
    if (holder->next < mover->nlocal) {
      if (!send_piece(peer, mover->local[holder->next])) holder->next++;
      continue;
    }
    struct egd_mover_message cut = {.kind = EGD_MOVER_CUT, .v = {holder->target_cut}};
    mover_say(peer, &cut, NULL, 0);
    egd_gate_queued(&mover->gate, peer->node, holder->target_cut);
    holder->queued_cut = holder->target_cut;
    holder->target_cut = 0;
  }
}

// ---- the shared disk --------------------------------------------------------------------------------------------------

void mover_determinants_disk(struct egd_mover *mover) {
  struct mover_holder *holder = &mover->disk_holder;
  if (!mover->disk || mover->broken || egd_disk_busy(mover->disk) || !set_target(mover, holder)) return;
  struct egd_disk_entry *entries = calloc(mover->nlocal + 1, sizeof *entries);
  if (!entries) return; // tried again at the next tick
  size_t count = 0;
  for (uint32_t i = 0; i < mover->nlocal; i++) {
    uint32_t rank = mover->local[i];
    struct mover_sent *sent = &holder->sent[rank];
    if (sent->announced && sent->determinants >= sent->target_determinants && sent->polls == sent->target_polls)
      continue;
    bool restart;
    uint64_t from = begin_of(mover, sent, rank, &restart);
    entries[count++] =
        (struct egd_disk_entry){.rank = rank,
                                .ring = ring_of(mover, rank),
                                .from = from,
                                .restart = restart,
                                .state = state_of(mover, rank, sent->target_determinants, sent->target_polls)};
    sent->announced = true;
    sent->determinants = sent->target_determinants;
    sent->polls = sent->target_polls;
  }
  if (egd_disk_submit(mover->disk, holder->target_cut, entries, count) == EGD_OK) {
    egd_gate_queued(&mover->gate, MOVER_DISK_NODE, holder->target_cut);
    holder->queued_cut = holder->target_cut;
    holder->target_cut = 0;
  } else {
    mover_trouble(mover, true, "no memory to write determinants");
  }
  free(entries);
}

static void on_disk(void *arg, int fd, uint32_t events) {
  struct egd_mover *mover = arg;
  char why[256];
  int status;
  uint64_t cut = egd_disk_finished(mover->disk, &status, why, sizeof why);
  if (cut == 0) return;
  if (mover->disk_stale) { // submitted before start-up began anew
    mover->disk_stale = false;
  } else if (status != EGD_OK) {
    mover_trouble(mover, true, "%s", why);
    return;
  } else {
    for (uint32_t i = 0; i < mover->nlocal; i++) {
      struct mover_sent *sent = &mover->disk_holder.sent[mover->local[i]];
      sent->held = sent->determinants;
      sent->held_polls = sent->polls;
    }
    egd_gate_held(&mover->gate, MOVER_DISK_NODE, cut);
  }
  egd_mover_work(mover);
}

// ---- stable -----------------------------------------------------------------------------------------------------------

// What at least `needed` holders have of a rank.
static struct egd_gate_position held_by_enough(struct egd_mover *mover, uint32_t rank, uint32_t needed) {
  struct egd_gate_position best = {0};
  for (uint32_t i = 0; i < mover->gate.nholders; i++) {
    uint32_t node = mover->gate.holders[i].node, enough = 0, enough_polls = 0;
    const struct mover_sent *sent = node == MOVER_DISK_NODE ? mover->disk_holder.sent : mover->peers[node].holder.sent;
    if (!sent) continue;
    for (uint32_t j = 0; j < mover->gate.nholders; j++) {
      uint32_t other = mover->gate.holders[j].node;
      const struct mover_sent *others =
          other == MOVER_DISK_NODE ? mover->disk_holder.sent : mover->peers[other].holder.sent;
      if (!others) continue;
      enough += others[rank].held >= sent[rank].held;
      enough_polls += others[rank].held_polls >= sent[rank].held_polls;
    }
    if (enough >= needed && sent[rank].held > best.determinants) best.determinants = sent[rank].held;
    if (enough_polls >= needed && sent[rank].held_polls > best.polls) best.polls = sent[rank].held_polls;
  }
  return best;
}

static bool is_anybody_coming(const struct egd_mover *mover) {
  for (uint32_t rank = 0; rank < mover->nranks; rank++)
    if (mover->is_adopting[rank]) return true;
  return false;
}

void mover_determinants_stable(struct egd_mover *mover) {
  if (mover->broken) return;
  uint64_t stable = egd_gate_stable(&mover->gate);
  if (mover->logs_determinants && stable != mover->stable) {
    uint32_t needed = egd_gate_needed(&mover->gate);
    for (uint32_t i = 0; i < mover->nlocal; i++) {
      uint32_t rank = mover->local[i];
      struct egd_rank_cb *cb = egd_cb(mover->seg, rank);
      struct egd_gate_position held = needed ? held_by_enough(mover, rank, needed) : mover->last[i];
      bool moved =
          held.determinants != atomic_load(&cb->determinant_stable) || held.polls != atomic_load(&cb->polls_stable);
      atomic_store(&cb->determinant_stable, held.determinants);
      atomic_store(&cb->polls_stable, held.polls);
      if (moved) mover_wake(mover, rank); // it may wait to act on the outside
    }
  }
  if (stable != mover->stable) {
    mover->stable = stable;
    if (mover->options.callbacks.stable) mover->options.callbacks.stable(mover->options.callbacks.arg, stable);
  }
  // Later cuts don't count: there is always a newer one while ranks run.
  bool held = stable >= mover->view_cut || mover->nlocal == 0; // a spare has nothing that could be lost
  if (!mover->was_safe && mover->epoch && held && !is_anybody_coming(mover)) {
    mover->was_safe = true;
    if (mover->options.callbacks.safe) mover->options.callbacks.safe(mover->options.callbacks.arg, mover->epoch);
  }
}

// ---- messages ---------------------------------------------------------------------------------------------------------

static bool is_staged(const struct mover_peer *peer, uint32_t rank) {
  for (uint32_t i = 0; i < peer->nstaged; i++)
    if (peer->staged[i] == rank) return true;
  return false;
}

static int on_determinants(struct mover_peer *peer, const struct egd_mover_message *message, const unsigned char *data,
                           size_t length) {
  struct egd_mover *mover = mover_of(peer);
  uint32_t rank = message->from;
  if (atomic_load(&mover->seg->home[rank]) != peer->node) return EGD_OK;
  if (!peer->staged) peer->staged = calloc(mover->nranks, sizeof *peer->staged);
  if (!peer->staged) return EGD_ERR_NO_MEMORY;
  struct egd_replica_state state = {.polls = message->v[1], .tail = message->v[2], .newest = message->v[3]};
  int status = egd_replica_append(&mover->replicas[rank], message->v[0], message->flags & 1, &state, data, length);
  if (status != EGD_OK) return status;
  if (!is_staged(peer, rank)) peer->staged[peer->nstaged++] = rank;
  return EGD_OK;
}

static void on_cut(struct mover_peer *peer, uint64_t cut) {
  struct egd_mover *mover = mover_of(peer);
  struct egd_mover_held *held = peer->nstaged ? calloc(peer->nstaged, sizeof *held) : NULL;
  if (peer->nstaged && !held) { // not confirmed: the origin waits until the next session
    mover_link_drop(peer->link);
    return;
  }
  uint32_t count = peer->nstaged;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t rank = peer->staged[i];
    egd_replica_commit(&mover->replicas[rank]);
    const struct egd_replica_state *state = &mover->replicas[rank].state;
    held[i] = (struct egd_mover_held){.rank = rank, .determinants = state->head, .polls = state->polls};
  }
  peer->nstaged = 0;
  struct egd_mover_message message = {.kind = EGD_MOVER_HELD, .v = {cut}};
  mover_say(peer, &message, held, count * sizeof *held);
  free(held);
}

static int on_held(struct mover_peer *peer, uint64_t cut, const unsigned char *data, size_t length) {
  struct egd_mover *mover = mover_of(peer);
  if (!peer->holder.is_holder) return EGD_OK;
  for (; length >= sizeof(struct egd_mover_held); length -= sizeof(struct egd_mover_held)) {
    struct egd_mover_held held;
    memcpy(&held, data, sizeof held);
    data += sizeof held;
    if (held.rank >= mover->nranks) return EGD_ERR_CORRUPT;
    struct mover_sent *sent = &peer->holder.sent[held.rank];
    if (held.determinants > sent->determinants) return EGD_ERR_CORRUPT;
    sent->held = held.determinants;
    sent->held_polls = held.polls;
  }
  egd_gate_held(&mover->gate, peer->node, cut);
  return EGD_OK;
}

static void on_have(struct mover_peer *peer, const struct egd_mover_message *message) {
  struct egd_mover *mover = mover_of(peer);
  uint32_t rank = message->from;
  if (!peer->holder.is_holder || !mover->is_local[rank] || mover->is_adopting[rank]) return;
  struct egd_rank_cb *cb = egd_cb(mover->seg, rank);
  uint64_t tail = message->v[0], head = message->v[1];
  if (tail > head || head < atomic_load(&cb->determinant_tail) || head > atomic_load(&cb->determinant_head)) return;
  // Polls are said again: the cut that confirmed them may be the last before the connection broke.
  peer->holder.sent[rank] =
      (struct mover_sent){.announced = true, .determinants = head, .held = head, .polls = UINT64_MAX};
}

int mover_determinants_message(struct mover_peer *peer, const struct egd_mover_message *message,
                               const unsigned char *data, size_t length) {
  struct egd_mover *mover = mover_of(peer);
  switch (message->kind) {
  case EGD_MOVER_DETERMINANTS:
    return on_determinants(peer, message, data, length);
  case EGD_MOVER_CUT:
    on_cut(peer, message->v[0]);
    return EGD_OK;
  case EGD_MOVER_HELD:
    return on_held(peer, message->v[0], data, length);
  case EGD_MOVER_HAVE:
    on_have(peer, message);
    return EGD_OK;
  case EGD_MOVER_HAVE_END:
    peer->holder.ready = true;
    return EGD_OK;
  default: // DROP
    if (atomic_load(&mover->seg->home[message->from]) == peer->node && !is_staged(peer, message->from))
      egd_replica_clear(&mover->replicas[message->from]);
    return EGD_OK;
  }
}

void mover_determinants_free(struct egd_mover *mover) {
  for (uint32_t rank = 0; rank < mover->nranks; rank++) egd_replica_clear(&mover->replicas[rank]);
  for (uint32_t node = 0; node < EGD_MOVER_MAX_NODES; node++) {
    struct mover_peer *peer = &mover->peers[node];
    free(peer->holder.sent);
    free(peer->staged);
    peer->staged = NULL;
    peer->nstaged = 0;
    peer->holder = (struct mover_holder){0};
  }
  if (mover->disk_holder.sent) memset(mover->disk_holder.sent, 0, mover->nranks * sizeof *mover->disk_holder.sent);
  mover->disk_holder.queued_cut = 0;
  retarget(&mover->disk_holder);
  mover->disk_stale = mover->disk && egd_disk_busy(mover->disk);
  init_gate(mover);
}

// ---- the end of all -------------------------------------------------------------------------------------------------

static bool keep(struct egd_mover *mover, uint32_t rank, const struct egd_replica_state *state,
                 const struct iovec data[2]) {
  char path[640];
  int status = egd_kept_write(mover->seg->job_dir, mover->seg->job_hash, rank, mover->self, mover->options.incarnation,
                              state, data, path);
  if (status != EGD_OK)
    mover_trouble(mover, false, "cannot write %s: %s; the job may not be resumed", path, egd_status_string(status));
  return status == EGD_OK;
}

void egd_mover_keep(struct egd_mover *mover) {
  if (!mover->logs_determinants || on_shared_disk(mover) || !mover->epoch) return;
  for (uint32_t rank = 0; rank < mover->nranks; rank++) {
    const struct egd_replica *replica = &mover->replicas[rank];
    const struct egd_rank_cb *cb = egd_cb(mover->seg, rank);
    struct iovec data[2] = {{0}, {0}};
    if (mover->is_local[rank] && !mover->is_adopting[rank]) {
      struct egd_replica_state state = {.tail = atomic_load(&cb->determinant_tail),
                                        .newest = atomic_load(&cb->determinant_newest),
                                        .head = atomic_load(&cb->determinant_head),
                                        .polls = atomic_load(&cb->polls)};
      egd_replica_of_ring(egd_at(mover->seg, egd_slice(mover->seg, rank) + EGD_SLICE_DETERMINANTS), state.tail,
                          state.head, data);
      if (!keep(mover, rank, &state, data)) return;
    } else if (replica->known) {
      size_t length = replica->state.head - replica->state.tail;
      const unsigned char *bytes = egd_replica_bytes(replica, replica->state.tail, &length);
      if (length != replica->state.head - replica->state.tail) continue;
      data[0] = (struct iovec){(void *)bytes, length};
      if (!keep(mover, rank, &replica->state, data)) return;
    }
  }
}
