// A node's half of the world, run by what the node knows: views, cuts, what leaves the node, mirrors, output.
#include <string.h>
#include "sim/world.h"

static struct sim_packet *packet(struct sim_world *w, enum sim_packet_kind kind, uint32_t from, uint32_t to) {
  struct sim_packet *packet = sim_alloc(w, sizeof(*packet));
  packet->kind = kind;
  packet->from = from;
  packet->to = to;
  return packet;
}

// ---- views ------------------------------------------------------------------------------------------------------------------

static bool logs(const struct sim_world *w) {
  return w->options->plan.flags & EGD_PLAN_LOG_DETERMINANTS && w->options->plan.determinant_store;
}

static bool on_disk(const struct sim_world *w) {
  return w->options->plan.determinant_store == EGD_DETERMINANT_SHARED_DISK;
}

static void take_cut(struct sim_world *w, struct sim_node *node) {
  for (uint32_t i = 0; i < node->nlocal; i++) {
    struct sim_slice *slice = sim_slice(w, node->self, node->local[i]);
    node->now[i] = (struct egd_gate_position){slice->polls, slice->determinants.head};
  }
  egd_gate_cut(&node->gate, node->now, node->last, node->nlocal);
  w->result->cuts++;
}

static void choose_holders(struct sim_world *w, struct sim_node *node) {
  uint32_t nodes[EGD_GATE_MAX_HOLDERS], count = 0;
  if (on_disk(w)) {
    nodes[count++] = DISK_NODE;
  } else {
    for (uint32_t i = 1; i < w->nnodes && count < node->gate.f; i++) {
      uint32_t peer = (node->self + i) % w->nnodes;
      if (node->peer_alive[peer]) nodes[count++] = peer;
    }
  }
  for (uint32_t peer = 0; peer < w->nnodes && !on_disk(w); peer++) {
    struct sim_holder *holder = &node->holders[peer];
    bool chosen = false;
    for (uint32_t i = 0; i < count; i++) chosen |= nodes[i] == peer;
    if (chosen && !holder->is_holder) {
      if (!holder->sent) holder->sent = sim_alloc(w, w->nranks * sizeof(*holder->sent));
      memset(holder->sent, 0, w->nranks * sizeof(*holder->sent));
      holder->queued = 0;
    }
    holder->is_holder = chosen;
  }
  if (logs(w)) egd_gate_set_holders(&node->gate, nodes, count);
}

// The set of ranks whose determinants this node replicates has changed.
static void local_ranks(struct sim_world *w, struct sim_node *node) {
  node->nlocal = 0;
  for (uint32_t r = 0; r < w->nranks; r++)
    if (node->home[r] == node->self && w->ranks[r].home == node->self && !w->ranks[r].adopting)
      node->local[node->nlocal++] = r;
  memset(node->last, 0xff, w->nranks * sizeof(*node->last));
  choose_holders(w, node);
  node->cut_progress = 0;
  take_cut(w, node);
  node->view_cut = node->gate.cut;
}

static void forget_peer(struct sim_world *w, struct sim_node *node, uint32_t peer) {
  egd_gate_holder_restarted(&node->gate, peer);
  struct sim_holder *holder = &node->holders[peer];
  holder->is_holder = false;
  holder->queued = 0;
}

static void forget_channels(struct sim_world *w, struct sim_node *node, uint32_t rank) {
  struct sim_rank *r = &w->ranks[rank];
  for (uint32_t i = 0; i < r->npeers; i++) {
    struct sim_channel *log = sim_channel_if(w, node->self, r->peers[i], rank);
    if (log) log->subscribed = log->news_said = false;
    struct sim_channel *mirror = sim_channel_if(w, node->self, rank, r->peers[i]);
    if (mirror) {
      mirror->asked = false;
      mirror->told = 0;
    }
  }
}

void sim_agent_view(struct sim_world *w, struct sim_node *node) {
  node->view = w->view;
  sim_trace(w, "node %u learns view %llu", node->self, (unsigned long long)w->view);
  for (uint32_t peer = 0; peer < w->nnodes; peer++) {
    const struct sim_node *other = &w->nodes[peer];
    if (node->peer_alive[peer] != other->alive || node->peer_incarnation[peer] != other->incarnation) {
      forget_peer(w, node, peer);
      for (uint32_t r = 0; r < w->nranks; r++) {
        if (node->home[r] == peer) forget_channels(w, node, r);
        node->adoptions[r].answered[peer] = node->adoptions[r].asked[peer] = false;
      }
    }
    node->peer_alive[peer] = other->alive && peer != node->self;
    node->peer_incarnation[peer] = other->incarnation;
  }
  for (uint32_t r = 0; r < w->nranks; r++) {
    if (node->home[r] == w->ranks[r].home) continue;
    node->home[r] = w->ranks[r].home;
    forget_channels(w, node, r);
  }
  local_ranks(w, node);
}

void sim_agent_adopted(struct sim_world *w, struct sim_node *node, uint32_t rank) {
  w->ranks[rank].adopting = false;
  local_ranks(w, node);
}

// ---- cuts -------------------------------------------------------------------------------------------------------------------

// Two rules make a cut: all positions are of one moment, and polls are not newer than determinants.
static void take_bad_cut(struct sim_world *w, struct sim_node *node) {
  bool order = sim_broken(w, EGD_RULE_CUT_ORDER);
  uint32_t rounds = order ? 2 * node->nlocal : node->nlocal;
  for (uint32_t some = 1 + sim_dice(w, rounds); some && node->cut_progress < rounds; some--) {
    uint32_t i = node->cut_progress++;
    struct sim_slice *slice = sim_slice(w, node->self, node->local[i % node->nlocal]);
    if (!order || i >= node->nlocal) node->now[i % node->nlocal].polls = slice->polls;
    if (!order || i < node->nlocal) node->now[i % node->nlocal].determinants = slice->determinants.head;
  }
  if (node->cut_progress < rounds) return;
  node->cut_progress = 0;
  egd_gate_cut(&node->gate, node->now, node->last, node->nlocal);
}

void sim_agent_cut(struct sim_world *w, struct sim_node *node) {
  if (!node->cut_wanted || node->nlocal == 0) return;
  if ((sim_broken(w, EGD_RULE_CUT_MOMENT) || sim_broken(w, EGD_RULE_CUT_ORDER)) && w->outside) {
    take_bad_cut(w, node);
    if (node->cut_progress) return;
  } else {
    take_cut(w, node);
  }
  node->cut_wanted = false;
  for (uint32_t i = 0; i < node->nlocal; i++) {
    struct sim_rank *r = &w->ranks[node->local[i]];
    struct sim_slice *slice = sim_slice(w, node->self, r->self);
    if (slice->pending_output && slice->pending_output_cut == 0) slice->pending_output_cut = node->gate.cut;
    for (uint32_t j = 0; j < r->npeers; j++) {
      struct sim_channel *log = sim_channel_if(w, node->self, r->self, r->peers[j]);
      if (log && log->pending > log->cleared && log->pending_cut == 0) log->pending_cut = node->gate.cut;
    }
  }
}

// ---- determinants to their holders ---------------------------------------------------------------------------------------------

static void put_piece(struct sim_world *w, struct sim_node *node, struct sim_piece *piece, struct sim_sent *sent,
                      uint32_t rank, const struct egd_gate_position *target) {
  struct sim_slice *slice = sim_slice(w, node->self, rank);
  uint64_t tail = slice->tail > slice->determinants.base ? slice->tail : slice->determinants.base;
  if (tail > target->determinants) tail = target->determinants;
  *piece = (struct sim_piece){.rank = rank, .known = true, .head = target->determinants, .polls = target->polls};
  bool restart = !sent->announced || sent->determinants < tail;
  piece->position = restart ? tail : sent->determinants;
  piece->tail = tail;
  piece->newest = slice->newest > target->determinants ? target->determinants : slice->newest;
  uint64_t length = piece->head - piece->position;
  piece->data = sim_alloc(w, length + 1);
  if (length) memcpy(piece->data, slice->determinants.data + (piece->position - slice->determinants.base), length);
  sent->announced = true;
  sent->determinants = piece->head;
  sent->polls = piece->polls;
}

static struct sim_packet *cut_packet(struct sim_world *w, struct sim_node *node, struct sim_holder *holder) {
  struct sim_packet *cut = packet(w, PACKET_CUT, 0, 0);
  cut->number = node->gate.cut;
  cut->pieces = sim_alloc(w, node->nlocal * sizeof(*cut->pieces) + 1);
  for (uint32_t i = 0; i < node->nlocal; i++) {
    struct sim_sent *sent = &holder->sent[node->local[i]];
    const struct egd_gate_position *target = &node->last[i];
    // `last` is all ones until the first cut after a change of the local ranks.
    if (target->polls == UINT64_MAX && target->determinants == UINT64_MAX) continue;
    if (sent->announced && sent->determinants == target->determinants && sent->polls == target->polls) continue;
    put_piece(w, node, &cut->pieces[cut->npieces++], sent, node->local[i], target);
  }
  holder->queued = cut->number;
  return cut;
}

void sim_agent_holders(struct sim_world *w, struct sim_node *node) {
  if (!logs(w)) return;
  for (uint32_t peer = 0; peer < w->nnodes; peer++) {
    struct sim_holder *holder = &node->holders[peer];
    if (!holder->is_holder || holder->queued >= node->gate.cut) continue;
    sim_send(w, node->self, peer, cut_packet(w, node, holder));
    egd_gate_queued(&node->gate, peer, holder->queued);
    if (sim_broken(w, EGD_RULE_ACK)) egd_gate_held(&node->gate, peer, holder->queued);
  }
  if (node->disk_holder.is_holder && !node->disk_packet && node->disk_holder.queued < node->gate.cut) {
    node->disk_packet = cut_packet(w, node, &node->disk_holder);
    egd_gate_queued(&node->gate, DISK_NODE, node->disk_holder.queued);
    if (sim_broken(w, EGD_RULE_ACK)) egd_gate_held(&node->gate, DISK_NODE, node->disk_holder.queued);
  }
}

static void commit(struct sim_world *w, struct sim_replica *replica, const struct sim_piece *piece) {
  if (!replica->known || piece->position != replica->bytes.head) sim_bytes_clear(&replica->bytes, piece->position);
  sim_bytes_put(w, &replica->bytes, piece->position, piece->data, piece->head - piece->position);
  sim_bytes_free_below(&replica->bytes, piece->tail);
  replica->known = true;
  replica->tail = piece->tail;
  replica->newest = piece->newest;
  replica->polls = piece->polls;
}

static void held(struct sim_holder *holder, const struct sim_packet *cut) {
  for (uint32_t i = 0; i < cut->npieces; i++) {
    struct sim_sent *sent = &holder->sent[cut->pieces[i].rank];
    sent->held = cut->pieces[i].head;
    sent->held_polls = cut->pieces[i].polls;
  }
}

// The write to the shared disk is done.
void sim_agent_disk(struct sim_world *w, struct sim_node *node) {
  struct sim_packet *cut = node->disk_packet;
  if (!cut) return;
  for (uint32_t i = 0; i < cut->npieces; i++) commit(w, &w->disk[cut->pieces[i].rank], &cut->pieces[i]);
  held(&node->disk_holder, cut);
  egd_gate_held(&node->gate, DISK_NODE, cut->number);
  node->disk_packet = NULL;
  sim_packet_free(cut);
}

// What local ranks may take for stable: the least of what the best `needed` holders have.
void sim_agent_stable(struct sim_world *w, struct sim_node *node) {
  uint32_t needed = egd_gate_needed(&node->gate);
  for (uint32_t i = 0; i < node->nlocal; i++) {
    uint32_t rank = node->local[i];
    struct sim_slice *slice = sim_slice(w, node->self, rank);
    if (needed == 0) {
      slice->stable = slice->determinants.head;
      slice->polls_stable = slice->polls;
      continue;
    }
    const struct sim_sent *best[EGD_GATE_MAX_HOLDERS] = {0};
    for (uint32_t h = 0; h < node->gate.nholders; h++) {
      uint32_t peer = node->gate.holders[h].node;
      const struct sim_sent *one = peer == DISK_NODE ? node->disk_holder.sent : node->holders[peer].sent;
      if (!one) continue;
      one += rank;
      for (uint32_t at = 0; at < needed; at++) {
        if (best[at] &&
            (best[at]->held > one->held || (best[at]->held == one->held && best[at]->held_polls >= one->held_polls)))
          continue;
        const struct sim_sent *other = best[at];
        best[at] = one;
        one = other;
        if (!one) break;
      }
    }
    const struct sim_sent *least = best[needed - 1];
    if (!least || (least->held == 0 && least->held_polls == 0)) continue;
    if (least->held > slice->stable) slice->stable = least->held;
    if (least->held_polls > slice->polls_stable) slice->polls_stable = least->held_polls;
  }
}

// ---- what a rank's messages and output need ------------------------------------------------------------------------------------

static void pump(struct sim_world *w, struct sim_node *node, struct sim_channel *log, uint32_t from, uint32_t to) {
  uint32_t there = node->home[to];
  if (!node->peer_alive[there]) return;
  if (!log->subscribed) {
    // Said again now and then: a view that lags behind may have dropped it.
    if (log->records.head && (!log->news_said || sim_dice(w, 16) == 0)) {
      sim_send(w, node->self, there, packet(w, PACKET_NEWS, from, to));
      log->news_said = true;
    }
    return;
  }
  if (log->pending <= log->cleared && log->records.head > log->cleared) {
    log->pending = log->records.head;
    log->pending_cut = 0;
    node->cut_wanted = true;
    if (node->cut_progress) node->cut_progress = 0; // positions read before do not cover it
  }
  if (log->pending > log->cleared && log->pending_cut && egd_gate_may_leave(&node->gate, log->pending_cut, there))
    log->cleared = log->pending;
  while (log->next < log->cleared && log->next < log->records.head) {
    if (log->next < log->records.base)
      sim_violation(w, "message %llu from rank %u to rank %u is asked for again by node %u, but was freed",
                    (unsigned long long)log->next, from, to, there);
    struct sim_packet *record = packet(w, PACKET_RECORD, from, to);
    record->epoch = log->epoch;
    record->value = sim_list_at(&log->records, log->next);
    record->number = log->next++;
    sim_send(w, node->self, there, record);
  }
}

static void subscribe(struct sim_world *w, struct sim_node *node, struct sim_channel *mirror, uint32_t from,
                      uint32_t to) {
  uint32_t there = node->home[from];
  if (mirror->asked || !node->peer_alive[there] || w->ranks[to].phase == RANK_DEAD) return;
  mirror->asked = true;
  mirror->asked_epoch = ++w->epoch;
  struct sim_packet *ask = packet(w, PACKET_SUBSCRIBE, from, to);
  ask->number = mirror->records.head;
  ask->epoch = mirror->asked_epoch;
  sim_send(w, node->self, there, ask);
}

static void forward_output(struct sim_world *w, struct sim_node *node, struct sim_rank *r, struct sim_slice *slice) {
  if (!w->started) return;
  if (!slice->pending_output && slice->output.head > slice->output_taken) {
    slice->pending_output = slice->output.head;
    slice->pending_output_cut = 0;
    node->cut_wanted = true;
    if (node->cut_progress) node->cut_progress = 0;
  }
  if (!slice->pending_output_cut || !egd_gate_may_leave(&node->gate, slice->pending_output_cut, EGD_GATE_NOBODY))
    return;
  while (slice->output_taken < slice->pending_output) {
    sim_oracle_printed(w, r, slice->output_taken, sim_list_at(&slice->output, slice->output_taken));
    slice->output_taken++;
  }
  slice->pending_output = slice->pending_output_cut = 0;
}

void sim_agent_rank(struct sim_world *w, struct sim_node *node, uint32_t rank) {
  struct sim_rank *r = &w->ranks[rank];
  if (node->home[rank] != node->self || r->home != node->self || r->adopting || r->elsewhere) return;
  struct sim_slice *slice = sim_slice(w, node->self, rank);
  forward_output(w, node, r, slice);
  for (uint32_t i = 0; i < r->npeers; i++) {
    uint32_t peer = r->peers[i];
    if (node->home[peer] == node->self) continue;
    struct sim_channel *log = sim_channel_if(w, node->self, rank, peer);
    if (log) pump(w, node, log, rank, peer);
    struct sim_channel *mirror = sim_channel_if(w, node->self, peer, rank);
    if (!mirror) continue;
    subscribe(w, node, mirror, peer, rank);
    uint64_t bound = slice->bounds ? slice->bounds[peer] : 0;
    if (bound <= mirror->told || !node->peer_alive[node->home[peer]]) continue;
    mirror->told = bound;
    struct sim_packet *tell = packet(w, PACKET_BOUND, peer, rank);
    tell->number = bound;
    sim_send(w, node->self, node->home[peer], tell);
  }
  // Without anything that waits to leave: stability itself, for images and visible acts.
  if (slice->stable < slice->determinants.head || slice->polls_stable < slice->polls) node->cut_wanted = true;
}

void sim_agent_cursors(struct sim_world *w, uint32_t rank) {
  struct sim_rank *r = &w->ranks[rank];
  struct sim_node *node = &w->nodes[r->home];
  for (uint32_t i = 0; i < r->npeers; i++) {
    uint32_t peer = r->peers[i];
    // The mirror of one that is about to come here is read until its own log is back.
    if (node->home[peer] == node->self && !w->ranks[peer].adopting) continue;
    struct sim_channel *mirror = sim_channel(w, node->self, peer, rank);
    uint64_t wanted = r->state->peers[peer].received;
    if (wanted >= mirror->records.base && wanted <= mirror->records.head) continue;
    sim_list_clear(&mirror->records, wanted);
    mirror->asked = false;
  }
}

// ---- collecting the determinants of ranks that come here ------------------------------------------------------------------------

static void consider(struct sim_node *node, struct sim_piece *piece) {
  struct sim_piece *best = &node->adoptions[piece->rank].best;
  bool *any = &node->adoptions[piece->rank].any;
  if (!piece->known) return;
  if (*any && (best->head > piece->head || (best->head == piece->head && best->polls >= piece->polls))) return;
  sim_free(best->data);
  *best = *piece;
  piece->data = NULL;
  *any = true;
}

static struct sim_piece replica_piece(struct sim_world *w, const struct sim_replica *replica, uint32_t rank) {
  struct sim_piece piece = {.rank = rank, .known = replica->known};
  if (!replica->known) return piece;
  piece.position = replica->bytes.base;
  piece.tail = replica->tail;
  piece.newest = replica->newest;
  piece.polls = replica->polls;
  piece.head = replica->bytes.head;
  piece.data = sim_alloc(w, piece.head - piece.position + 1);
  if (piece.head > piece.position) memcpy(piece.data, replica->bytes.data, piece.head - piece.position);
  return piece;
}

static void settle(struct sim_world *w, struct sim_node *node, uint32_t rank) {
  struct sim_piece *best = &node->adoptions[rank].best;
  if (!node->adoptions[rank].any)
    sim_violation(w, "no node holds the determinants of rank %u, though no more than f nodes were lost", rank);
  sim_slice_drop(w, node->self, rank);
  struct sim_slice *slice = sim_slice(w, node->self, rank);
  sim_bytes_clear(&slice->determinants, best->position);
  sim_bytes_put(w, &slice->determinants, best->position, best->data, best->head - best->position);
  slice->tail = best->tail;
  slice->newest = best->newest;
  slice->polls = slice->polls_stable = best->polls;
  slice->stable = best->head;
  sim_trace(w, "node %u has the determinants of rank %u: %llu bytes, progress call %llu", node->self, rank,
            (unsigned long long)best->head, (unsigned long long)best->polls);
  sim_free(best->data);
  memset(&node->adoptions[rank], 0, sizeof(node->adoptions[rank]));
  struct sim_replica *own = &node->replicas[rank];
  sim_free(own->bytes.data);
  *own = (struct sim_replica){0};
  sim_agent_adopted(w, node, rank);
}

static void adopt(struct sim_world *w, struct sim_node *node, uint32_t rank) {
  struct sim_piece own =
      on_disk(w) ? replica_piece(w, &w->disk[rank], rank) : replica_piece(w, &node->replicas[rank], rank);
  consider(node, &own);
  sim_free(own.data);
  bool complete = true;
  for (uint32_t peer = 0; peer < w->nnodes && !on_disk(w); peer++) {
    if (!node->peer_alive[peer] || node->adoptions[rank].answered[peer]) continue;
    complete = false;
    if (node->adoptions[rank].asked[peer] && sim_dice(w, 8)) continue;
    node->adoptions[rank].asked[peer] = true;
    sim_send(w, node->self, peer, packet(w, PACKET_COLLECT, rank, 0));
  }
  if (complete) settle(w, node, rank);
}

void sim_agent_work(struct sim_world *w, struct sim_node *node) {
  for (uint32_t r = 0; r < w->nranks; r++)
    if (w->ranks[r].adopting && w->ranks[r].home == node->self && node->home[r] == node->self) adopt(w, node, r);
}

// ---- packets --------------------------------------------------------------------------------------------------------------------

static void on_cut(struct sim_world *w, struct sim_node *node, uint32_t from, struct sim_packet *cut) {
  for (uint32_t i = 0; i < cut->npieces; i++) {
    struct sim_piece *piece = &cut->pieces[i];
    commit(w, &node->replicas[piece->rank], piece);
    sim_free(piece->data);
    piece->data = NULL;
  }
  struct sim_packet *answer = packet(w, PACKET_HELD, 0, 0);
  answer->number = cut->number;
  answer->pieces = cut->pieces;
  answer->npieces = cut->npieces;
  cut->pieces = NULL;
  cut->npieces = 0;
  sim_send(w, node->self, from, answer);
}

static void on_record(struct sim_world *w, struct sim_node *node, const struct sim_packet *record) {
  struct sim_channel *mirror = sim_channel_if(w, node->self, record->from, record->to);
  if (!mirror || !mirror->asked || mirror->asked_epoch != record->epoch) return;
  if (record->number != mirror->records.head)
    sim_violation(w, "node %u gets message %llu from rank %u to rank %u, message %llu is next", node->self,
                  (unsigned long long)record->number, record->from, record->to,
                  (unsigned long long)mirror->records.head);
  sim_list_push(w, &mirror->records, record->value);
}

static void on_packet(struct sim_world *w, struct sim_node *node, uint32_t from, struct sim_packet *packet_in) {
  struct sim_channel *channel;
  uint32_t rank = packet_in->from;
  bool ours = node->home[rank] == node->self;
  switch (packet_in->kind) {
  case PACKET_CUT:
    on_cut(w, node, from, packet_in);
    break;
  case PACKET_HELD:
    if (!node->holders[from].is_holder || packet_in->number > node->holders[from].queued) break;
    held(&node->holders[from], packet_in);
    egd_gate_held(&node->gate, from, packet_in->number);
    sim_agent_stable(w, node);
    break;
  case PACKET_NEWS:
    if (node->home[packet_in->to] != node->self || node->home[rank] != from) break;
    sim_channel(w, node->self, rank, packet_in->to);
    break;
  case PACKET_SUBSCRIBE:
    if (!ours || w->ranks[rank].adopting || w->ranks[rank].elsewhere || node->home[packet_in->to] != from) {
      struct sim_packet *retry = packet(w, PACKET_NEWS, rank, packet_in->to);
      retry->epoch = packet_in->epoch;
      sim_send(w, node->self, from, retry);
      break;
    }
    channel = sim_channel(w, node->self, rank, packet_in->to);
    channel->subscribed = true;
    channel->epoch = packet_in->epoch;
    channel->next = channel->cleared = packet_in->number;
    channel->pending = channel->pending_cut = 0;
    break;
  case PACKET_RECORD:
    on_record(w, node, packet_in);
    break;
  case PACKET_BOUND:
    if (!ours || w->ranks[rank].elsewhere) break;
    channel = sim_channel_if(w, node->self, rank, packet_in->to);
    if (channel && packet_in->number > channel->bound) channel->bound = packet_in->number;
    break;
  case PACKET_COLLECT:
    // The answer is final only if nothing of the rank's old node is taken any more.
    if (node->home[rank] != from && !sim_broken(w, EGD_RULE_FENCE)) break;
    {
      struct sim_packet *answer = packet(w, PACKET_REPLICA, rank, 0);
      answer->pieces = sim_alloc(w, sizeof(*answer->pieces));
      answer->pieces[0] = replica_piece(w, &node->replicas[rank], rank);
      answer->npieces = 1;
      sim_send(w, node->self, from, answer);
    }
    break;
  case PACKET_REPLICA:
    if (!w->ranks[rank].adopting || w->ranks[rank].home != node->self) break;
    node->adoptions[rank].answered[from] = true;
    consider(node, &packet_in->pieces[0]);
    break;
  }
  // A sender that cannot serve yet: ask again.
  if (packet_in->kind == PACKET_NEWS && packet_in->epoch) {
    channel = sim_channel_if(w, node->self, rank, packet_in->to);
    if (channel && channel->asked_epoch == packet_in->epoch) channel->asked = false;
  }
}

void sim_agent_deliver(struct sim_world *w, uint32_t from, uint32_t to) {
  struct sim_packet **link = &w->links[from * w->nnodes + to], *first = *link;
  struct sim_node *node = &w->nodes[to];
  if (!first || !node->alive) return;
  // Of an incarnation that the view does not know yet: it waits for the view.
  if (node->view == 0 || first->incarnation > node->peer_incarnation[from]) return;
  *link = first->next;
  bool late = !node->peer_alive[from] || first->incarnation < node->peer_incarnation[from];
  if (first->to_incarnation == node->incarnation && !late) on_packet(w, node, from, first);
  sim_packet_free(first);
}
