#include "protocol/engine.h"
#include <string.h>

void egd_engine_init(struct egd_engine *engine, const struct egd_env *env, void *ctx, const struct egd_plan *plan,
                     struct egd_state *state, uint32_t nranks) {
  *engine = (struct egd_engine){.env = env, .ctx = ctx, .plan = plan, .state = state, .nranks = nranks};
}

static void go_live(struct egd_engine *engine) {
  engine->replaying = false;
  engine->peeked = false;
}

void egd_engine_recover(struct egd_engine *engine, uint64_t head, uint64_t polls) {
  engine->peeked = false;
  engine->replay_end = head;
  engine->replay_polls = polls;
  engine->replaying = engine->state->determinants < head || engine->state->polls < polls;
}

const struct egd_determinant *egd_engine_peek(struct egd_engine *engine) {
  if (!engine->replaying || engine->state->determinants >= engine->replay_end) return NULL;
  if (!engine->peeked) {
    engine->env->read(engine->ctx, engine->state->determinants, &engine->next, sizeof(engine->next));
    if (engine->next.check != egd_determinant_check(&engine->next))
      engine->env->diverged(engine->ctx, "the determinant log is damaged", &engine->next, engine->state->determinants);
    engine->peeked = true;
  }
  return &engine->next;
}

void egd_engine_take(struct egd_engine *engine, void *data, size_t size) {
  const struct egd_determinant *next = egd_engine_peek(engine);
  uint64_t length = egd_determinant_size(next) - sizeof(*next);
  if (size > length) size = length;
  if (size) engine->env->read(engine->ctx, engine->state->determinants + sizeof(*next), data, size);
  engine->state->determinants += egd_determinant_size(next);
  engine->peeked = false;
}

bool egd_engine_poll(struct egd_engine *engine) {
  engine->state->polls++;
  if (__builtin_expect(!engine->replaying, 1)) return false;
  const struct egd_determinant *next = egd_engine_peek(engine);
  if (next && next->kind == EGD_DETERMINANT_ADMIT && next->value < engine->state->polls)
    engine->env->diverged(engine->ctx, "an admission was passed by", next, engine->state->determinants);
  if (next || engine->state->polls <= engine->replay_polls) return false;
  go_live(engine);
  return true;
}

bool egd_engine_settled(struct egd_engine *engine) {
  // At poll replay_polls itself nothing more may be admitted; the next chance is the poll after it.
  if (!engine->replaying || egd_engine_peek(engine) || engine->state->polls < engine->replay_polls) return false;
  go_live(engine);
  return true;
}

enum egd_step egd_engine_next_replay(struct egd_engine *engine, uint32_t *ret_source) {
  const struct egd_determinant *next = egd_engine_peek(engine);
  if (!next || next->kind != EGD_DETERMINANT_ADMIT || next->value != engine->state->polls) return EGD_STEP_NONE;
  if (next->source >= engine->nranks || next->aux != (uint16_t)engine->state->peers[next->source].received)
    engine->env->diverged(engine->ctx, "another message is next in the channel", next, engine->state->determinants);
  *ret_source = next->source;
  return engine->env->available(engine->ctx, next->source) ? EGD_STEP_ADMIT : EGD_STEP_WAIT;
}

void egd_engine_event(struct egd_engine *engine, uint8_t kind, uint16_t aux, uint64_t value, const void *data,
                      uint32_t length) {
  if (!engine->logging) return;
  struct egd_determinant determinant = {.kind = kind, .aux = aux, .source = length, .value = value};
  determinant.check = egd_determinant_check(&determinant);
  engine->env->append(engine->ctx, engine->state->determinants, &determinant, data);
  engine->state->determinants += egd_determinant_size(&determinant);
}
