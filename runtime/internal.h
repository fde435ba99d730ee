// Shared by the files of runtime/ proper (not its rooms): the rank's whole runtime state. It lies in the runtime's own
// data and heap, thus in the image; what must survive a roll-back lies in the node segment.
#ifndef EGIDA_RUNTIME_INTERNAL_H
#define EGIDA_RUNTIME_INTERNAL_H

#include "common/msglog.h"
#include "protocol/engine.h"
#include "runtime/rank.h"
#include "runtime/syscall.h"

struct egd_runtime {
  struct egd_engine engine;
  struct egd_state *state;
  struct egd_log log;
  struct egd_reader *readers; // [nranks] receiving side
  struct egd_reader *compare; // [nranks] replay: what was sent before
  struct egd_kept *kept;      // [nranks] messages that the adapter keeps, per source
  uint32_t next_ready;        // round robin over sources
  uint32_t ready_words;
  unsigned char ready_idle[EGD_MAX_RANKS / 64]; // empty looks per ready word, for the hysteresis
  uint64_t last_poll_tsc;
  uint64_t press_from, press_at; // log size at which receivers are asked for images: first, next
  uint64_t full_at;              // log size from which a send first waits for images
  uint64_t gave_up_at;           // sum of bounds at which waiting was in vain
  uint32_t idle_polls, spin_limit, yield_limit;
  bool mpi_initialised;
  uint64_t output_from; // the output ring holds nothing of before this position
  bool delivering; // a message is between channel and adapter: no image now
  int pmi_fd;
  uint32_t images_asked; // last value of cb->image_request that was served
  uint64_t replay_begin; // determinant position of the image from which this incarnation started
};
extern struct egd_runtime egd_rt;
extern const struct egd_env egd_runtime_env;

uint64_t egd_monotonic_ns(void);

// channels.c
void egd_channels_init(void);
/// Map the node's spill file; part of attaching to the segment.
void egd_spill_map(void);
/// Give room on the disk to that part of the spill file. False: no space.
bool egd_spill_reserve(uint64_t offset, uint64_t length);
/// New incarnation: find the read positions again.
void egd_channels_restored(void);
/// Sleep until a message or a request may be there, at most `timeout_ns`.
void egd_sleep(uint64_t timeout_ns);
/// The same, but only a message from `source` counts.
void egd_sleep_for(uint32_t source, uint64_t timeout_ns);
/// Sleep for a moment, whatever is there.
void egd_pause(void);
bool egd_anything_ready(void);
void egd_ring_doorbell(void);

// kept.c
struct egd_kept *egd_kept_create(uint32_t nranks);
/// Value for `received` up to which channel `source` is done with (kept messages hold it back).
uint64_t egd_channel_consumed(uint32_t source);
/// The message just taken from `source` is consumed / is kept by the adapter.
void egd_channels_took(uint32_t source);
void egd_channels_keep(uint32_t source, uint64_t ssn);

// events.c
/// The determinant ring fills: ask for an image of this rank.
void egd_determinants_make_room(uint64_t bytes);
/// Safe point: the ring may be so full that an image must be durable before anything more is logged.
void egd_determinants_check(void);

// images.c
void egd_image_first(void);
/// Look at cb's requests (attention, images, quiesce).
void egd_attend(void);
/// Take an image synchronously because a log is full; returns when it is durable.
void egd_image_now(void);

// rank.c
/// Map the node segment that this process inherited. Dies with a message if it is none.
void egd_rank_attach(void);
/// Replay is over.
void egd_rank_live(void);

// fault.c
void egd_fault_arm_check(enum egd_fault_point point, uint64_t count);
static inline void egd_fault(enum egd_fault_point point, uint64_t count) {
  if (__builtin_expect(atomic_load_explicit(&egd_rank.cb->fault_point, memory_order_relaxed) == (uint32_t)point, 0))
    egd_fault_arm_check(point, count);
}

static inline uint64_t egd_tsc(void) {
  uint32_t lo, hi;
  __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
  return (uint64_t)hi << 32 | lo;
}

#endif
