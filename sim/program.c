// The program that every rank runs: what it does next is a function of its state alone, and its state is a hash of all
// that it ever saw. So two executions that differ in one event differ in everything that follows.
#include "sim/world.h"

enum message { MESSAGE_PLAIN, MESSAGE_REQUEST, MESSAGE_REPLY, MESSAGE_FAREWELL, MESSAGE_DISMISSAL };
#define MESSAGE_MASK 7u

static void absorb(struct sim_rank *r, uint64_t value) {
  r->app.hash = sim_mix(r->app.hash, value);
}

static uint64_t letter(const struct sim_rank *r, enum message kind) {
  return (sim_mix(r->app.hash, 77) & ~(uint64_t)MESSAGE_MASK) | kind;
}

// Few ranks: everybody talks to everybody. Many: to neighbours and to one far away, so that channels stay few.
static uint32_t choose_peer(const struct sim_world *w, const struct sim_rank *r, uint64_t choice) {
  uint32_t n = w->nranks, other = n <= 8 ? 1 + (uint32_t)(choice % (n - 1)) : 1u << choice % 3;
  if (n > 8 && choice % 4 == 3) other = n / 2;
  return (r->self + other) % n;
}

static uint32_t children(const struct sim_world *w, const struct sim_rank *r) {
  uint32_t first = 2 * r->self + 1;
  return first >= w->nranks ? 0 : first + 1 < w->nranks ? 2 : 1;
}

void sim_program_deliver(struct sim_world *w, struct sim_rank *r, uint32_t source, uint64_t content) {
  struct sim_app *app = &r->app;
  absorb(r, content);
  absorb(r, source);
  switch ((enum message)(content & MESSAGE_MASK)) {
  case MESSAGE_PLAIN:
    break;
  case MESSAGE_REQUEST: // answered within the progress call, as acknowledgements are
    sim_rank_send(w, r, source, letter(r, MESSAGE_REPLY));
    break;
  case MESSAGE_REPLY:
    if (app->awaited == 0) sim_violation(w, "rank %u got a reply that it did not ask for", r->self);
    app->awaited--;
    break;
  case MESSAGE_FAREWELL:
    app->children++;
    break;
  case MESSAGE_DISMISSAL:
    app->dismissed = true;
    break;
  }
}

static bool poll(struct sim_world *w, struct sim_rank *r) {
  if (!sim_rank_poll(w, r)) return false;
  if (r->admitted == 0) absorb(r, 0xE3); // that nothing came is seen, too
  return true;
}

// The ranks say farewell along a tree, so that everybody must get everything to the end.
static bool farewell(struct sim_world *w, struct sim_rank *r) {
  struct sim_app *app = &r->app;
  if (!app->dismissed && (app->told_parent || app->children < children(w, r))) return poll(w, r);
  if (!app->dismissed) {
    app->told_parent = true;
    app->dismissed = r->self == 0;
    if (r->self > 0) sim_rank_send(w, r, (r->self - 1) / 2, letter(r, MESSAGE_FAREWELL));
    return true;
  }
  for (uint32_t i = 1; i <= children(w, r); i++) sim_rank_send(w, r, 2 * r->self + i, letter(r, MESSAGE_DISMISSAL));
  sim_rank_output(w, r, app->hash);
  egd_engine_visible(&r->engine);
  app->phase = PHASE_LAST_ACT;
  return true;
}

static bool waited(struct sim_world *w, struct sim_rank *r) {
  struct sim_app *app = &r->app;
  // In replay: if the log has its result, it was done.
  if (!egd_engine_peek(&r->engine) && !sim_rank_may_act(w, r)) return false;
  sim_rank_act(w, r, sim_mix(app->hash, 5));
  app->finished = app->phase == PHASE_LAST_ACT;
  app->phase = PHASE_FREE;
  return true;
}

static void event(struct sim_world *w, struct sim_rank *r, uint64_t choice) {
  unsigned char data[40] = {0};
  uint64_t value = sim_dice(w, 1u << 30);
  uint32_t length = choice % 3 ? 0 : (uint32_t)(choice / 3 % sizeof(data));
  for (uint32_t i = 0; i < length; i++) data[i] = (unsigned char)sim_dice(w, 256);
  sim_rank_event(w, r, length ? 3 : 2, (uint16_t)(choice >> 20), &value, data, length);
  absorb(r, value);
  for (uint32_t i = 0; i < length; i++) absorb(r, data[i]);
}

static bool act(struct sim_world *w, struct sim_rank *r) {
  struct sim_app *app = &r->app;
  uint64_t choice = sim_mix(app->hash, app->steps);
  if (app->phase != PHASE_FREE) return waited(w, r);
  if (r->in_poll || app->awaited) return poll(w, r);
  if (app->steps >= w->options->steps) return farewell(w, r);
  app->steps++;
  uint64_t detail = choice >> 8;
  switch (choice % 16) {
  case 0 ... 4:
    if (!poll(w, r)) return false;
    if (r->admitted || detail % 2 || w->nranks == 1) return true;
    sim_rank_send(w, r, choose_peer(w, r, detail / 2), letter(r, MESSAGE_PLAIN)); // because nothing came
    return true;
  case 5 ... 8:
    if (w->nranks == 1) return true;
    app->awaited += detail % 4 == 0;
    sim_rank_send(w, r, choose_peer(w, r, detail / 4), letter(r, detail % 4 == 0 ? MESSAGE_REQUEST : MESSAGE_PLAIN));
    return true;
  case 9 ... 11:
    event(w, r, detail);
    return true;
  case 12 ... 13:
    sim_rank_output(w, r, sim_mix(app->hash, 3));
    return true;
  case 14:
    egd_engine_visible(&r->engine);
    app->phase = PHASE_ACT;
    return true;
  default: // computes
    return true;
  }
}

void sim_program_step(struct sim_world *w, struct sim_rank *r) {
  if (!act(w, r)) return;
  if (!r->in_poll) r->app.tick++;
  absorb(r, r->app.tick);
  sim_oracle_tick(w, r);
  if (r->app.finished) w->finished++;
}
