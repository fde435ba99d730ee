// Oracles: what must hold whatever happens. They see everything, also what no process could see.
#include "sim/world.h"

#define U(x) ((unsigned long long)(x))

struct sim_pair *sim_pair(struct sim_world *w, uint32_t from, uint32_t to) {
  struct sim_pair **slot = &w->pairs[sim_mix(from, to) & w->pairs_mask];
  for (struct sim_pair *pair = *slot; pair; pair = pair->next)
    if (pair->from == from && pair->to == to) return pair;
  struct sim_pair *pair = sim_alloc(w, sizeof(*pair));
  *pair = (struct sim_pair){.from = from, .to = to, .next = *slot};
  return *slot = pair;
}

void sim_oracle_sent(struct sim_world *w, struct sim_rank *r, uint32_t dest, uint64_t ssn, uint64_t content) {
  struct sim_pair *pair = sim_pair(w, r->self, dest);
  if (ssn < pair->sent.head && sim_list_at(&pair->sent, ssn) != content)
    sim_violation(w, "rank %u sends message %llu to rank %u again, but another one than in its first execution",
                  r->self, U(ssn), dest);
  if (ssn > pair->sent.head)
    sim_violation(w, "rank %u sends message %llu to rank %u, though it never sent message %llu", r->self, U(ssn), dest,
                  U(pair->sent.head));
  if (ssn == pair->sent.head) sim_list_push(w, &pair->sent, content);
  if (ssn < pair->admitted.head && w->ranks[dest].phase == RANK_LIVE && sim_list_at(&pair->admitted, ssn) != content)
    sim_violation(w, "rank %u is an orphan: it received a message %llu from rank %u that was never sent", dest, U(ssn),
                  r->self);
}

void sim_oracle_admitted(struct sim_world *w, struct sim_rank *r, uint32_t source, uint64_t ssn, uint64_t content) {
  struct sim_pair *pair = sim_pair(w, source, r->self);
  if (ssn >= pair->sent.head || sim_list_at(&pair->sent, ssn) != content)
    sim_violation(w, "rank %u receives a message %llu from rank %u that rank %u did not send", r->self, U(ssn), source,
                  source);
  if (ssn < pair->admitted.head && sim_list_at(&pair->admitted, ssn) != content)
    sim_violation(w, "rank %u receives another message %llu from rank %u in its replay", r->self, U(ssn), source);
  if (ssn > pair->admitted.head || (ssn < pair->admitted.head && r->phase == RANK_LIVE))
    sim_violation(w, "rank %u receives message %llu from rank %u, message %llu is next", r->self, U(ssn), source,
                  U(pair->admitted.head));
  if (ssn == pair->admitted.head) sim_list_push(w, &pair->admitted, content);
}

void sim_oracle_tick(struct sim_world *w, struct sim_rank *r) {
  uint64_t tick = r->app.tick;
  if (r->in_poll) return;
  if (tick >= r->hashes_size) {
    r->hashes = sim_grow(w, r->hashes, r->nhashes * sizeof(*r->hashes), (2 * tick + 64) * sizeof(*r->hashes));
    r->hashes_size = 2 * tick + 64;
  }
  if (tick < r->nhashes) {
    if (r->hashes[tick] != r->app.hash)
      sim_violation(w, "rank %u is in another state after step %llu of its replay than in its first execution", r->self,
                    U(tick));
    w->result->replayed++;
    return;
  }
  r->hashes[tick] = r->app.hash;
  r->nhashes = tick + 1;
}

static void forget_after(struct sim_list *list, uint64_t count) {
  if (count < list->head) list->head = count;
}

// What the first execution did beyond this point is lost for good: nobody may depend on it.
void sim_oracle_live(struct sim_world *w, struct sim_rank *r) {
  if (r->nhashes > r->app.tick + 1) r->nhashes = r->app.tick + 1;
  if (r->state->output < r->printed.head)
    sim_violation(w, "output %llu of rank %u was printed, but the rank came back to a state before it",
                  U(r->state->output), r->self);
  if (r->app.acts < r->files.head && !(r->app.phase && r->app.acts + 1 == r->files.head))
    sim_violation(w, "change %llu of a file by rank %u was made, but the rank came back to a state before it",
                  U(r->app.acts + 1), r->self);
  for (uint32_t i = 0; i < r->npeers; i++) {
    uint32_t peer = r->peers[i];
    struct sim_pair *to = sim_pair(w, r->self, peer), *from = sim_pair(w, peer, r->self);
    bool other_lives = w->ranks[peer].phase == RANK_LIVE;
    forget_after(&to->sent, r->state->peers[peer].sent);
    forget_after(&from->admitted, r->state->peers[peer].received);
    if (other_lives && to->admitted.head > to->sent.head)
      sim_violation(w,
                    "rank %u is an orphan: it received message %llu from rank %u, whose recovered state never sent it",
                    peer, U(to->admitted.head - 1), r->self);
    if (other_lives && from->admitted.head > from->sent.head)
      sim_violation(
          w, "rank %u is an orphan: it came back to a state that received message %llu, which rank %u never sent",
          r->self, U(from->admitted.head - 1), peer);
    for (uint64_t ssn = 0; other_lives && ssn < from->admitted.head; ssn++)
      if (sim_list_at(&from->admitted, ssn) != sim_list_at(&from->sent, ssn))
        sim_violation(w, "rank %u came back to a state that received another message %llu than rank %u sent", r->self,
                      U(ssn), peer);
  }
}

void sim_oracle_printed(struct sim_world *w, struct sim_rank *r, uint64_t position, uint64_t content) {
  if (position < r->printed.head && !sim_broken(w, EGD_RULE_OUTPUT_ONCE)) { // the launcher knows how far it is
    if (sim_list_at(&r->printed, position) != content)
      sim_violation(w, "output %llu of rank %u comes again, but another one than was printed", U(position), r->self);
    return;
  }
  if (position != r->printed.head)
    sim_violation(w, "output %llu of rank %u is printed after output %llu", U(position), r->self,
                  U(r->printed.head) - 1);
  sim_list_push(w, &r->printed, content);
  w->result->outputs++;
}

void sim_oracle_freed(struct sim_world *w, uint32_t from, uint32_t to, uint64_t bound) {
  const struct sim_rank *r = &w->ranks[to];
  for (uint32_t i = 0; i < SIM_IMAGES; i++)
    if (r->images[i].number && sim_image_received(&r->images[i], from) < bound)
      sim_violation(w, "rank %u frees its messages to rank %u below %llu, but image %u there needs them from %llu on",
                    from, to, U(bound), r->images[i].number, U(sim_image_received(&r->images[i], from)));
}

void sim_oracle_trimmed(struct sim_world *w, uint32_t rank, uint64_t bound) {
  const struct sim_rank *r = &w->ranks[rank];
  for (uint32_t i = 0; i < SIM_IMAGES; i++)
    if (r->images[i].number && r->images[i].counts.determinants < bound)
      sim_violation(w, "determinants of rank %u below %llu are freed, but its image %u needs them from %llu on", rank,
                    U(bound), r->images[i].number, U(r->images[i].counts.determinants));
}

void sim_oracle_end(struct sim_world *w) {
  for (uint32_t i = 0; i < w->nranks; i++) {
    struct sim_rank *r = &w->ranks[i];
    if (r->printed.head != r->state->output)
      sim_violation(w, "rank %u wrote %llu outputs, %llu were printed", i, U(r->state->output), U(r->printed.head));
    if (r->files.head != r->app.acts)
      sim_violation(w, "rank %u changed its file %llu times, %llu changes were made", i, U(r->app.acts),
                    U(r->files.head));
  }
  for (uint32_t slot = 0; slot <= w->pairs_mask; slot++)
    for (struct sim_pair *pair = w->pairs[slot]; pair; pair = pair->next) {
      if (pair->admitted.head > pair->sent.head)
        sim_violation(w, "rank %u received %llu messages from rank %u, which sent %llu", pair->to,
                      U(pair->admitted.head), pair->from, U(pair->sent.head));
    }
}
