// When each phase of one recovery was reached. The controller marks them as it learns of them; the store keeps them.
#ifndef EGIDA_RESTARTD_RECOVERY_TIMES_H
#define EGIDA_RESTARTD_RECOVERY_TIMES_H

#include <stdint.h>
#include <stddef.h>

// In the order in which they are reached. A phase that a recovery does not need (no fence when the node lives) stays 0.
enum egd_recovery_phase {
  EGD_RECOVERY_DETECTED,     // the death is known
  EGD_RECOVERY_FENCED,       // all survivors refuse the old incarnation
  EGD_RECOVERY_RESPAWNED,    // the new process exists
  EGD_RECOVERY_RESTORED,     // the image is mapped, the runtime is attached (egd_rank_cb.restored_ns)
  EGD_RECOVERY_REPLAYED,     // replay done, live (egd_rank_cb.replayed_ns)
  EGD_RECOVERY_CAUGHT_UP,    // the first new message was sent or admitted
  EGD_RECOVERY_REREPLICATED, // what lost holders held has its full number of copies again
  EGD_RECOVERY_PHASES,
};

struct egd_recovery_times {
  uint64_t at_ns[EGD_RECOVERY_PHASES]; // CLOCK_MONOTONIC, 0 = not reached
};

/// "detected", "fenced", "respawned", "restored", "replayed", "caught-up", "rereplicated"; static storage, never NULL.
const char *egd_recovery_phase_name(enum egd_recovery_phase phase);
/// Note `phase` at `at_ns`, 0 = now. The first mark of a phase stays: a second report of the same thing changes
/// nothing.
void egd_recovery_mark(struct egd_recovery_times *times, enum egd_recovery_phase phase, uint64_t at_ns);
/// From the detection to `phase`; 0 if either is not reached.
uint64_t egd_recovery_since_detected(const struct egd_recovery_times *times, enum egd_recovery_phase phase);
/// Time that the phase itself took: since the latest phase before it that was reached; 0 if it is not reached.
uint64_t egd_recovery_duration(const struct egd_recovery_times *times, enum egd_recovery_phase phase);
/// From the detection to the rank being live again (REPLAYED); 0 while it is not.
uint64_t egd_recovery_total(const struct egd_recovery_times *times);
/// One line: "0.21 s: respawned 12 ms, restored 88 ms, replayed 110 ms". Returns the length that was written; cut to
/// fit, always NUL-terminated if size > 0.
size_t egd_recovery_describe(const struct egd_recovery_times *times, char *text, size_t size);

#endif
