// The sender's side: channels from ranks that live here to ranks elsewhere.
#include <stdlib.h>
#include <string.h>
#include "pmix_agent/mover_internal.h"

static struct mover_stream *stream_of(const struct egd_mover *mover, uint32_t from, uint32_t to) {
  return mover->stream_rows[from] ? mover->stream_rows[from][to] : NULL;
}

static void say_news(struct mover_stream *stream) {
  struct egd_mover_message news = {.kind = EGD_MOVER_NEWS, .from = stream->from, .to = stream->to};
  mover_say(stream->peer, &news, NULL, 0);
}

static struct mover_stream *stream_create(struct egd_mover *mover, uint32_t from, uint32_t to) {
  if (!mover->stream_rows[from]) mover->stream_rows[from] = calloc(mover->nranks, sizeof(struct mover_stream *));
  if (mover->nstreams == mover->streams_size) {
    uint32_t size = mover->streams_size ? 2 * mover->streams_size : 64;
    struct mover_stream **grown = realloc(mover->streams, size * sizeof *grown);
    if (grown) {
      mover->streams = grown;
      mover->streams_size = size;
    }
  }
  struct mover_stream *stream = calloc(1, sizeof *stream);
  if (!stream || !mover->stream_rows[from] || mover->nstreams == mover->streams_size) {
    free(stream);
    mover_trouble(mover, true, "no memory for the channel from rank %u to rank %u", from, to);
    return NULL;
  }
  *stream = (struct mover_stream){.from = from, .to = to, .id = MOVER_NO_ID};
  stream->peer = &mover->peers[atomic_load(&mover->seg->home[to])];
  stream->images_wanted = atomic_load(&egd_cb(mover->seg, to)->image_request);
  mover->stream_rows[from][to] = stream;
  mover->streams[mover->nstreams++] = stream;
  return stream;
}

static void unsubscribe(struct mover_stream *stream) {
  if (stream->id == MOVER_NO_ID) return;
  if (stream->id < stream->peer->by_id_size && stream->peer->by_id[stream->id] == stream)
    stream->peer->by_id[stream->id] = NULL;
  stream->id = MOVER_NO_ID;
}

// ---- news -----------------------------------------------------------------------------------------------------------

static bool find_channels(struct egd_mover *mover) {
  bool found = false;
  for (uint32_t to = 0; to < mover->nranks; to++) {
    if (mover->is_local[to]) continue;
    _Atomic uint64_t *ready = egd_ready(mover->seg, to);
    for (uint32_t i = 0; i < mover->nworker_words; i++) {
      uint32_t word = mover->worker_words[i];
      if (!atomic_load_explicit(&ready[word], memory_order_relaxed)) continue;
      uint64_t bits = atomic_exchange(&ready[word], 0);
      for (; bits; bits &= bits - 1) {
        uint32_t from = word * 64 + (uint32_t)__builtin_ctzll(bits);
        if (from >= mover->nranks || !mover->is_local[from] || stream_of(mover, from, to)) continue;
        struct mover_stream *stream = stream_create(mover, from, to);
        if (stream) say_news(stream);
        found = true;
      }
    }
  }
  return found;
}

bool mover_stream_scan(struct egd_mover *mover) {
  if (mover->broken) return false;
  bool found = find_channels(mover), fresh = false;
  for (uint32_t i = 0; i < mover->nstreams; i++) {
    struct mover_stream *stream = mover->streams[i];
    if (stream->id == MOVER_NO_ID || stream->pending > stream->cleared || mover->is_held[stream->from]) continue;
    struct egd_channel *channel = egd_channel(mover->seg, stream->from, stream->to);
    uint64_t published = atomic_load_explicit(&channel->published, memory_order_acquire);
    if (published <= stream->cleared) continue;
    stream->pending = published;
    stream->pending_cut = 0;
    fresh = true;
  }
  if (!fresh) return found;
  // After the looks above: the cut covers whatever led to these records.
  uint64_t cut = egd_mover_cut(mover);
  for (uint32_t i = 0; i < mover->nstreams; i++)
    if (mover->streams[i]->pending_cut == 0) mover->streams[i]->pending_cut = cut;
  return true;
}

// ---- data -----------------------------------------------------------------------------------------------------------

// Fills `to` with bytes of the stream; the reader moves on. Returns how many.
static size_t fill(struct egd_mover *mover, struct mover_stream *stream, unsigned char *to, size_t room) {
  size_t done = 0;
  while (done < room && stream->reader.ssn < stream->cleared) {
    const struct egd_record *record = egd_reader_peek(&stream->reader);
    if (!record) break;
    if (stream->record_offset < EGD_MOVER_RECORD) {
      struct egd_mover_record head = {.length = record->length,
                                      .imm = record->imm,
                                      .cookie = record->cookie,
                                      .kind = record->kind,
                                      .header_length = record->header_length};
      size_t n = EGD_MOVER_RECORD - stream->record_offset;
      if (n > room - done) n = room - done;
      memcpy(to + done, (const unsigned char *)&head + stream->record_offset, n);
      done += n;
      stream->record_offset += n;
      if (stream->record_offset < EGD_MOVER_RECORD) break;
      mover_need(mover, record);
    }
    uint64_t offset = stream->record_offset - EGD_MOVER_RECORD, n = record->length - offset;
    if (n > room - done) n = room - done;
    if (n > 0 && !mover->broken) egd_record_read(mover->seg, record, offset, to + done, n);
    done += n;
    stream->record_offset += n;
    if (stream->record_offset < EGD_MOVER_RECORD + record->length) break;
    stream->record_offset = 0;
    egd_reader_advance(&stream->reader, record);
    mover->counters.records_sent++;
  }
  return done;
}

static void check_gone(struct egd_mover *mover, struct mover_stream *stream) {
  struct egd_reader probe = stream->reader;
  if (probe.offset != 0 || egd_reader_locate(&probe) != EGD_ERR_LOST) return;
  struct egd_mover_message gone = {.kind = EGD_MOVER_GONE, .id = stream->id, .v = {[2] = stream->epoch}};
  gone.v[0] = atomic_load(&egd_channel(mover->seg, stream->from, stream->to)->head_ssn);
  mover_say(stream->peer, &gone, NULL, 0);
  unsubscribe(stream);
}

// True if there is more to send than fits now.
static bool pull_one(struct egd_mover *mover, struct mover_stream *stream) {
  if (stream->pending > stream->cleared && egd_gate_may_leave(&mover->gate, stream->pending_cut, stream->peer->node))
    stream->cleared = stream->pending;
  if (stream->reader.ssn >= stream->cleared || stream->sent >= stream->limit) return false;
  uint64_t room = stream->limit - stream->sent;
  if (room > EGD_MOVER_PIECE) room = EGD_MOVER_PIECE;
  // With a cursor, the reader may stand before a link: its number counts, not its place.
  struct egd_mover_message data = {
      .kind = EGD_MOVER_DATA, .id = stream->id, .v = {stream->reader.ssn, stream->record_offset, stream->epoch}};
  size_t length = fill(mover, stream, mover->scratch, room);
  if (length == 0) {
    check_gone(mover, stream);
    return false;
  }
  stream->sent += length;
  mover->counters.bytes_sent += length;
  mover_say(stream->peer, &data, mover->scratch, length);
  return stream->reader.ssn < stream->cleared && stream->sent < stream->limit;
}

void mover_stream_pull(struct mover_peer *peer) {
  struct egd_mover *mover = mover_of(peer);
  if (mover->broken || mover->nstreams == 0) return;
  // One piece of each in turn, beginning after the one that was last served.
  uint32_t idle = 0;
  while (idle < mover->nstreams && mover_up(peer) && egd_frame_queued(&peer->link->out) < MOVER_QUEUE) {
    if (mover->next_stream >= mover->nstreams) mover->next_stream = 0;
    struct mover_stream *stream = mover->streams[mover->next_stream++];
    bool more =
        stream->peer == peer && stream->id != MOVER_NO_ID && !mover->is_held[stream->from] && pull_one(mover, stream);
    idle = more ? 0 : idle + 1;
  }
}

// ---- messages -------------------------------------------------------------------------------------------------------

static int subscribe(struct mover_peer *peer, const struct egd_mover_message *message) {
  struct egd_mover *mover = mover_of(peer);
  if (message->id >= EGD_MOVER_MAX_ID) return EGD_ERR_CORRUPT;
  bool ours = mover->is_local[message->from] && atomic_load(&mover->seg->home[message->to]) == peer->node;
  struct mover_stream *stream = NULL;
  if (ours) stream = stream_of(mover, message->from, message->to);
  if (ours && !stream) stream = stream_create(mover, message->from, message->to);
  if (stream && message->id >= peer->by_id_size) {
    uint32_t size = peer->by_id_size ? peer->by_id_size : 64;
    while (size <= message->id) size *= 2;
    struct mover_stream **grown = realloc(peer->by_id, size * sizeof *grown);
    if (grown) {
      memset(grown + peer->by_id_size, 0, (size - peer->by_id_size) * sizeof *grown);
      peer->by_id = grown;
      peer->by_id_size = size;
    } else {
      stream = NULL;
    }
  }
  if (!stream) { // our view may lag behind
    struct egd_mover_message retry = {.kind = EGD_MOVER_RETRY, .id = message->id, .v = {[2] = message->v[2]}};
    mover_say(peer, &retry, NULL, 0);
    return EGD_OK;
  }
  unsubscribe(stream);
  if (peer->by_id[message->id]) unsubscribe(peer->by_id[message->id]);
  peer->by_id[message->id] = stream;
  stream->peer = peer;
  stream->id = message->id;
  egd_reader_init(&stream->reader, mover->seg, stream->from, stream->to, message->v[0]);
  stream->cleared = message->v[0];
  stream->pending = 0;
  stream->record_offset = stream->sent = 0;
  stream->limit = message->v[1];
  stream->epoch = message->v[2];
  return EGD_OK;
}

static void raise(_Atomic uint64_t *word, uint64_t value) {
  if (value > atomic_load(word)) atomic_store(word, value);
}

static int credit(struct mover_peer *peer, const struct egd_mover_message *message) {
  if (message->id >= peer->by_id_size || !peer->by_id[message->id]) return EGD_OK; // of a subscription before
  struct mover_stream *stream = peer->by_id[message->id];
  struct egd_mover *mover = mover_of(peer);
  if (message->v[0] > stream->limit) stream->limit = message->v[0];
  if (message->v[1] > stream->reader.ssn) return EGD_ERR_CORRUPT;
  // Without a message log the sender frees what its receiver's node has.
  raise(&egd_consumed(mover->seg, stream->to)[stream->from], message->v[1]);
  return EGD_OK;
}

static int bounds(struct mover_peer *peer, const struct egd_mover_message *message, const unsigned char *data,
                  size_t length) {
  struct egd_mover *mover = mover_of(peer);
  if (atomic_load(&mover->seg->home[message->to]) != peer->node) return EGD_OK; // it does not speak for that rank
  for (; length >= sizeof(struct egd_mover_bound); length -= sizeof(struct egd_mover_bound)) {
    struct egd_mover_bound bound;
    memcpy(&bound, data, sizeof bound);
    data += sizeof bound;
    if (bound.from >= mover->nranks || bound.bound > bound.newest) return EGD_ERR_CORRUPT;
    raise(&egd_bounds(mover->seg, message->to)[bound.from], bound.bound);
    raise(&egd_newest(mover->seg, message->to)[bound.from], bound.newest);
  }
  return EGD_OK;
}

int mover_stream_message(struct mover_peer *peer, const struct egd_mover_message *message, const unsigned char *data,
                         size_t length) {
  if (message->kind == EGD_MOVER_SUBSCRIBE) return subscribe(peer, message);
  if (message->kind == EGD_MOVER_CREDIT) return credit(peer, message);
  return bounds(peer, message, data, length);
}

// ---- changes --------------------------------------------------------------------------------------------------------

void mover_stream_up(struct mover_peer *peer) {
  struct egd_mover *mover = mover_of(peer);
  for (uint32_t i = 0; i < mover->nstreams; i++)
    if (mover->streams[i]->peer == peer) say_news(mover->streams[i]);
}

void mover_stream_down(struct mover_peer *peer) {
  for (uint32_t id = 0; id < peer->by_id_size; id++)
    if (peer->by_id[id]) unsubscribe(peer->by_id[id]);
}

void mover_stream_tick(struct egd_mover *mover) {
  for (uint32_t i = 0; i < mover->nstreams; i++) {
    struct mover_stream *stream = mover->streams[i];
    // Said again until somebody subscribes: the first time its view may have lagged behind.
    if (stream->id == MOVER_NO_ID) say_news(stream);
    uint32_t wanted = atomic_load_explicit(&egd_cb(mover->seg, stream->to)->image_request, memory_order_relaxed);
    if (wanted == stream->images_wanted || !mover_up(stream->peer)) continue;
    stream->images_wanted = wanted;
    bool said = false; // several senders' streams see the same wish
    for (uint32_t j = 0; j < i && !said; j++)
      said = mover->streams[j]->to == stream->to && mover->streams[j]->images_wanted == wanted;
    struct egd_mover_message image = {.kind = EGD_MOVER_IMAGE, .to = stream->to};
    if (!said) mover_say(stream->peer, &image, NULL, 0);
  }
}

void mover_stream_view(struct egd_mover *mover) {
  mover->nworker_words = 0;
  for (uint32_t word = 0; word * 64 < mover->nranks; word++) {
    bool any = false;
    for (uint32_t rank = word * 64; rank < word * 64 + 64 && rank < mover->nranks; rank++) any |= mover->is_local[rank];
    if (any) mover->worker_words[mover->nworker_words++] = word;
  }
  for (uint32_t i = 0; i < mover->nstreams;) {
    struct mover_stream *stream = mover->streams[i];
    struct mover_peer *home = &mover->peers[atomic_load(&mover->seg->home[stream->to])];
    if (stream->peer == home && mover->is_local[stream->from]) {
      i++;
      continue;
    }
    unsubscribe(stream);
    stream->peer = home;
    if (mover->is_local[stream->from] && home->node != mover->self) {
      say_news(stream);
      i++;
      continue;
    }
    mover->stream_rows[stream->from][stream->to] = NULL;
    mover->streams[i] = mover->streams[--mover->nstreams];
    free(stream);
  }
  for (uint32_t from = 0; from < mover->nranks; from++)
    if (mover->is_local[from] && !mover->is_held[from]) mover_stream_find(mover, from);
}

// Ready bits may have been cleared for a node that is gone, or by an agent before us: look at what there is.
void mover_stream_find(struct egd_mover *mover, uint32_t from) {
  for (uint32_t to = 0; to < mover->nranks; to++) {
    if (mover->is_local[to] || stream_of(mover, from, to)) continue;
    if (atomic_load(&egd_channel(mover->seg, from, to)->published) == 0) continue;
    struct mover_stream *stream = stream_create(mover, from, to);
    if (stream) say_news(stream);
  }
}

void mover_stream_free(struct egd_mover *mover) {
  for (uint32_t i = 0; i < mover->nstreams; i++) free(mover->streams[i]);
  free(mover->streams);
  mover->streams = NULL;
  mover->nstreams = mover->streams_size = 0;
  for (uint32_t rank = 0; rank < mover->nranks; rank++) {
    free(mover->stream_rows[rank]);
    mover->stream_rows[rank] = NULL;
  }
  for (uint32_t node = 0; node < EGD_MOVER_MAX_NODES; node++) {
    free(mover->peers[node].by_id);
    mover->peers[node].by_id = NULL;
    mover->peers[node].by_id_size = 0;
  }
}
