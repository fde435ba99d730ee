// One run: the scheduler picks who goes next, by dice, until all ranks have finished.
#include <string.h>
#include "sim/world.h"

const struct egd_sim_rule_text egd_sim_rules[EGD_RULE_COUNT] = {
    [EGD_RULE_NONE] = {"none", "all rules hold"},
    [EGD_RULE_NON_ARRIVAL] = {"non-arrival",
                              "a replay goes on to the poll of the last visible act, not only to the last determinant"},
    [EGD_RULE_POLLS_KEPT] = {"polls-kept",
                             "what was published as the last visible act never goes back while it is replayed"},
    [EGD_RULE_GATE] = {"gate", "nothing leaves a node before the determinants it may depend on are stable"},
    [EGD_RULE_ACK] = {"ack", "a holder counts once it has confirmed, not once it was sent something"},
    [EGD_RULE_CUT_MOMENT] = {"cut-moment", "the positions of a cut are of one moment"},
    [EGD_RULE_CUT_ORDER] = {"cut-order", "a rank's polls are read before its determinants"},
    [EGD_RULE_IMAGE_STABLE] = {"image-stable", "an image counts only once the determinants before it are stable"},
    [EGD_RULE_FREE_LATE] = {"free-late", "a message is kept until the receiver's oldest retained image covers it"},
    [EGD_RULE_TRIM_LATE] = {"trim-late", "determinants are kept until the oldest retained image covers them"},
    [EGD_RULE_ACT_DETERMINANTS] = {"act-determinants", "a visible act of its own waits for the rank's determinants"},
    [EGD_RULE_ACT_POLLS] = {"act-polls", "a visible act of its own waits for the rank's non-arrivals, too"},
    [EGD_RULE_ACT_REPLAY] = {"act-replay",
                             "a visible act that a replay reaches but its log does not have waits as well"},
    [EGD_RULE_OUTPUT_ONCE] = {"output-once", "output that comes again is recognised by its offset"},
    [EGD_RULE_FENCE] = {"fence", "a holder answers a collection only when it takes nothing more of the lost node"},
    [EGD_RULE_LOG_IN_IMAGE] = {"log-in-image", "an image carries the log of sent messages where nodes can be lost"},
    [EGD_RULE_LOG_CUT] = {"log-cut", "an image taken in a replay carries the log up to its own state only"},
    [EGD_RULE_START_SAFE] = {"start-safe", "start-up is over only when the first determinants of all are stable, too"},
    [EGD_RULE_EVENTS] = {"events", "clocks, random numbers and inputs are logged like receipts"},
};

enum actor { ACT_RANK, ACT_AGENT, ACT_LINK, ACT_DISK, ACT_IMAGE, ACT_RESTART, ACT_VIEW, ACT_GARBAGE };

static void run_rank(struct sim_world *w, uint32_t rank) {
  struct sim_rank *r = &w->ranks[rank];
  if (r->phase == RANK_DEAD) return;
  w->acting = rank;
  if (setjmp(w->crash) == 0) {
    sim_rank_step(w, r);
    w->acting = NOBODY;
    return;
  }
  w->acting = NOBODY;
  if (w->dying == EGD_CRASH_NODE) {
    sim_kill_node(w, r->home);
    return;
  }
  sim_trace(w, "rank %u dies at its crash point %llu, step %llu", rank, (unsigned long long)r->points,
            (unsigned long long)r->app.tick);
  w->result->process_deaths++;
  sim_kill_rank(w, rank);
  if (!w->started) sim_birth(w);
}

static void run_agent(struct sim_world *w, uint32_t rank) {
  struct sim_node *node = &w->nodes[w->ranks[rank].home];
  if (!node->alive) return;
  sim_agent_rank(w, node, rank);
  if (w->draining || sim_dice(w, 4)) sim_agent_cut(w, node);
  if (w->draining || sim_dice(w, 2)) sim_agent_holders(w, node);
  sim_agent_stable(w, node);
}

static void run_restart(struct sim_world *w, uint32_t rank) {
  struct sim_rank *r = &w->ranks[rank];
  if (r->phase != RANK_DEAD || r->adopting) return;
  // The writer died with its rank: the image is there, or not.
  for (uint32_t i = 0; i < SIM_IMAGES; i++) {
    struct sim_image *image = &r->images[i];
    if (image->number == 0 || image->whole) continue;
    if (sim_dice(w, 2))
      image->whole = true;
    else
      sim_image_drop(image);
  }
  sim_image_restore(w, r);
}

static void run_view(struct sim_world *w, uint32_t n) {
  struct sim_node *node = &w->nodes[n];
  if (!node->alive) {
    if (!w->draining && w->options->ncrashes && sim_dice(w, 4) == 0) sim_revive_node(w, n);
    return;
  }
  if (node->view != w->view) sim_agent_view(w, node);
  sim_agent_work(w, node);
  if (node->nlocal == 0) sim_agent_holders(w, node);
}

// Start-up is over when no single failure can lose it: image 1 and the first cut of all are safe.
static void note_start(struct sim_world *w) {
  if (w->started || !(sim_is_safe(w) || sim_broken(w, EGD_RULE_START_SAFE))) return;
  for (uint32_t r = 0; r < w->nranks; r++)
    if (!sim_slice(w, w->ranks[r].home, r)->image_durable) return;
  sim_trace(w, "image 1 of all ranks is durable: the job has begun");
  w->started = true;
}

static void run_image(struct sim_world *w, uint32_t rank) {
  struct sim_rank *r = &w->ranks[rank];
  if (r->phase == RANK_DEAD) return;
  sim_image_advance(w, r);
  note_start(w);
}

static void one_step(struct sim_world *w, unsigned total) {
  unsigned pick = sim_dice(w, total), actor = 0;
  while (pick >= w->weights[actor]) pick -= w->weights[actor++];
  uint32_t rank = sim_dice(w, w->nranks), node = sim_dice(w, w->nnodes), other = sim_dice(w, w->nnodes);
  switch ((enum actor)actor) {
  case ACT_RANK:
    run_rank(w, rank);
    break;
  case ACT_AGENT:
    run_agent(w, rank);
    break;
  case ACT_LINK:
    for (uint32_t some = 1 + sim_dice(w, 8); some; some--) sim_agent_deliver(w, node, other);
    break;
  case ACT_DISK:
    if (!w->nodes[node].alive) break;
    sim_agent_disk(w, &w->nodes[node]);
    sim_agent_stable(w, &w->nodes[node]);
    break;
  case ACT_IMAGE:
    run_image(w, rank);
    break;
  case ACT_RESTART:
    run_restart(w, rank);
    break;
  case ACT_VIEW:
    run_view(w, node);
    break;
  case ACT_GARBAGE:
    sim_collect_garbage(w, rank);
    if (sim_dice(w, 16) < w->image_chance) w->ranks[rank].image_wanted = 1;
    break;
  }
}

static bool is_over(const struct sim_world *w) {
  if (w->finished < w->nranks) return false;
  for (uint32_t r = 0; r < w->nranks; r++)
    if (w->ranks[r].printed.head < w->ranks[r].state->output) return false;
  return true;
}

static void trace_channels(struct sim_world *w) {
  for (uint32_t n = 0; w->options->trace && n < w->nnodes; n++) {
    struct sim_node *node = &w->nodes[n];
    if (!node->alive) continue;
    sim_trace(w, "node %u: view %llu of %llu, cut %llu, stable %llu", n, (unsigned long long)node->view,
              (unsigned long long)w->view, (unsigned long long)node->gate.cut,
              (unsigned long long)egd_gate_stable(&node->gate));
    for (uint32_t i = 0; i < node->nlocal; i++) {
      const struct sim_slice *slice = sim_slice(w, n, node->local[i]);
      sim_trace(w,
                "  rank %u: phase %u, polls %llu, stable %llu, determinants %llu, stable %llu, output %llu, taken %llu",
                node->local[i], w->ranks[node->local[i]].app.phase, (unsigned long long)slice->polls,
                (unsigned long long)slice->polls_stable, (unsigned long long)slice->determinants.head,
                (unsigned long long)slice->stable, (unsigned long long)slice->output.head,
                (unsigned long long)slice->output_taken);
    }
    for (uint32_t from = 0; from < w->nranks; from++)
      for (uint32_t to = 0; to < w->nranks; to++) {
        const struct sim_channel *channel = sim_channel_if(w, n, from, to);
        if (!channel) continue;
        sim_trace(w, "  %u -> %u: has %llu to %llu; subscribed %d, sent %llu, cleared %llu, pending %llu; asked %d",
                  from, to, (unsigned long long)channel->records.base, (unsigned long long)channel->records.head,
                  channel->subscribed, (unsigned long long)channel->next, (unsigned long long)channel->cleared,
                  (unsigned long long)channel->pending, channel->asked);
      }
  }
}

// Everybody in turn and nobody dies: what does not end now never will.
static void drain(struct sim_world *w) {
  w->draining = true;
  uint64_t rounds = 20 * w->options->steps + 40 * w->nranks + 2000;
  for (uint64_t round = 0; round < rounds && !is_over(w); round++) {
    w->step++;
    for (uint32_t n = 0; n < w->nnodes; n++) run_view(w, n);
    for (uint32_t r = 0; r < w->nranks; r++) {
      run_restart(w, r);
      run_rank(w, r);
      run_agent(w, r);
      run_image(w, r);
    }
    for (uint32_t n = 0; n < w->nnodes; n++) {
      if (w->nodes[n].alive) sim_agent_disk(w, &w->nodes[n]);
      for (uint32_t other = 0; other < w->nnodes; other++)
        while (w->nodes[n].alive && w->links[other * w->nnodes + n]) {
          struct sim_packet *first = w->links[other * w->nnodes + n];
          sim_agent_deliver(w, other, n);
          if (w->links[other * w->nnodes + n] == first) break;
        }
    }
  }
  if (is_over(w)) return;
  trace_channels(w);
  for (uint32_t i = 0; i < w->nranks; i++) {
    struct sim_rank *r = &w->ranks[i];
    if (r->app.finished) continue;
    static const char *const phases[] = {"is dead", "replays", "is live"};
    sim_violation(w,
                  "the job does not end: %u of %u ranks have finished; rank %u %s at step %llu, progress call %llu, "
                  "determinant %llu of %llu",
                  w->finished, w->nranks, i, phases[r->phase], (unsigned long long)r->app.tick,
                  (unsigned long long)r->state->polls, (unsigned long long)r->state->determinants,
                  (unsigned long long)sim_slice(w, r->home, i)->determinants.head);
  }
  sim_violation(w, "the job does not end: output is never printed");
}

static void simulate(struct sim_world *w) {
  w->random = sim_mix(w->options->seed, 4711);
  sim_world_create(w);
  unsigned total = 0;
  for (unsigned actor = 0; actor < 8; actor++) w->weights[actor] = 1 + sim_dice(w, 16);
  w->weights[ACT_RANK] += 8;
  for (unsigned actor = 0; actor < 8; actor++) total += w->weights[actor];
  w->arrival = 2 + sim_dice(w, 6);
  w->image_chance = sim_dice(w, 8);
  w->old_image_chance = sim_dice(w, 4);
  sim_birth(w);
  if (!(w->options->plan.flags & EGD_PLAN_CHECKPOINT)) w->started = true;
  uint64_t budget = 40 * w->options->steps * w->nranks + 4000;
  for (w->step = 1; w->step < budget && !is_over(w); w->step++) one_step(w, total);
  if (!is_over(w)) drain(w);
  sim_oracle_end(w);
}

bool egd_sim_run(const struct egd_sim_options *options, struct egd_sim_result *result) {
  static struct sim_world world;
  struct sim_world *w = &world;
  uint64_t *points = result->points;
  memset(w, 0, sizeof(*w));
  *result = (struct egd_sim_result){.points = points};
  w->options = options;
  w->result = result;
  w->blocks.next = w->blocks.previous = &w->blocks;
  if (setjmp(w->end) == 0) simulate(w);
  for (uint32_t r = 0; w->ranks && r < options->nranks; r++) points[r] = w->ranks[r].points;
  if (!result->violated) result->step = w->step;
  bool complete = !w->exhausted;
  sim_free_all(w);
  return complete;
}
