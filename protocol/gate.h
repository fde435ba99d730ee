// The node gate: may something leave this node?
//
// Whatever leaves a node (records for another node, output, an exit status) may depend on any non-deterministic event
// of any rank that lives on it. So one question is asked for the node as a whole, by *cuts*: a cut is the position of
// every local rank at one moment, taken after that which is to leave was read. It may leave when the cut is stable:
// held by as many other nodes as the plan's f. Cuts are totally ordered, and a later one covers an earlier one: a
// holder that has cut n has all cuts below it.
//
// Pure: no clock, no memory of its own, no input or output. Used by the agent and by the simulator.
#ifndef EGIDA_PROTOCOL_GATE_H
#define EGIDA_PROTOCOL_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EGD_GATE_MAX_HOLDERS 16u
#define EGD_GATE_NOBODY UINT32_MAX // `to` of what leaves for no holder in particular

// What is known of one rank. To be read in this order: polls first, then determinants. The other way round an event
// logged in between would lie before `polls` and outside `determinants`: its absence would be claimed.
struct egd_gate_position {
  uint64_t polls;
  uint64_t determinants;
};

struct egd_gate_holder {
  uint32_t node;
  uint64_t queued; // newest cut put on the way to it; what follows on the same way arrives after it
  uint64_t held;   // newest cut that it has confirmed
};

struct egd_gate {
  bool open;  // nothing is ever waited for
  bool known; // the holders were set once; before that nothing leaves
  uint32_t f; // wanted number of holders
  uint32_t nholders;
  uint64_t cut; // newest
  struct egd_gate_holder holders[EGD_GATE_MAX_HOLDERS];
};

/// f: copies wanted, at most EGD_GATE_MAX_HOLDERS. `open`: determinants are not logged or there is nowhere to hold
/// them.
void egd_gate_init(struct egd_gate *gate, uint32_t f, bool open);

/// Set the holders. Those that stay keep what they hold; new ones hold nothing. Fewer than f: all of them are waited
/// for; none: the gate is open until there are some. At most EGD_GATE_MAX_HOLDERS.
void egd_gate_set_holders(struct egd_gate *gate, const uint32_t *nodes, uint32_t count);

/// The holder lost what it had, or the way to it was cut and it must confirm anew. Unknown nodes are ignored.
void egd_gate_holder_restarted(struct egd_gate *gate, uint32_t node);

/// Take a cut: `now` are the positions of `count` ranks, `last` those of the newest cut (updated). Returns the newest
/// cut's number, a new one if any rank has moved on. The set of ranks changed: pass `last` filled with UINT64_MAX.
uint64_t egd_gate_cut(struct egd_gate *gate, const struct egd_gate_position *now, struct egd_gate_position *last,
                      size_t count);

/// `cut` is on its way to `node`, in order with all that follows.
void egd_gate_queued(struct egd_gate *gate, uint32_t node, uint64_t cut);
/// `node` confirms that it holds `cut` and all before. A cut that was never queued to it is ignored.
void egd_gate_held(struct egd_gate *gate, uint32_t node, uint64_t cut);

/// The newest cut that as many holders as needed have confirmed. May fall when a holder is lost.
uint64_t egd_gate_stable(const struct egd_gate *gate);

/// May what was read before `cut` go to node `to` now? `to` itself counts as a holder once the cut was queued to it: it
/// cannot see what follows without having the cut.
bool egd_gate_may_leave(const struct egd_gate *gate, uint64_t cut, uint32_t to);

/// How many holders are waited for.
uint32_t egd_gate_needed(const struct egd_gate *gate);

#endif
