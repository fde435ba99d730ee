// The rank: what the runtime's rooms (ucp/, libc/, checkpoint/) use to talk to the protocol core and the transport.
//
// Everything here runs in the user's process. No libc malloc, stdio or mmap(NULL): memory comes from egd_alloc(),
// messages go by egd_say()/egd_die(), system calls by runtime/syscall.h. Nothing is thread-safe: one thread talks to
// MPI; functions that a signal handler may call say so.
#ifndef EGIDA_RUNTIME_RANK_H
#define EGIDA_RUNTIME_RANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/segment.h"

struct egd_rank {
  struct egd_segment *seg; // NULL: the process was not started by egida
  uint32_t self, nranks;
  struct egd_rank_cb *cb;
  bool logging;        // from image 0 on: non-deterministic events are determinants
  bool replaying;      // determinants come from the log
  unsigned in_runtime; // > 0 while runtime code runs: the checkpoint timer defers
};
extern struct egd_rank egd_rank;

// ---- memory and messages
// ---------------------------------------------------------------------------------------------

/// Memory on the runtime's own arenas at fixed addresses (part of the image, never the application's heap). Never NULL:
/// the rank ends with a message when the arena is exhausted. 16-byte aligned, not cleared.
void *egd_alloc(size_t size);
void *egd_calloc(size_t size);
/// `size` as given to egd_alloc. NULL is allowed.
void egd_free(void *p, size_t size);

/// One line on the job's stderr ("egida: rank N: …"), at once, not through the protocol. printf subset: %s %d %u %lu
/// %lx %%. Async-signal-safe.
void egd_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// As egd_say, then the rank ends with exit status EGD_EXIT_VERDICT: the job cannot go on; the watchdog does not
/// restart it.
_Noreturn void egd_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define EGD_EXIT_VERDICT 75

// ---- messages
// --------------------------------------------------------------------------------------------------------

// An outgoing message while it is filled. Private.
struct egd_send {
  uint32_t dest;
  bool compare; // replay: the message is in the log already and is compared
  struct egd_record *record;
  uint64_t length, done;
  struct egd_extent *extent; // current piece (compare: of the old message)
  uint64_t extent_done;
  unsigned char *scratch;
  size_t scratch_size;
  struct egd_record header;
};

/// Begin message `kind` of `length` payload bytes to rank `dest` (not self). Then exactly `length` bytes are put, then
/// it is closed; no other runtime function may be called in between. Visible act: everything that the plan demands is
/// recorded first.
void egd_send_open(struct egd_send *out, uint32_t dest, enum egd_record_kind kind, uint64_t imm, uint32_t cookie,
                   uint16_t header_length, uint64_t length);
/// Append bytes (copied into the log; in replay compared with it: a difference is a divergence, see egd_send_mask).
void egd_send_put(struct egd_send *out, const void *data, size_t length);
/// For packers: get room for up to *length bytes (at least 1; *length is reduced to what is contiguous), write there,
/// then commit.
void *egd_send_room(struct egd_send *out, size_t *length);
void egd_send_commit(struct egd_send *out, size_t length);
/// Publish. The message is complete for the sender: its log holds it. Wakes the receiver if it sleeps.
void egd_send_close(struct egd_send *out);

/// A message that was admitted. Valid during egd_ucp_deliver(); after that only if it was kept.
struct egd_message {
  uint32_t source;
  uint32_t kind; // enum egd_record_kind
  uint64_t imm;
  uint32_t cookie;
  uint32_t header_length;
  uint64_t length;
  uint64_t ssn;
  const struct egd_record *record; // where the payload is: use egd_message_read
};

/// Copy payload bytes [offset, offset+length) to `to`.
void egd_message_read(const struct egd_message *message, uint64_t offset, void *to, size_t length);
/// If the whole payload is contiguous in memory: its address, else NULL. Not to be written to.
const void *egd_message_contiguous(const struct egd_message *message);
/// Done with a message for which egd_ucp_deliver returned EGD_KEEP. The payload may vanish.
void egd_message_done(const struct egd_message *message);
/// After a restore from an image: the message's record must be found again when it is used (called by the adapter from
/// egd_ucp_restored()).
void egd_message_refresh(struct egd_message *message);

/// One progress call: an event position. Admits what is there (in replay: what the determinants say) and calls
/// egd_ucp_deliver for each; may take an image first, may sleep when called back to back with nothing to do. Returns
/// the number of admissions.
unsigned egd_progress(void);
/// An event position outside MPI, counted as a progress call that admits nothing; ends a replay as that does.
void egd_progress_empty(void);

// ---- implemented by runtime/ucp, called by the rank
// --------------------------------------------------------------------
enum egd_verdict_on_message { EGD_CONSUMED = 0, EGD_KEEP = 1 };
/// Process one admitted message (matching, callbacks). EGD_KEEP: the payload is still needed; egd_message_done follows
/// later. Small unexpected messages should be copied and CONSUMED: kept ones hold back the garbage collection of the
/// sender's log.
enum egd_verdict_on_message egd_ucp_deliver(const struct egd_message *message);
/// Called in a new incarnation right after its image was restored and the log attached, before replay: refresh kept
/// messages.
void egd_ucp_restored(void);

// ---- other non-deterministic events (runtime/libc)
// ---------------------------------------------------------------------

enum egd_event_kind {
  EGD_EVENT_ADMIT = 1, // the core's own
  EGD_EVENT_CLOCK = 2,
  EGD_EVENT_RANDOM = 3,
  EGD_EVENT_SYSCALL = 4, // result of a system call (aux = its number), with output bytes
  EGD_EVENT_INTENT = 5,  // a file operation is about to be done
  EGD_EVENT_SIGNAL = 6,
  EGD_EVENT_INPUT = 7, // stdin
};

/// Is the next event of the replay of this kind and aux? Then take it: copies up to `size` data bytes to `data`, sets
/// *ret_value and *ret_length (bytes the event has), returns true. Returns false when live (the caller does the real
/// thing and calls egd_event_log), also when the log ends here. Any other event next in the log: divergence, does not
/// return (message names both).
bool egd_event_replay(enum egd_event_kind kind, uint32_t aux, int64_t *ret_value, void *data, size_t size,
                      size_t *ret_length);
/// Log an event that was just executed live. Cheap: one store sequence into shared memory. No-op if !egd_rank.logging.
void egd_event_log(enum egd_event_kind kind, uint32_t aux, int64_t value, const void *data, size_t length);
/// In replay: is the next event of that kind/aux (nothing is taken)? For intents whose result is missing.
bool egd_event_next_is(enum egd_event_kind kind, uint32_t aux);
/// In replay: is there any event left in the log? False also between its end and the moment at which the rank goes live.
bool egd_event_pending(void);

/// Output on stream 1 or 2: appended to the output ring (in replay: compared with what went out before, not repeated).
/// Blocks while the ring is full. Returns `length`. Visible act.
int64_t egd_output(uint32_t stream, const void *data, size_t length);

/// A visible act other than send/output follows (file change, exit status): records the position; waits until image 0
/// of all ranks is durable and the determinants so far are stable as the plan demands.
void egd_visible_act(void);

/// Take an image now if one was asked for (safe point). Called by egd_progress; long file operations may call it too.
void egd_safe_point(void);

// ---- implemented by runtime/libc
// ---------------------------------------------------------------------------------------
/// Early in the process (constructor): install what must be there from the start. `logging` is still false.
void egd_libc_init(void);
/// Image 0 is about to be taken: from now on events are logged.
void egd_libc_logging_on(void);
/// In the writer of an image, which may be a child: what it writes is the rank, also for signals that come before the
/// new incarnation is armed.
void egd_libc_image_begun(void);
/// New incarnation restored: re-arm what an image cannot hold (Syscall User Dispatch is per-process kernel state).
void egd_libc_restored(void);
/// Replay is over: compute clock offsets so that no clock goes backwards.
void egd_libc_live(void);

#endif
