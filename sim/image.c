// Images on the shared disk: when they count, what they free, how a rank comes back from one.
#include <string.h>
#include "sim/world.h"

void sim_image_drop(struct sim_image *image) {
  for (uint32_t i = 0; i < image->nlogs; i++) sim_free(image->logs[i].records.items);
  sim_free(image->logs);
  sim_free(image->peers);
  sim_free(image->output.items);
  *image = (struct sim_image){0};
}

uint64_t sim_image_received(const struct sim_image *image, uint32_t peer) {
  for (uint32_t i = 0; i < image->npeers; i++)
    if (image->peers[i].peer == peer) return image->peers[i].received;
  return 0;
}

static struct sim_image *image_of(struct sim_rank *r, uint32_t number) {
  for (uint32_t i = 0; number && i < SIM_IMAGES; i++)
    if (r->images[i].number == number) return &r->images[i];
  return NULL;
}

// What was freed or acknowledged already was stable.
static void cut_off(struct sim_list *list, uint64_t position) {
  if (position < list->base) position = list->base;
  if (position < list->head) list->head = position;
}

void sim_image_take(struct sim_world *w, struct sim_rank *r) {
  struct sim_slice *slice = sim_slice(w, r->home, r->self);
  sim_point(w);
  struct sim_image *image = NULL;
  for (uint32_t i = 0; i < SIM_IMAGES; i++)
    if (r->images[i].number == 0) image = &r->images[i];
  if (!image)
    sim_violation(w, "rank %u has no room for image %u: older ones are not removed", r->self, slice->image_started + 1);
  *image = (struct sim_image){.number = slice->image_started + 1, .counts = *r->state, .app = r->app};
  image->peers = sim_alloc(w, r->npeers * sizeof(*image->peers) + 1);
  image->logs = sim_alloc(w, r->npeers * sizeof(*image->logs) + 1);
  for (uint32_t i = 0; i < r->npeers; i++) {
    uint32_t peer = r->peers[i];
    const struct egd_peer_state *counts = &r->state->peers[peer];
    image->peers[image->npeers++] = (struct sim_peer_count){peer, counts->sent, counts->received};
    struct sim_channel *channel = sim_channel_if(w, r->home, r->self, peer);
    if (!w->outside || !channel || sim_broken(w, EGD_RULE_LOG_IN_IMAGE)) continue;
    struct sim_snapshot *log = &image->logs[image->nlogs++];
    log->to = peer;
    sim_list_copy(w, &log->records, &channel->records);
    // Taken in a replay: what the first execution sent later is not of this state, and may never come true again.
    if (!sim_broken(w, EGD_RULE_LOG_CUT)) cut_off(&log->records, counts->sent);
  }
  if (w->outside) {
    sim_list_copy(w, &image->output, &slice->output);
    if (!sim_broken(w, EGD_RULE_LOG_CUT)) cut_off(&image->output, r->state->output);
  }
  slice->image_started = image->number;
  w->result->images++;
  sim_trace(w, "rank %u begins image %u at step %llu", r->self, image->number, (unsigned long long)r->app.tick);
  if (sim_broken(w, EGD_RULE_TRIM_LATE)) slice->tail = image->counts.determinants;
  sim_point(w);
}

static uint64_t *bounds_of(struct sim_world *w, uint64_t **bounds) {
  if (!*bounds) *bounds = sim_alloc(w, w->nranks * sizeof(**bounds));
  return *bounds;
}

// The image counts from now on, so what only older ones need may go.
static void publish(struct sim_world *w, struct sim_rank *r, struct sim_image *image) {
  struct sim_slice *slice = sim_slice(w, r->home, r->self);
  uint64_t *bounds = bounds_of(w, &slice->bounds), *newest = bounds_of(w, &slice->newest_bounds);
  for (uint32_t i = 0; i < r->npeers; i++) {
    uint32_t peer = r->peers[i];
    uint64_t received = sim_image_received(image, peer);
    if (newest[peer] > bounds[peer]) bounds[peer] = newest[peer];
    if (received > newest[peer]) newest[peer] = received;
  }
  if (slice->newest > slice->tail) slice->tail = slice->newest;
  if (image->counts.determinants > slice->newest) slice->newest = image->counts.determinants;
  struct sim_image *superfluous = image_of(r, slice->image_older);
  slice->image_older = slice->image_durable;
  slice->image_durable = image->number;
  if (superfluous) sim_image_drop(superfluous);
  image->published = true;
  sim_trace(w, "image %u of rank %u is durable", image->number, r->self);
}

bool sim_image_advance(struct sim_world *w, struct sim_rank *r) {
  struct sim_slice *slice = sim_slice(w, r->home, r->self);
  struct sim_image *image = image_of(r, slice->image_started);
  if (!image || image->published) return false;
  image->whole = true;
  // An image of a state that may still be lost with its node must not push out one of a state that cannot.
  if (w->outside && slice->stable < image->counts.determinants && !sim_broken(w, EGD_RULE_IMAGE_STABLE)) return false;
  publish(w, r, image);
  return true;
}

// ---- coming back ----------------------------------------------------------------------------------------------------------

static bool is_usable(struct sim_world *w, const struct sim_slice *slice, const struct sim_image *image) {
  if (image->number == 0 || !image->whole) return false;
  // Beyond what is left of the determinants, it is of a past that did not happen.
  return image->counts.determinants <= slice->determinants.head || sim_broken(w, EGD_RULE_IMAGE_STABLE);
}

static struct sim_image *choose(struct sim_world *w, struct sim_rank *r, const struct sim_slice *slice) {
  struct sim_image *newest = NULL, *older = NULL;
  for (uint32_t i = 0; i < SIM_IMAGES; i++) {
    struct sim_image *image = &r->images[i];
    if (!is_usable(w, slice, image)) continue;
    if (!newest || image->number > newest->number) {
      older = newest;
      newest = image;
    } else if (!older || image->number > older->number) {
      older = image;
    }
  }
  // Two are kept because the newest may turn out to be damaged.
  return older && sim_dice(w, 8) < w->old_image_chance ? older : newest;
}

static void restore_log(struct sim_world *w, struct sim_rank *r, struct sim_slice *slice,
                        const struct sim_image *image) {
  for (uint32_t i = 0; i < image->nlogs; i++)
    sim_list_copy(w, &sim_channel(w, r->home, r->self, image->logs[i].to)->records, &image->logs[i].records);
  sim_list_copy(w, &slice->output, &image->output);
  slice->output_taken = slice->output.base;
}

// What is on the disk says which images count: the control block may be new, or know of images that are gone.
static void recount(struct sim_world *w, struct sim_rank *r, struct sim_slice *slice) {
  struct sim_image *durable = NULL, *older = NULL;
  for (uint32_t i = 0; i < SIM_IMAGES; i++) {
    struct sim_image *image = &r->images[i];
    if (!image->number || !image->published) continue;
    if (!durable || image->number > durable->number) {
      older = durable;
      durable = image;
    } else if (!older || image->number > older->number) {
      older = image;
    }
  }
  slice->image_durable = durable ? durable->number : 0;
  slice->image_older = older ? older->number : 0;
  for (uint32_t i = 0; i < SIM_IMAGES; i++)
    if (older && r->images[i].number < older->number) sim_image_drop(&r->images[i]);
  slice->newest = durable ? durable->counts.determinants : 0;
  uint64_t *newest = bounds_of(w, &slice->newest_bounds);
  bounds_of(w, &slice->bounds);
  for (uint32_t i = 0; i < r->npeers; i++) newest[r->peers[i]] = durable ? sim_image_received(durable, r->peers[i]) : 0;
}

void sim_image_restore(struct sim_world *w, struct sim_rank *r) {
  struct sim_slice *slice = sim_slice(w, r->home, r->self);
  struct sim_image *image = choose(w, r, slice);
  if (!image) sim_violation(w, "rank %u has no image from which it could come back", r->self);
  sim_trace(w, "rank %u comes back on node %u from image %u, step %llu", r->self, r->home, image->number,
            (unsigned long long)image->app.tick);
  for (uint32_t i = 0; i < SIM_IMAGES; i++) // newer ones are damaged, or of another past
    if (r->images[i].number > image->number) sim_image_drop(&r->images[i]);
  if (r->elsewhere) restore_log(w, r, slice, image);
  r->elsewhere = false;
  slice->image_started = image->number;
  recount(w, r, slice);
  // An image tells of more polls than the last visible act: who lives on from it must be able to come back to it.
  if (slice->polls < image->counts.polls) slice->polls = image->counts.polls;
  memset(r->state, 0, egd_state_size(w->nranks));
  *r->state = image->counts;
  for (uint32_t i = 0; i < image->npeers; i++)
    r->state->peers[image->peers[i].peer] =
        (struct egd_peer_state){.sent = image->peers[i].sent, .received = image->peers[i].received};
  r->app = image->app;
  r->in_poll = false;
  r->image_wanted = 0;
  sim_agent_cursors(w, r->self);
  sim_rank_recovered(w, r);
}

// ---- garbage ----------------------------------------------------------------------------------------------------------------

void sim_collect_garbage(struct sim_world *w, uint32_t rank) {
  struct sim_rank *r = &w->ranks[rank];
  if (r->phase == RANK_DEAD) return;
  struct sim_slice *slice = sim_slice(w, r->home, rank);
  struct sim_node *node = &w->nodes[r->home];
  for (uint32_t i = 0; i < r->npeers; i++) {
    uint32_t to = r->peers[i];
    struct sim_channel *channel = sim_channel_if(w, r->home, rank, to);
    if (channel) {
      uint64_t bound = channel->bound;
      struct sim_slice *theirs = node->home[to] == r->home ? node->slices[to] : NULL;
      if (theirs && theirs->bounds) bound = theirs->bounds[rank];
      if (sim_broken(w, EGD_RULE_FREE_LATE)) bound = w->ranks[to].state->peers[rank].received;
      if (bound > channel->records.base) {
        sim_oracle_freed(w, rank, to, bound);
        w->result->freed += (bound > channel->records.head ? channel->records.head : bound) - channel->records.base;
        sim_list_free_below(&channel->records, bound);
      }
    }
    // A mirror needs what its reader has not read; the rest can be had again from the sender.
    struct sim_channel *mirror = node->home[to] == r->home ? NULL : sim_channel_if(w, r->home, to, rank);
    if (mirror) sim_list_free_below(&mirror->records, r->state->peers[to].received);
  }
  if (slice->tail > slice->determinants.base) {
    sim_oracle_trimmed(w, rank, slice->tail);
    sim_bytes_free_below(&slice->determinants, slice->tail);
  }
  if (slice->output_taken > slice->output.base && w->draining + sim_dice(w, 2))
    sim_list_free_below(&slice->output, slice->output_taken);
}
