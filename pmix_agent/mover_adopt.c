// Ranks that come here from a lost node: their determinants are collected, and what was a mirror becomes their own log again.
// Also: restored ranks tell from where on they read.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pmix_agent/mover_internal.h"

#define FETCH_STEP (1ull << 20)

// ---- restored ranks -----------------------------------------------------------------------------------------------------

void mover_cursors(struct egd_mover *mover) {
  if (mover->seg->nnodes == 1) return;
  for (uint32_t rank = 0; rank < mover->nranks; rank++) {
    if (!mover->is_local[rank] || mover->is_adopting[rank]) continue;
    struct egd_rank_cb *cb = egd_cb(mover->seg, rank);
    uint32_t ready = atomic_load_explicit(&cb->cursors_ready, memory_order_acquire);
    if (ready == 0 || ready == atomic_load_explicit(&cb->mirrors_ready, memory_order_relaxed)) continue;
    mover->is_held[rank] = false;
    mover_mirror_cursors(mover, rank);
    mover_stream_find(mover, rank);
    atomic_store(&cb->mirrors_ready, ready);
    mover_zombies(mover);
  }
}

// ---- zombies ------------------------------------------------------------------------------------------------------------
// Ranks here that read the mirror of a rank that now comes here stand somewhere in the mirror's memory, and may keep messages in it.
// That memory stays; at its end a link leads to the same message in the log that the rank wrote again.

static void punch(struct egd_mover *mover, uint64_t begin, uint64_t end) {
  fallocate(mover->options.segment_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)begin, (off_t)(end - begin));
}

static void link_zombie(struct egd_mover *mover, struct mover_zombie *zombie) {
  if (mover->is_held[zombie->from]) return; // its log is not back yet
  struct egd_reader reader;
  egd_reader_init(&reader, mover->seg, zombie->from, zombie->to, zombie->ssn);
  if (egd_reader_locate(&reader) != EGD_OK) return;
  struct egd_record *end = egd_at(mover->seg, zombie->tail);
  end->kind = EGD_RECORD_LINK;
  end->length = 0;
  end->payload = reader.offset - sizeof(struct egd_block); // readers skip a block's head
  atomic_store_explicit(&end->commit, EGD_LOG_LINK_COMMIT, memory_order_release);
  zombie->linked = true;
  mover_wake(mover, zombie->to);
}

void mover_zombies(struct egd_mover *mover) {
  for (uint32_t i = 0; i < mover->nzombies;) {
    struct mover_zombie *zombie = &mover->zombies[i];
    if (!zombie->linked) link_zombie(mover, zombie);
    uint64_t consumed = atomic_load(&egd_consumed(mover->seg, zombie->to)[zombie->from]);
    // Only who has taken the first message behind the link has surely left.
    if (!zombie->linked || consumed <= zombie->ssn) {
      i++;
      continue;
    }
    uint32_t from = zombie->from;
    *zombie = mover->zombies[--mover->nzombies];
    bool others = false;
    for (uint32_t j = 0; j < mover->nzombies; j++) others |= mover->zombies[j].from == from;
    if (others || !mover->logs[from]) continue;
    punch(mover, egd_mirror_begin(mover->seg, from), egd_slice(mover->seg, from) + mover->seg->slice_size);
    egd_log_detach(mover->logs[from]);
    free(mover->logs[from]);
    mover->logs[from] = NULL;
  }
}

static int clear_slice(struct egd_mover *mover, uint32_t rank) {
  struct mover_zombie *grown = realloc(mover->zombies, (mover->nzombies + mover->nranks) * sizeof *grown);
  if (!grown) return EGD_ERR_NO_MEMORY;
  mover->zombies = grown;
  for (uint32_t to = 0; to < mover->nranks; to++) {
    struct egd_channel *channel = egd_channel(mover->seg, rank, to);
    if (mover->is_local[to] && atomic_load(&channel->tail))
      mover->zombies[mover->nzombies++] = (struct mover_zombie){
          .from = rank, .to = to, .tail = atomic_load(&channel->tail), .ssn = atomic_load(&channel->published)};
    atomic_fetch_add(&channel->generation, 1);
    atomic_store(&channel->head, 0);
    atomic_store(&channel->head_ssn, 0);
    atomic_store(&channel->tail, 0);
    atomic_store(&channel->published, 0);
    channel->tail_end = 0;
    atomic_fetch_add(&channel->generation, 1);
  }
  memset(egd_cb(mover->seg, rank), 0, sizeof(struct egd_rank_cb));
  for (uint32_t from = 0; from < mover->nranks; from++) atomic_store(&egd_consumed(mover->seg, rank)[from], 0);
  // The rank's own half: rings and log of an earlier life here.
  punch(mover, egd_slice(mover->seg, rank) + EGD_SLICE_OUTPUT, egd_mirror_begin(mover->seg, rank));
  return EGD_OK;
}

// ---- collecting -----------------------------------------------------------------------------------------------------------

static struct mover_adoption *adoption_of(const struct egd_mover *mover, uint32_t rank) {
  struct mover_adoption *adoption = mover->adoptions;
  while (adoption && adoption->rank != rank) adoption = adoption->next;
  return adoption;
}

static void put_bytes(struct egd_mover *mover, uint32_t rank, uint64_t position, const unsigned char *data,
                      size_t length) {
  unsigned char *ring = egd_at(mover->seg, egd_slice(mover->seg, rank) + EGD_SLICE_DETERMINANTS);
  uint64_t at = position % EGD_DETERMINANT_RING, first = EGD_DETERMINANT_RING - at;
  if (first > length) first = length;
  memcpy(ring + at, data, first);
  memcpy(ring, data + first, length - first);
}

static void finish(struct egd_mover *mover, struct mover_adoption *adoption, enum egd_status status, const char *why) {
  uint32_t rank = adoption->rank;
  struct egd_replica_state state = adoption->state;
  for (struct mover_adoption **at = &mover->adoptions; *at; at = &(*at)->next)
    if (*at == adoption) {
      *at = adoption->next;
      break;
    }
  free(adoption);
  if (status == EGD_OK) {
    struct egd_rank_cb *cb = egd_cb(mover->seg, rank);
    atomic_store(&cb->determinant_tail, state.tail);
    atomic_store(&cb->determinant_newest, state.newest);
    atomic_store(&cb->determinant_stable, state.head);
    atomic_store(&cb->polls, state.polls);
    atomic_store(&cb->polls_stable, state.polls);
    atomic_store(&cb->determinant_head, state.head);
    mover->is_adopting[rank] = false;
    egd_replica_clear(&mover->replicas[rank]);
    mover_determinants_view(mover);
    mover->again = true;
  }
  if (mover->options.callbacks.adopted)
    mover->options.callbacks.adopted(mover->options.callbacks.arg, rank, status, state.head - state.tail, why);
}

static void consider(struct mover_adoption *adoption, uint32_t node, const struct egd_replica_state *state) {
  // The longest one: all others are beginnings of it. Polls may differ by a cut without determinants.
  bool better = adoption->best == MOVER_NO_ID || state->head > adoption->state.head ||
                (state->head == adoption->state.head && state->polls > adoption->state.polls);
  if (!better) return;
  adoption->best = node;
  adoption->state = *state;
}

static void start_collecting(struct egd_mover *mover, struct mover_adoption *adoption) {
  memset(adoption->answered, 0, sizeof adoption->answered);
  adoption->request = ++mover->next_request;
  adoption->best = MOVER_NO_ID;
  adoption->state = (struct egd_replica_state){0};
  adoption->fetching = false;
  const struct egd_replica *own = &mover->replicas[adoption->rank];
  if (own->known) consider(adoption, mover->self, &own->state);
}

void mover_adopt_ask(struct egd_mover *mover, struct mover_peer *only) {
  for (struct mover_adoption *adoption = mover->adoptions; adoption; adoption = adoption->next)
    for (uint32_t node = 0; node < mover->nnodes; node++) {
      struct mover_peer *peer = &mover->peers[node];
      if ((only && only != peer) || adoption->answered[node] || !mover_up(peer)) continue;
      if (adoption->fetching) continue;
      struct egd_mover_message collect = {.kind = EGD_MOVER_COLLECT, .id = adoption->request, .from = adoption->rank};
      mover_say(peer, &collect, NULL, 0);
    }
}

static void fetch_more(struct egd_mover *mover, struct mover_adoption *adoption) {
  uint64_t end = adoption->state.head;
  if (end - adoption->position > FETCH_STEP) end = adoption->position + FETCH_STEP;
  struct egd_mover_message fetch = {
      .kind = EGD_MOVER_FETCH, .id = adoption->request, .from = adoption->rank, .v = {adoption->position, end}};
  adoption->step_end = end;
  mover_say(&mover->peers[adoption->best], &fetch, NULL, 0);
}

static void begin_fetch(struct egd_mover *mover, struct mover_adoption *adoption) {
  adoption->position = adoption->state.tail;
  adoption->fetching = true;
  if (adoption->best != mover->self) {
    if (adoption->position < adoption->state.head) fetch_more(mover, adoption);
    return;
  }
  while (adoption->position < adoption->state.head) {
    size_t length = adoption->state.head - adoption->position;
    const unsigned char *bytes = egd_replica_bytes(&mover->replicas[adoption->rank], adoption->position, &length);
    if (!bytes) break;
    put_bytes(mover, adoption->rank, adoption->position, bytes, length);
    adoption->position += length;
  }
}

static void take_replica(struct egd_mover *mover, struct mover_adoption *adoption, int status,
                         struct egd_replica *replica, const char *file) {
  char why[800] = "";
  if (status == EGD_OK) {
    adoption->state = replica->state;
    for (uint64_t at = replica->state.tail; at < replica->state.head;) {
      size_t length = replica->state.head - at;
      const unsigned char *bytes = egd_replica_bytes(replica, at, &length);
      put_bytes(mover, adoption->rank, at, bytes, length);
      at += length;
    }
  } else {
    snprintf(why, sizeof why, "%s: %s", file, egd_status_string(status));
    if (status == EGD_ERR_NOT_FOUND) status = EGD_ERR_LOST;
  }
  egd_replica_clear(replica);
  finish(mover, adoption, status, why);
}

static void read_disk(struct egd_mover *mover, struct mover_adoption *adoption) {
  struct egd_replica replica = {0};
  char path[640];
  snprintf(path, sizeof path, "%.512s/determinants/rank-%u.log", mover->seg->job_dir, adoption->rank);
  int status = egd_disk_read(path, mover->seg->job_hash, adoption->rank, &replica);
  take_replica(mover, adoption, status, &replica, path);
}

// What nodes left behind when the whole job stopped.
static bool read_kept(struct egd_mover *mover, struct mover_adoption *adoption) {
  struct egd_replica replica = {0};
  if (egd_kept_read(mover->seg->job_dir, mover->seg->job_hash, adoption->rank, &replica) != EGD_OK) return false;
  take_replica(mover, adoption, EGD_OK, &replica, "");
  return true;
}

// One step of one adoption; true if it is over.
static bool step(struct egd_mover *mover, struct mover_adoption *adoption) {
  if (mover->disk) {
    read_disk(mover, adoption);
    return true;
  }
  if (adoption->fetching) {
    if (adoption->position < adoption->state.head) return false;
    finish(mover, adoption, EGD_OK, "");
    return true;
  }
  for (uint32_t node = 0; node < mover->nnodes; node++)
    if (node != mover->self && mover->peers[node].alive && !adoption->answered[node]) return false;
  if (adoption->best == MOVER_NO_ID) {
    if (read_kept(mover, adoption)) return true;
    char why[160];
    snprintf(why, sizeof why,
             "no node that is alive holds the determinants of rank %u: more than f = %u nodes were lost at once",
             adoption->rank, mover->seg->plan.f);
    finish(mover, adoption, EGD_ERR_LOST, why);
    return true;
  }
  begin_fetch(mover, adoption);
  return false;
}

void mover_adopt_work(struct egd_mover *mover, bool tick) {
  for (struct mover_adoption *adoption = mover->adoptions, *next; adoption; adoption = next) {
    next = adoption->next;
    if (!step(mover, adoption)) {
      if (adoption->fetching && adoption->position >= adoption->state.head) step(mover, adoption);
    }
  }
  // Asked again until answered: a node whose view lags behind does not answer.
  if (tick) mover_adopt_ask(mover, NULL);
}

int egd_mover_adopt_rank(struct egd_mover *mover, uint32_t rank) {
  if (rank >= mover->nranks || !mover->is_local[rank] || !mover->is_adopting[rank]) return EGD_ERR_INVALID;
  if (adoption_of(mover, rank)) return EGD_OK;
  struct mover_adoption *adoption = calloc(1, sizeof *adoption);
  if (!adoption || clear_slice(mover, rank) != EGD_OK) {
    free(adoption);
    return EGD_ERR_NO_MEMORY;
  }
  adoption->rank = rank;
  adoption->next = mover->adoptions;
  mover->adoptions = adoption;
  start_collecting(mover, adoption);
  mover_adopt_ask(mover, NULL);
  if (!mover->kick) mover->kick = egd_reactor_after(mover->reactor, 0, mover_kick, mover);
  return EGD_OK;
}

void mover_adopt_view(struct egd_mover *mover) {
  for (struct mover_adoption *adoption = mover->adoptions, *next; adoption; adoption = next) {
    next = adoption->next;
    uint32_t best = adoption->best;
    if (!mover->is_local[adoption->rank]) { // it was given to another node
      mover->is_adopting[adoption->rank] = false;
      finish(mover, adoption, EGD_ERR_NOT_FOUND, "the rank was given to another node");
    } else if (best != MOVER_NO_ID && best != mover->self && !mover->peers[best].alive) {
      start_collecting(mover, adoption);
    }
  }
  mover_adopt_ask(mover, NULL);
}

void mover_adopt_down(struct mover_peer *peer) {
  struct egd_mover *mover = mover_of(peer);
  for (struct mover_adoption *adoption = mover->adoptions; adoption; adoption = adoption->next)
    if (adoption->fetching && adoption->best == peer->node) start_collecting(mover, adoption);
}

// ---- messages ---------------------------------------------------------------------------------------------------------

static void answer_collect(struct mover_peer *peer, const struct egd_mover_message *message) {
  struct egd_mover *mover = mover_of(peer);
  // Only after our view says so: from then on nothing of the rank's old node is accepted, so the answer is final.
  if (atomic_load(&mover->seg->home[message->from]) != peer->node) return;
  const struct egd_replica *replica = &mover->replicas[message->from];
  struct egd_mover_message answer = {
      .kind = EGD_MOVER_REPLICA,
      .id = message->id,
      .flags = replica->known,
      .from = message->from,
      .v = {replica->state.tail, replica->state.newest, replica->state.head, replica->state.polls}};
  mover_say(peer, &answer, NULL, 0);
}

static void answer_fetch(struct mover_peer *peer, const struct egd_mover_message *message) {
  struct egd_mover *mover = mover_of(peer);
  const struct egd_replica *replica = &mover->replicas[message->from];
  uint64_t position = message->v[0], end = message->v[1];
  if (end - position > FETCH_STEP) end = position + FETCH_STEP;
  while (position < end && mover_up(peer)) {
    size_t length = end - position < EGD_MOVER_PIECE ? end - position : EGD_MOVER_PIECE;
    const unsigned char *bytes = egd_replica_bytes(replica, position, &length);
    if (!bytes) return;
    struct egd_mover_message answer = {
        .kind = EGD_MOVER_BYTES, .id = message->id, .from = message->from, .v = {position}};
    mover_say(peer, &answer, bytes, length);
    position += length;
  }
}

int mover_adopt_message(struct mover_peer *peer, const struct egd_mover_message *message, const unsigned char *data,
                        size_t length) {
  struct egd_mover *mover = mover_of(peer);
  if (message->kind == EGD_MOVER_COLLECT) {
    answer_collect(peer, message);
    return EGD_OK;
  }
  if (message->kind == EGD_MOVER_FETCH) {
    if (message->v[0] > message->v[1]) return EGD_ERR_CORRUPT;
    answer_fetch(peer, message);
    return EGD_OK;
  }
  struct mover_adoption *adoption = adoption_of(mover, message->from);
  if (!adoption || adoption->request != message->id) return EGD_OK; // of a collection that is over
  if (message->kind == EGD_MOVER_REPLICA) {
    if (adoption->fetching || adoption->answered[peer->node]) return EGD_OK;
    struct egd_replica_state state = {
        .tail = message->v[0], .newest = message->v[1], .head = message->v[2], .polls = message->v[3]};
    if (message->flags & 1) {
      if (state.tail > state.head || state.head - state.tail > EGD_DETERMINANT_RING) return EGD_ERR_CORRUPT;
      consider(adoption, peer->node, &state);
    }
    adoption->answered[peer->node] = true;
    return EGD_OK;
  }
  if (!adoption->fetching || peer->node != adoption->best) return EGD_OK;
  if (message->v[0] != adoption->position || length > adoption->state.head - adoption->position) return EGD_ERR_CORRUPT;
  put_bytes(mover, adoption->rank, adoption->position, data, length);
  adoption->position += length;
  if (adoption->position == adoption->step_end && adoption->position < adoption->state.head)
    fetch_more(mover, adoption);
  return EGD_OK;
}

void mover_adopt_free(struct egd_mover *mover) {
  while (mover->adoptions) {
    struct mover_adoption *adoption = mover->adoptions;
    mover->adoptions = adoption->next;
    free(adoption);
  }
  free(mover->zombies);
  mover->zombies = NULL;
  mover->nzombies = 0;
}
