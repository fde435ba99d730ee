// What exists: nodes, the slices in their memory, links, and how things cease to exist.
#include <string.h>
#include "sim/world.h"

// ---- slices and channels ----------------------------------------------------------------------------------------------

struct sim_slice *sim_slice(struct sim_world *w, uint32_t node, uint32_t rank) {
  struct sim_slice **slice = &w->nodes[node].slices[rank];
  if (!*slice) *slice = sim_alloc(w, sizeof(**slice));
  return *slice;
}

struct sim_channel *sim_channel_if(struct sim_world *w, uint32_t node, uint32_t from, uint32_t to) {
  struct sim_slice *slice = w->nodes[node].slices[from];
  return slice && slice->channels ? slice->channels[to] : NULL;
}

static void meet(struct sim_world *w, struct sim_rank *r, uint32_t peer) {
  for (uint32_t i = 0; i < r->npeers; i++)
    if (r->peers[i] == peer) return;
  if (r->npeers == r->peers_size) {
    r->peers_size = r->npeers ? 2 * r->npeers : 8;
    r->peers = sim_grow(w, r->peers, r->npeers * sizeof(*r->peers), r->peers_size * sizeof(*r->peers));
  }
  r->peers[r->npeers++] = peer;
}

struct sim_channel *sim_channel(struct sim_world *w, uint32_t node, uint32_t from, uint32_t to) {
  struct sim_slice *slice = sim_slice(w, node, from);
  if (!slice->channels) slice->channels = sim_alloc(w, w->nranks * sizeof(*slice->channels));
  if (!slice->channels[to]) {
    slice->channels[to] = sim_alloc(w, sizeof(**slice->channels));
    meet(w, &w->ranks[from], to);
    meet(w, &w->ranks[to], from);
  }
  return slice->channels[to];
}

void sim_slice_drop(struct sim_world *w, uint32_t node, uint32_t rank) {
  struct sim_slice *slice = w->nodes[node].slices[rank];
  if (!slice) return;
  w->nodes[node].slices[rank] = NULL;
  for (uint32_t to = 0; slice->channels && to < w->nranks; to++) {
    if (!slice->channels[to]) continue;
    sim_free(slice->channels[to]->records.items);
    sim_free(slice->channels[to]);
  }
  sim_free(slice->channels);
  sim_free(slice->determinants.data);
  sim_free(slice->output.items);
  sim_free(slice->bounds);
  sim_free(slice->newest_bounds);
  sim_free(slice);
}

// ---- links ------------------------------------------------------------------------------------------------------------

void sim_send(struct sim_world *w, uint32_t from, uint32_t to, struct sim_packet *packet) {
  uint32_t link = from * w->nnodes + to;
  packet->incarnation = w->nodes[from].incarnation;
  packet->to_incarnation = w->nodes[from].peer_incarnation[to];
  packet->next = NULL;
  if (w->links[link])
    w->link_ends[link]->next = packet;
  else
    w->links[link] = packet;
  w->link_ends[link] = packet;
}

void sim_packet_free(struct sim_packet *packet) {
  for (uint32_t i = 0; i < packet->npieces; i++) sim_free(packet->pieces[i].data);
  sim_free(packet->pieces);
  sim_free(packet);
}

static void cut_link(struct sim_world *w, uint32_t from, uint32_t to) {
  uint32_t link = from * w->nnodes + to;
  for (struct sim_packet *packet = w->links[link], *next; packet; packet = next) {
    next = packet->next;
    sim_packet_free(packet);
  }
  w->links[link] = NULL;
}

// ---- nodes ------------------------------------------------------------------------------------------------------------

static void open_node(struct sim_world *w, uint32_t n) {
  struct sim_node *node = &w->nodes[n];
  const struct egd_plan *plan = &w->options->plan;
  node->self = n;
  node->alive = true;
  bool disk = plan->determinant_store == EGD_DETERMINANT_SHARED_DISK;
  bool open = !(plan->flags & EGD_PLAN_LOG_DETERMINANTS) || plan->determinant_store == EGD_DETERMINANT_NONE ||
              (w->options->nnodes == 1 && !disk) || sim_broken(w, EGD_RULE_GATE);
  egd_gate_init(&node->gate, disk ? 1 : plan->f, open);
  node->home = sim_alloc(w, w->nranks * sizeof(*node->home));
  node->slices = sim_alloc(w, w->nranks * sizeof(*node->slices));
  node->replicas = sim_alloc(w, w->nranks * sizeof(*node->replicas));
  node->now = sim_alloc(w, w->nranks * sizeof(*node->now));
  node->last = sim_alloc(w, w->nranks * sizeof(*node->last));
  node->local = sim_alloc(w, w->nranks * sizeof(*node->local));
  node->adoptions = sim_alloc(w, w->nranks * sizeof(*node->adoptions));
  memset(node->last, 0xff, w->nranks * sizeof(*node->last));
  if (disk) {
    node->disk_holder.is_holder = true;
    node->disk_holder.sent = sim_alloc(w, w->nranks * sizeof(*node->disk_holder.sent));
  }
}

static void close_node(struct sim_world *w, uint32_t n) {
  struct sim_node *node = &w->nodes[n];
  if (!node->home) return;
  for (uint32_t r = 0; r < w->nranks; r++) {
    sim_slice_drop(w, n, r);
    sim_free(node->replicas[r].bytes.data);
    sim_free(node->adoptions[r].best.data);
  }
  for (uint32_t peer = 0; peer < w->nnodes; peer++) sim_free(node->holders[peer].sent);
  sim_free(node->disk_holder.sent);
  if (node->disk_packet) sim_packet_free(node->disk_packet);
  sim_free(node->home);
  sim_free(node->slices);
  sim_free(node->replicas);
  sim_free(node->now);
  sim_free(node->last);
  sim_free(node->local);
  sim_free(node->adoptions);
  uint32_t incarnation = node->incarnation;
  *node = (struct sim_node){.self = n, .incarnation = incarnation};
}

bool sim_is_safe(struct sim_world *w) {
  for (uint32_t n = 0; n < w->nnodes; n++) {
    struct sim_node *node = &w->nodes[n];
    if (!node->alive) continue;
    if (node->view != w->view || egd_gate_stable(&node->gate) < node->view_cut) return false;
  }
  for (uint32_t r = 0; r < w->nranks; r++)
    if (w->ranks[r].adopting || w->ranks[r].elsewhere) return false;
  return true;
}

bool sim_may_kill_node(struct sim_world *w, uint32_t n) {
  if (!w->nodes[n].alive || !w->outside) return false; // nothing outside the node: that ends the job
  uint32_t alive = 0;
  for (uint32_t i = 0; i < w->nnodes; i++) alive += w->nodes[i].alive;
  if (alive < 2) return false;
  if (!w->started || w->options->plan.determinant_store == EGD_DETERMINANT_SHARED_DISK) return true;
  if (sim_is_safe(w) && alive > w->options->plan.f) w->deaths = 0;
  return w->deaths < w->options->plan.f;
}

void sim_kill_node(struct sim_world *w, uint32_t n) {
  sim_trace(w, "node %u dies", n);
  w->result->node_deaths++;
  w->deaths++;
  struct sim_node *node = &w->nodes[n];
  if (node->disk_packet && sim_dice(w, 2)) sim_agent_disk(w, node); // it was just written
  for (uint32_t r = 0; r < w->nranks; r++)
    if (w->ranks[r].home == n) sim_kill_rank(w, r);
  for (uint32_t peer = 0; peer < w->nnodes; peer++) cut_link(w, peer, n); // what it sent may still arrive
  close_node(w, n);
  uint32_t others[EGD_SIM_MAX_NODES], count = 0;
  for (uint32_t i = 0; i < w->nnodes; i++)
    if (w->nodes[i].alive) others[count++] = i;
  uint32_t first = sim_dice(w, count);
  bool spread = sim_dice(w, 2);
  for (uint32_t r = 0; r < w->nranks; r++) {
    struct sim_rank *rank = &w->ranks[r];
    if (rank->home != n) continue;
    if (spread) first++;
    rank->home = others[first % count];
    rank->elsewhere = rank->adopting = true;
  }
  w->view++;
  if (!w->started) sim_birth(w);
}

void sim_revive_node(struct sim_world *w, uint32_t n) {
  sim_trace(w, "node %u comes back, empty", n);
  w->nodes[n].incarnation++;
  open_node(w, n);
  w->view++;
}

void sim_kill_rank(struct sim_world *w, uint32_t rank) {
  struct sim_rank *r = &w->ranks[rank];
  r->phase = RANK_DEAD;
  r->in_poll = false;
  if (r->app.finished) w->finished--;
  r->app.finished = false;
}

// Before image 1 of all ranks is durable nothing has left: start-up is atomic.
void sim_birth(struct sim_world *w) {
  sim_trace(w, "all ranks begin");
  w->finished = 0;
  w->deaths = w->options->plan.f; // until the first determinants are held
  for (uint32_t i = 0; i <= w->pairs_mask; i++)
    for (struct sim_pair *pair = w->pairs[i]; pair; pair = pair->next) {
      sim_list_clear(&pair->sent, 0);
      sim_list_clear(&pair->admitted, 0);
    }
  for (uint32_t n = 0; n < w->nnodes; n++) {
    for (uint32_t peer = 0; peer < w->nnodes; peer++) cut_link(w, n, peer);
    if (!w->nodes[n].alive) continue;
    close_node(w, n);
    open_node(w, n);
  }
  w->view++;
  for (uint32_t r = 0; r < w->nranks; r++) {
    struct sim_rank *rank = &w->ranks[r];
    for (uint32_t i = 0; i < SIM_IMAGES; i++) sim_image_drop(&rank->images[i]);
    rank->elsewhere = rank->adopting = false;
    rank->nhashes = 0;
    sim_free(w->disk[r].bytes.data);
    w->disk[r] = (struct sim_replica){0};
  }
  for (uint32_t n = 0; n < w->nnodes; n++)
    if (w->nodes[n].alive) sim_agent_view(w, &w->nodes[n]);
  for (uint32_t r = 0; r < w->nranks; r++) sim_rank_start(w, &w->ranks[r]);
}

void sim_world_create(struct sim_world *w) {
  const struct egd_sim_options *options = w->options;
  w->nranks = options->nranks;
  w->nnodes = options->nnodes + options->spares;
  w->outside = options->nnodes > 1 || options->plan.determinant_store == EGD_DETERMINANT_SHARED_DISK;
  w->acting = NOBODY;
  w->ranks = sim_alloc(w, w->nranks * sizeof(*w->ranks));
  w->nodes = sim_alloc(w, w->nnodes * sizeof(*w->nodes));
  w->disk = sim_alloc(w, w->nranks * sizeof(*w->disk));
  w->links = sim_alloc(w, w->nnodes * w->nnodes * sizeof(struct sim_packet *));
  w->link_ends = sim_alloc(w, w->nnodes * w->nnodes * sizeof(struct sim_packet *));
  w->pairs_mask = 63;
  while (w->pairs_mask < 4 * w->nranks) w->pairs_mask = 2 * w->pairs_mask + 1;
  w->pairs = sim_alloc(w, (w->pairs_mask + 1) * sizeof(*w->pairs));
  for (uint32_t n = 0; n < w->nnodes; n++) open_node(w, n);
  for (uint32_t r = 0; r < w->nranks; r++) {
    w->ranks[r].self = r;
    w->ranks[r].home = (uint32_t)((uint64_t)r * options->nnodes / w->nranks);
    w->ranks[r].state = sim_alloc(w, egd_state_size(w->nranks));
  }
}
