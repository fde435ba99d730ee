// A rank's half of the world: the second implementation of struct egd_env, and what the runtime does around the engine.
// Every function of the env, and every change that outlives a rank, begins with a crash point.
#include <string.h>
#include "sim/world.h"

static struct sim_rank *acting(struct sim_world *w) {
  return &w->ranks[w->acting];
}

static struct sim_slice *own_slice(struct sim_world *w, const struct sim_rank *r) {
  return sim_slice(w, r->home, r->self);
}

void sim_point(struct sim_world *w) {
  struct sim_rank *r = acting(w);
  r->points++;
  for (uint32_t i = 0; i < w->options->ncrashes; i++) {
    const struct egd_sim_crash *crash = &w->options->crashes[i];
    if (crash->rank != w->acting || crash->point != r->points || w->draining) continue;
    if (crash->kind == EGD_CRASH_NODE && !sim_may_kill_node(w, r->home)) continue;
    w->dying = crash->kind;
    longjmp(w->crash, 1);
  }
}

// ---- the engine's view --------------------------------------------------------------------------------------------------

static void append(void *ctx, uint64_t position, const struct egd_determinant *determinant, const void *data) {
  struct sim_world *w = ctx;
  struct sim_rank *r = acting(w);
  struct sim_slice *slice = own_slice(w, r);
  sim_point(w);
  if (position != slice->determinants.head)
    sim_violation(w, "rank %u appends a determinant at %llu, but its log ends at %llu", r->self,
                  (unsigned long long)position, (unsigned long long)slice->determinants.head);
  static const unsigned char zeros[16];
  uint64_t size = egd_determinant_size(determinant), end = position + size;
  uint64_t length = determinant->kind == EGD_DETERMINANT_ADMIT ? 0 : determinant->source;
  unsigned char entry[16 + 64];
  memcpy(entry, determinant, sizeof(*determinant));
  if (length) memcpy(entry + 16, data, length);
  memcpy(entry + 16 + length, zeros, end - position - 16 - length);
  sim_bytes_put(w, &slice->determinants, position, entry, size);
  slice->polls = r->state->polls;
  sim_point(w);
}

static void read_log(void *ctx, uint64_t position, void *to, size_t length) {
  struct sim_world *w = ctx;
  struct sim_slice *slice = own_slice(w, acting(w));
  sim_point(w);
  if (position < slice->determinants.base || position + length > slice->determinants.head)
    sim_violation(w, "rank %u replays determinants from %llu, but the log holds %llu to %llu", w->acting,
                  (unsigned long long)position, (unsigned long long)slice->determinants.base,
                  (unsigned long long)slice->determinants.head);
  memcpy(to, slice->determinants.data + (position - slice->determinants.base), length);
}

static void publish(void *ctx, uint64_t polls) {
  struct sim_world *w = ctx;
  struct sim_slice *slice = own_slice(w, acting(w));
  sim_point(w);
  // A replay passes visible acts of its past: what is claimed already stays claimed.
  if (polls > slice->polls || sim_broken(w, EGD_RULE_POLLS_KEPT)) slice->polls = polls;
  sim_point(w);
}

static struct sim_channel *incoming(struct sim_world *w, const struct sim_rank *r, uint32_t source) {
  return sim_channel_if(w, r->home, source, r->self);
}

static bool available(void *ctx, uint32_t source) {
  struct sim_world *w = ctx;
  struct sim_rank *r = acting(w);
  sim_point(w);
  struct sim_channel *channel = incoming(w, r, source);
  if (!channel) return false;
  uint64_t next = r->state->peers[source].received;
  if (next < channel->records.base)
    sim_violation(w, "message %llu from rank %u to rank %u is needed again but was freed (node %u has %llu to %llu)",
                  (unsigned long long)next, source, r->self, r->home, (unsigned long long)channel->records.base,
                  (unsigned long long)channel->records.head);
  return next < channel->records.head;
}

static uint32_t ready(void *ctx) {
  struct sim_world *w = ctx;
  struct sim_rank *r = acting(w);
  if (r->npeers == 0 || (!w->draining && sim_dice(w, 8) >= w->arrival)) {
    sim_point(w);
    return UINT32_MAX;
  }
  r->next_ready += 1 + (w->draining ? 0 : sim_dice(w, r->npeers));
  for (uint32_t i = 0; i < r->npeers; i++) {
    uint32_t source = r->peers[(r->next_ready + i) % r->npeers];
    if (available(w, source)) return source;
  }
  return UINT32_MAX;
}

static void diverged(void *ctx, const char *what, const struct egd_determinant *expected, uint64_t position) {
  struct sim_world *w = ctx;
  struct sim_rank *r = acting(w);
  sim_violation(
      w, "the replay of rank %u diverged at progress call %llu: %s (log: kind %u, source %u, value %llu at %llu)",
      r->self, (unsigned long long)r->state->polls, what, expected->kind, expected->source,
      (unsigned long long)expected->value, (unsigned long long)position);
}

static const struct egd_env env = {.append = append,
                                   .read = read_log,
                                   .publish = publish,
                                   .available = available,
                                   .ready = ready,
                                   .diverged = diverged};

// ---- start, progress ----------------------------------------------------------------------------------------------------

// From here on the execution may be another one than the first.
static void go_live(struct sim_world *w, struct sim_rank *r) {
  if (r->phase == RANK_LIVE) return;
  r->phase = RANK_LIVE;
  sim_trace(w, "rank %u is live again at step %llu, progress call %llu", r->self, (unsigned long long)r->app.tick,
            (unsigned long long)r->state->polls);
  sim_oracle_live(w, r);
}

void sim_rank_start(struct sim_world *w, struct sim_rank *r) {
  memset(r->state, 0, egd_state_size(w->nranks));
  r->app = (struct sim_app){.hash = sim_mix(w->options->seed, r->self)};
  r->in_poll = false;
  r->phase = RANK_LIVE;
  r->image_wanted = 1; // the first step takes it
  egd_engine_init(&r->engine, &env, w, &w->options->plan, r->state, w->nranks);
  r->engine.logging = w->options->plan.flags & EGD_PLAN_LOG_DETERMINANTS;
}

void sim_rank_recovered(struct sim_world *w, struct sim_rank *r) {
  struct sim_slice *slice = own_slice(w, r);
  egd_engine_init(&r->engine, &env, w, &w->options->plan, r->state, w->nranks);
  r->engine.logging = w->options->plan.flags & EGD_PLAN_LOG_DETERMINANTS;
  egd_engine_recover(&r->engine, slice->determinants.head, sim_broken(w, EGD_RULE_NON_ARRIVAL) ? 0 : slice->polls);
  w->result->recoveries++;
  // Even with nothing to replay: up to the next event it does what it did.
  r->phase = RANK_REPLAYING;
}

static void admit(struct sim_world *w, struct sim_rank *r, uint32_t source) {
  struct sim_channel *channel = incoming(w, r, source);
  uint64_t ssn = r->state->peers[source].received;
  uint64_t content = sim_list_at(&channel->records, ssn);
  egd_engine_admitted(&r->engine, source);
  sim_point(w);
  w->result->admissions++;
  sim_oracle_admitted(w, r, source, ssn, content);
  r->admitted++;
  sim_program_deliver(w, r, source, content);
}

bool sim_rank_poll(struct sim_world *w, struct sim_rank *r) {
  if (!r->in_poll) {
    egd_engine_poll(&r->engine);
    if (!r->engine.replaying) go_live(w, r);
    r->in_poll = true;
    r->admitted = 0;
  }
  uint32_t source;
  for (enum egd_step step; (step = egd_engine_next(&r->engine, &source)) != EGD_STEP_NONE;) {
    if (step == EGD_STEP_WAIT) return false;
    admit(w, r, source);
    if (r->admitted >= 8 && !r->engine.replaying) break;
  }
  r->in_poll = false;
  return true;
}

void sim_rank_step(struct sim_world *w, struct sim_rank *r) {
  if (r->app.finished) return;
  if (!r->in_poll && r->image_wanted) {
    struct sim_slice *slice = own_slice(w, r);
    // One image at a time; and the next only when the last one counts.
    if (slice->image_started == slice->image_durable) {
      r->image_wanted = 0;
      sim_image_take(w, r);
    }
  }
  sim_program_step(w, r);
}

// ---- what a program does --------------------------------------------------------------------------------------------------

void sim_rank_send(struct sim_world *w, struct sim_rank *r, uint32_t dest, uint64_t content) {
  struct sim_channel *channel = sim_channel(w, r->home, r->self, dest);
  uint64_t ssn = egd_engine_send(&r->engine, dest);
  sim_point(w);
  sim_oracle_sent(w, r, dest, ssn, content);
  if (ssn < channel->records.head) {
    if (ssn >= channel->records.base && sim_list_at(&channel->records, ssn) != content)
      sim_violation(w, "rank %u sends message %llu to rank %u again in its replay, but another one", r->self,
                    (unsigned long long)ssn, dest);
    return;
  }
  if (ssn > channel->records.head)
    sim_violation(w, "rank %u sends message %llu to rank %u, but its log ends at %llu", r->self,
                  (unsigned long long)ssn, dest, (unsigned long long)channel->records.head);
  sim_list_push(w, &channel->records, content);
  sim_point(w);
}

bool sim_rank_event(struct sim_world *w, struct sim_rank *r, uint8_t kind, uint16_t aux, uint64_t *value, void *data,
                    uint32_t length) {
  const struct egd_determinant *next = egd_engine_peek(&r->engine);
  if (!next) {
    go_live(w, r);
    if (!sim_broken(w, EGD_RULE_EVENTS)) egd_engine_event(&r->engine, kind, aux, *value, data, length);
    return false;
  }
  if (next->kind != kind || next->aux != aux)
    r->engine.env->diverged(w, "another event is next", next, r->state->determinants);
  *value = next->value;
  egd_engine_take(&r->engine, data, length);
  return true;
}

void sim_rank_output(struct sim_world *w, struct sim_rank *r, uint64_t content) {
  struct sim_slice *slice = own_slice(w, r);
  egd_engine_visible(&r->engine);
  sim_point(w);
  uint64_t position = r->state->output;
  if (position < slice->output.head) {
    if (position >= slice->output.base && sim_list_at(&slice->output, position) != content)
      sim_violation(w, "rank %u writes output %llu again in its replay, but another one", r->self,
                    (unsigned long long)position);
  } else if (position == slice->output.head) {
    sim_list_push(w, &slice->output, content);
  } else {
    sim_violation(w, "rank %u writes output %llu, but its output log ends at %llu", r->self,
                  (unsigned long long)position, (unsigned long long)slice->output.head);
  }
  r->state->output++;
  sim_point(w);
}

bool sim_rank_may_act(struct sim_world *w, struct sim_rank *r) {
  if (!w->started) return false;
  if (!w->outside || !r->engine.logging) return true;
  if (sim_broken(w, EGD_RULE_ACT_REPLAY) && r->engine.replaying) return true;
  struct sim_slice *slice = own_slice(w, r);
  // Restored from an image taken in this very wait, on another node: its position was never published there.
  if (slice->polls < r->state->polls) egd_engine_visible(&r->engine);
  if (slice->stable < r->state->determinants && !sim_broken(w, EGD_RULE_ACT_DETERMINANTS)) return false;
  return slice->polls_stable >= r->state->polls || sim_broken(w, EGD_RULE_ACT_POLLS);
}

// A change of a file, seen by all at once. Done again with the same bytes it does no harm; its result is an event.
void sim_rank_act(struct sim_world *w, struct sim_rank *r, uint64_t content) {
  uint64_t done = 0;
  const struct egd_determinant *next = egd_engine_peek(&r->engine);
  if (!next) {
    sim_point(w);
    if (r->app.acts > r->files.head)
      sim_violation(w, "rank %u changes its file the %llu-th time, but the file saw %llu changes only", r->self,
                    (unsigned long long)r->app.acts + 1, (unsigned long long)r->files.head);
    if (r->app.acts < r->files.head && sim_list_at(&r->files, r->app.acts) != content)
      sim_violation(w, "rank %u changes its file the %llu-th time again, but in another way", r->self,
                    (unsigned long long)r->app.acts + 1);
    if (r->app.acts == r->files.head) {
      sim_list_push(w, &r->files, content);
      w->result->acts++;
    }
    sim_point(w);
  }
  sim_rank_event(w, r, 4, 1, &done, NULL, 0);
  r->app.acts++;
}
