// The rank engine: the event-driven heart of a protocol (the paper, section 3.1), the same in the runtime and in the
// simulator.
//
// It counts events, turns admissions and other non-deterministic events into determinants while live, and drives them
// from the log while replaying. Pure: everything outside comes through struct egd_env; it never blocks, waits or
// allocates.
//
// Positions. A progress call ("poll") is the unit. Admissions carry the poll at which they happened; every visible act
// publishes the current poll number, so that a later incarnation knows up to which poll nothing else was admitted
// (non-arrival is a determinant too). Replay ends at the first poll beyond both the log's last determinant and the last
// published poll.
#ifndef EGIDA_PROTOCOL_ENGINE_H
#define EGIDA_PROTOCOL_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "protocol/determinant.h"
#include "common/plan.h"

// Part of the rank: goes back with its image. Relocatable, no pointers.
struct egd_state {
  uint64_t polls;        // progress calls
  uint64_t admissions;   // dsn of the next admission
  uint64_t sends;        // messages sent, over all destinations
  uint64_t determinants; // position in the determinant log: bytes appended, or consumed in replay
  uint64_t output;       // position in the output log
  struct egd_peer_state {
    uint64_t sent;     // ssn of the next message to that rank
    uint64_t received; // ssn of the next message from that rank
  } peers[];           // [nranks]
};
static inline size_t egd_state_size(uint32_t nranks) {
  return sizeof(struct egd_state) + nranks * sizeof(struct egd_peer_state);
}

// The outside, given by the runtime or the simulator. All functions return at once.
struct egd_env {
  /// Append to the determinant log; it has room (the caller of egd_engine_event made sure). Crash-safe: counts once
  /// `egd_env.append` returned.
  void (*append)(void *ctx, uint64_t position, const struct egd_determinant *determinant, const void *data);
  /// Copy `length` bytes of the log from `position` (below the head).
  void (*read)(void *ctx, uint64_t position, void *to, size_t length);
  /// Publish the position of a visible act (survives the rank).
  void (*publish)(void *ctx, uint64_t polls);
  /// Is the next message (ssn = received) of that source available?
  bool (*available)(void *ctx, uint32_t source);
  /// A source that may have something, live only; UINT32_MAX if none. Fair among sources.
  uint32_t (*ready)(void *ctx);
  /// The replay did something else than the first execution. Does not return in the runtime.
  void (*diverged)(void *ctx, const char *what, const struct egd_determinant *expected, uint64_t position);
};

struct egd_engine {
  const struct egd_env *env;
  void *ctx;
  const struct egd_plan *plan;
  struct egd_state *state;
  uint32_t nranks;
  bool logging; // events become determinants
  bool replaying;
  uint64_t replay_end;   // head of the determinant log when the replay began
  uint64_t replay_polls; // nothing but logged admissions happened up to this poll
  bool peeked;
  struct egd_determinant next; // valid if peeked: the determinant at state->determinants
};

enum egd_step {
  EGD_STEP_NONE = 0,  // nothing (more) to admit in this progress call
  EGD_STEP_ADMIT = 1, // *ret_source's next message is to be admitted now: egd_engine_admitted, then process it
  EGD_STEP_WAIT = 2,  // replay: *ret_source's next message must be admitted now but is not there yet; ask again
};

void egd_engine_init(struct egd_engine *engine, const struct egd_env *env, void *ctx, const struct egd_plan *plan,
                     struct egd_state *state, uint32_t nranks);
/// After `state` was restored from an image: replay up to `head` and to poll `polls`. Live at once if there is nothing
/// to replay.
void egd_engine_recover(struct egd_engine *engine, uint64_t head, uint64_t polls);
/// Begin a progress call. Returns true if this call ended the replay.
bool egd_engine_poll(struct egd_engine *engine);
/// Between progress calls, before a visible act that the first execution did not do: is the replay over? If so the engine is live.
bool egd_engine_settled(struct egd_engine *engine);
/// What to admit next within the current progress call.
enum egd_step egd_engine_next_replay(struct egd_engine *engine, uint32_t *ret_source);
/// The next event in the log if replaying and not at its end. NULL = none (the caller acts live). Kept until taken.
const struct egd_determinant *egd_engine_peek(struct egd_engine *engine);
/// Consume the peeked event, copying min(size, length) data bytes.
void egd_engine_take(struct egd_engine *engine, void *data, size_t size);
/// Log a live event with data.
void egd_engine_event(struct egd_engine *engine, uint8_t kind, uint16_t aux, uint64_t value, const void *data,
                      uint32_t length);

static inline enum egd_step egd_engine_next(struct egd_engine *engine, uint32_t *ret_source) {
  if (__builtin_expect(engine->replaying, 0)) return egd_engine_next_replay(engine, ret_source);
  uint32_t source = engine->env->ready(engine->ctx);
  if (source == UINT32_MAX) return EGD_STEP_NONE;
  *ret_source = source;
  return EGD_STEP_ADMIT;
}

/// The message was taken from its channel: makes the determinant (the paper's CreateDeterminant + Log).
static inline void egd_engine_admitted(struct egd_engine *engine, uint32_t source) {
  struct egd_state *state = engine->state;
  uint64_t ssn = state->peers[source].received++;
  state->admissions++;
  if (__builtin_expect(engine->replaying, 0)) {
    egd_engine_take(engine, NULL, 0);
  } else if (engine->logging) {
    struct egd_determinant determinant = {
        .kind = EGD_DETERMINANT_ADMIT, .aux = (uint16_t)ssn, .source = source, .value = state->polls};
    determinant.check = egd_determinant_check(&determinant);
    engine->env->append(engine->ctx, state->determinants, &determinant, NULL);
    state->determinants += sizeof(determinant);
  }
}

/// A visible act (the paper's dependency-generating or output event) happens now.
static inline void egd_engine_visible(struct egd_engine *engine) {
  engine->env->publish(engine->ctx, engine->state->polls);
}

/// A message to `dest` is sent: returns its ssn.
static inline uint64_t egd_engine_send(struct egd_engine *engine, uint32_t dest) {
  egd_engine_visible(engine);
  engine->state->sends++;
  return engine->state->peers[dest].sent++;
}

#endif
