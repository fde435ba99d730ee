#include "protocol/gate.h"

#include <string.h>

void egd_gate_init(struct egd_gate *gate, uint32_t f, bool open) {
  memset(gate, 0, sizeof *gate);
  gate->f = f < EGD_GATE_MAX_HOLDERS ? f : EGD_GATE_MAX_HOLDERS;
  gate->open = open;
}

static struct egd_gate_holder *find(struct egd_gate *gate, uint32_t node) {
  for (uint32_t i = 0; i < gate->nholders; i++)
    if (gate->holders[i].node == node) return &gate->holders[i];
  return NULL;
}

void egd_gate_set_holders(struct egd_gate *gate, const uint32_t *nodes, uint32_t count) {
  struct egd_gate_holder next[EGD_GATE_MAX_HOLDERS];
  if (count > EGD_GATE_MAX_HOLDERS) count = EGD_GATE_MAX_HOLDERS;
  for (uint32_t i = 0; i < count; i++) {
    const struct egd_gate_holder *old = find(gate, nodes[i]);
    next[i] = old ? *old : (struct egd_gate_holder){.node = nodes[i]};
  }
  memcpy(gate->holders, next, count * sizeof *next);
  gate->nholders = count;
  gate->known = true;
}

void egd_gate_holder_restarted(struct egd_gate *gate, uint32_t node) {
  struct egd_gate_holder *holder = find(gate, node);
  if (holder) holder->queued = holder->held = 0;
}

uint64_t egd_gate_cut(struct egd_gate *gate, const struct egd_gate_position *now, struct egd_gate_position *last,
                      size_t count) {
  bool moved = false;
  for (size_t i = 0; i < count; i++) {
    if (now[i].polls == last[i].polls && now[i].determinants == last[i].determinants) continue;
    last[i] = now[i];
    moved = true;
  }
  // Number 0 is what a holder has that has nothing: the first cut is new even if no rank has moved.
  if (moved || gate->cut == 0) gate->cut++;
  return gate->cut;
}

void egd_gate_queued(struct egd_gate *gate, uint32_t node, uint64_t cut) {
  struct egd_gate_holder *holder = find(gate, node);
  if (holder && cut > holder->queued && cut <= gate->cut) holder->queued = cut;
}

void egd_gate_held(struct egd_gate *gate, uint32_t node, uint64_t cut) {
  struct egd_gate_holder *holder = find(gate, node);
  if (holder && cut > holder->held && cut <= holder->queued) holder->held = cut;
}

uint32_t egd_gate_needed(const struct egd_gate *gate) {
  if (gate->open) return 0;
  return gate->f < gate->nholders ? gate->f : gate->nholders;
}

static uint32_t confirmed(const struct egd_gate *gate, uint64_t cut, uint32_t to) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < gate->nholders; i++) {
    const struct egd_gate_holder *holder = &gate->holders[i];
    count += holder->held >= cut || (holder->node == to && holder->queued >= cut);
  }
  return count;
}

uint64_t egd_gate_stable(const struct egd_gate *gate) {
  if (gate->open) return gate->cut;
  if (!gate->known) return 0;
  uint32_t needed = egd_gate_needed(gate);
  if (needed == 0) return gate->cut;
  uint64_t best = 0;
  for (uint32_t i = 0; i < gate->nholders; i++) {
    uint64_t cut = gate->holders[i].held;
    if (cut > best && confirmed(gate, cut, EGD_GATE_NOBODY) >= needed) best = cut;
  }
  return best;
}

bool egd_gate_may_leave(const struct egd_gate *gate, uint64_t cut, uint32_t to) {
  if (gate->open) return true;
  return gate->known && confirmed(gate, cut, to) >= egd_gate_needed(gate);
}
