// The node segment: one sparse memfd per node and job, shared by the node's agent, its watchdogs and its ranks.
//
// It holds all that must outlive a rank: logs of sent messages (which *are* the channels between ranks of a node),
// determinants, output not yet acknowledged, and the control block of each rank. It dies with its node. Layout and the
// writer/reader order of each structure: docs/formats/segment.md. All references are byte offsets from the segment's
// base; every process of the node maps it at EGD_SEGMENT_BASE (ranks must; others may).
//
// Single writer: each field says who writes it. "rank" means the rank whose block it is, "agent" the node's agent,
// "watchdog" the rank's egida-exec. A field is read by anyone.
#ifndef EGIDA_COMMON_SEGMENT_H
#define EGIDA_COMMON_SEGMENT_H

#include <stdatomic.h>
#include <stdint.h>
#include "common/plan.h"

#define EGD_SEGMENT_MAGIC 0x31474553444745ull // "EGDSEG1"
#define EGD_SEGMENT_VERSION 2u
#define EGD_SEGMENT_BASE 0x100000000000ull      // 16 TiB: far from anything that the kernel or the application maps
#define EGD_SPILL_BASE 0x300000000000ull        // the spill file (local disk), same offsets scheme, see EGD_SPILL_BIT
#define EGD_SPILL_BIT (1ull << 46)              // in an offset: the rest is an offset into the spill file
#define EGD_RUNTIME_HEAP_BASE 0x0f0000000000ull // private arenas of the runtime (part of the rank's image)
#define EGD_SEGMENT_FD 960                      // the descriptor under which a rank and its watchdog inherit the memfd
#define EGD_AGENT_FD 961    // rank: stream to its watchdog (egida-exec); see docs/formats/control.md
#define EGD_IMAGE_SIGNAL 64 // sent by the agent to a rank whose requested image does not begin for some 300 ms
#define EGD_MAX_RANKS 4096u
#define EGD_CACHE_LINE 64

// ---- messages ------------------------------------------------------------------------------------------------------

enum egd_record_kind {
  EGD_RECORD_LINK = 1,     // not a message: the channel continues at offset `payload`
  EGD_RECORD_TAG = 2,      // tagged message; imm = tag
  EGD_RECORD_TAG_SYNC = 3, // tagged message whose sender waits for an ack; imm = tag, cookie = sender's request id
  EGD_RECORD_SYNC_ACK = 4, // cookie = the request id to complete at the receiver of the ack
  EGD_RECORD_AM = 5,       // active message; imm = id
};

// A message as it stands in the log of its sender. `commit` is stored last with release order: ssn + 1; zero means not
// written yet. Payload up to EGD_INLINE_MAX bytes follows the header; longer payload lies in a chain of extents.
// Records are aligned to, and occupy a multiple of, EGD_CACHE_LINE bytes.
struct egd_record {
  _Atomic uint64_t commit;
  uint64_t length;        // payload bytes
  uint64_t imm;           // tag or active-message id
  uint32_t cookie;        // see the kind
  uint16_t kind;          // enum egd_record_kind
  uint16_t header_length; // EGD_RECORD_AM: how many of the leading payload bytes are the AM's header; else 0
  uint64_t payload;       // LINK: offset of the next block; extents: offset of the first struct egd_extent; inline: 0
  unsigned char inline_payload[24]; // and on, beyond the struct
};
#define EGD_RECORD_HEADER 40u
#define EGD_INLINE_MAX 4056u

// One contiguous piece of a long payload. `data_offset` may have EGD_SPILL_BIT.
struct egd_extent {
  uint64_t next;   // offset of the next extent descriptor, 0 = last
  uint64_t data;   // offset of the bytes
  uint64_t length; // bytes
  uint64_t pages;  // size of the allocation behind data, in 4 KiB pages
};

// Channel s -> d, in the slice of s. Written by s (on the node of s) or by the agent (mirror on the node of d).
struct egd_channel {
  _Atomic uint64_t head;       // offset of the first retained block, 0 = nothing was ever sent
  _Atomic uint64_t head_ssn;   // ssn of the first record in that block
  _Atomic uint64_t tail;       // offset at which the next record goes
  _Atomic uint64_t published;  // number of records published since the start of the job: the next ssn
  uint64_t tail_end;           // end offset of the tail block
  _Atomic uint64_t generation; // seqlock over head/head_ssn: odd while they change
  uint64_t reserved[2];
};

// ---- rank control block --------------------------------------------------------------------------------------------

enum egd_rank_state {
  EGD_RANK_NONE = 0,     // not on this node
  EGD_RANK_STARTING = 1, // process exists, MPI_Init not finished
  EGD_RANK_RUNNING = 2,  // live
  EGD_RANK_REPLAYING = 3,
  EGD_RANK_FINISHED = 4, // exit(0) after MPI_Finalize; its logs stay
  EGD_RANK_DEAD = 5,
};

// Bits of egd_rank_cb.notes: facts that the runtime learns and the agent reports to the user.
enum egd_rank_note {
  EGD_NOTE_MPI_INITIALIZED = 1u << 0, // the UCP drop-in was reached
  EGD_NOTE_FINALIZED = 1u << 1,       // MPI_Finalize returned
  EGD_NOTE_THREADS = 1u << 2,         // more than one thread exists
  EGD_NOTE_VERDICT = 1u << 3,         // the runtime ended the rank: it said why, a restart would not help
};

// Named points at which a fault can be injected (egida run --inject).
enum egd_fault_point {
  EGD_FAULT_NONE = 0,
  EGD_FAULT_SEND = 1,       // before publishing send number `fault_count` (counted over all destinations)
  EGD_FAULT_CHECKPOINT = 2, // while an image is being written (in the writer's process: kills the rank)
  EGD_FAULT_RECOVERY = 3,   // in the middle of a replay
  EGD_FAULT_INIT = 4,       // inside MPI_Init
  EGD_FAULT_FINALIZE = 5,   // inside MPI_Finalize
  EGD_FAULT_RECEIVE = 6,    // after admission number `fault_count`
};

struct egd_rank_cb {
  // --- polled by senders: one line ---
  _Atomic uint32_t sleeping;    // futex word: 1 while the rank waits for messages (rank)
  _Atomic uint32_t wakeups;     // bumped by whoever wakes the rank
  _Atomic uint32_t state;       // enum egd_rank_state (watchdog until RUNNING, then rank)
  _Atomic uint32_t incarnation; // 0 for the first execution (watchdog, before the process starts)
  uint64_t pad0[6];

  // --- requests to the rank, polled in its progress calls: one line ---
  _Atomic uint32_t attention;     // non-zero: look at the words below (anyone sets, rank clears)
  _Atomic uint32_t image_request; // number of the latest requested image (anyone: fetch_add)
  _Atomic uint32_t fault_point;   // enum egd_fault_point, armed by the agent
  _Atomic uint32_t fault_done;    // set by the rank just before it kills itself, so that the point fires once
  _Atomic uint64_t fault_count;
  _Atomic uint32_t quiesce; // 1: take an image synchronously, then stop (end of job with resume)
  uint32_t pad1[9];

  // --- life (rank unless said) ---
  _Atomic int32_t pid;             // of the current incarnation (watchdog)
  _Atomic int32_t watchdog_pid;    // (watchdog)
  _Atomic uint32_t notes;          // enum egd_rank_note
  _Atomic uint32_t restored_image; // image from which the current incarnation started; UINT32_MAX = none (watchdog)
  _Atomic uint64_t restored_ns;    // CLOCK_MONOTONIC: image mapped, runtime attached
  _Atomic uint64_t replayed_ns;    // CLOCK_MONOTONIC: replay done, live
  _Atomic uint64_t polls;          // progress calls at the last visible act or determinant
  _Atomic uint64_t sends;          // messages sent ever
  _Atomic uint64_t admissions;     // messages admitted ever

  // --- images (rank or its image-writing child) ---
  _Atomic uint32_t image_started; // number of the newest image begun
  _Atomic uint32_t
      image_durable; // number of the newest durable image; 0 = none yet. Image number 1 is "image 0" of the papers
  _Atomic uint32_t image_older; // number of the durable image before that one, kept too; 0 = none
  _Atomic int32_t image_child;  // pid of the writer, 0 = none
  _Atomic int32_t image_error;  // errno of the last image that failed, 0 = the last one succeeded
  _Atomic uint32_t image_ended; // number of the newest image whose writer is done, well or not
  _Atomic uint64_t image_bytes, image_stall_ns, image_write_ns; // of the newest durable image

  // --- determinant log: ring of EGD_DETERMINANT_RING bytes; positions grow for ever ---
  _Atomic uint64_t determinant_head;   // bytes appended (rank; agent when it restores a rank on a new node)
  _Atomic uint64_t determinant_tail;   // bytes before this are covered by the oldest retained image
  _Atomic uint64_t determinant_newest; // position covered by the newest durable image
  _Atomic uint64_t determinant_stable; // bytes known to be stable outside the node (agent); unused on one node

  // --- output ring: struct egd_output_record + bytes, padded to 8; positions grow for ever ---
  _Atomic uint64_t output_head;    // appended (rank)
  _Atomic uint64_t output_taken;   // forwarded by the agent
  _Atomic uint64_t output_acked;   // acknowledged by the launcher (agent); the ring may reuse these bytes
  _Atomic uint32_t output_waiting; // rank waits for room: futex word
  uint32_t pad2;

  // --- log of sent messages ---
  _Atomic uint64_t log_bytes;   // allocated in memory now
  _Atomic uint64_t log_spilled; // allocated in the spill file now
  _Atomic uint64_t log_peak;    // highest log_bytes

  // --- a restored rank and its agent (several nodes only): see pmix_agent/mover.h ---
  _Atomic uint32_t cursors_ready; // incarnation + 1 whose read cursors stand in `consumed` (rank, once after a restore)
  _Atomic uint32_t mirrors_ready; // same value: mirrors hold, or will hold, all records from there on (agent)
  _Atomic uint64_t polls_stable;  // as determinant_stable, for `polls`: non-arrival is a determinant too (agent)
};

struct egd_output_record {
  uint32_t length; // bytes that follow
  uint32_t stream; // 1 or 2
};

#define EGD_NO_LEASE UINT64_MAX

// ---- the header of the segment
// ---------------------------------------------------------------------------------------

struct egd_segment {
  uint64_t magic;
  uint32_t version, nranks;
  uint32_t node, nnodes;
  uint64_t slice_size; // bytes of virtual space per rank
  uint64_t slices;     // offset of slice 0
  uint64_t log_limit;  // budget of one rank's message log in memory, bytes
  uint64_t job_hash;   // XXH3 of job id and secret: images of other jobs are refused
  char job_id[64];
  char job_dir[512];  // absolute: shared folder of the job (images, PMI state, files that outlive nodes)
  char node_dir[512]; // absolute: the node's "local disk"
  struct egd_plan plan;
  _Atomic uint32_t started;        // 1: image 0 of all ranks is durable; outputs and file changes may leave (agent)
  _Atomic uint32_t agent_sleeping; // 1: ring the doorbell (FIFO node_dir/doorbell) after publishing for the agent
  _Atomic int32_t agent_pid;
  _Atomic uint32_t divergence_warn; // 1: --divergence=warn
  _Atomic uint32_t birth;           // bumped when start-up was lost and all ranks start anew
  // --- nodes of a cluster (agent) ---
  // CLOCK_BOOTTIME until which this node may act for the job: after it no output, no change of a file, and watchdogs
  // kill their ranks. EGD_NO_LEASE: nobody else can have taken over this node's ranks.
  _Atomic uint64_t lease_until_ns;
  _Atomic uint32_t agent_incarnation;   // the node's, as the newest agent knows it
  char control[64];                     // "HOST:PORT" of the steward, "" on one machine; for an agent that takes over
  _Atomic uint32_t home[EGD_MAX_RANKS]; // node of each rank (agent)
};

// Parts of slice r, as offsets from the slice's start. bounds, consumed and ready are arrays over ranks.
//   cb        struct egd_rank_cb
//   ready     _Atomic uint64_t [nranks/64]: bit s = channel s -> r may have something (set by senders, cleared by the
//             consumer of r's channels on this node: rank r at home, elsewhere the agent)
//   bounds    _Atomic uint64_t [nranks]: records of s -> r below this ssn are covered by r's oldest retained image
//   newest    _Atomic uint64_t [nranks]: the same for r's newest durable image
//   consumed  _Atomic uint64_t [nranks]: records of s -> r below this ssn were admitted and copied by r
//   channels  struct egd_channel [nranks]
//   output    ring of EGD_OUTPUT_RING bytes
//   determinants  ring of EGD_DETERMINANT_RING bytes
//   arena     all the rest: blocks and extents of the message log
#define EGD_OUTPUT_RING (8ull << 20)
#define EGD_DETERMINANT_RING (64ull << 20)
#define EGD_SLICE_CB 0ull
#define EGD_SLICE_READY 4096ull
#define EGD_SLICE_BOUNDS 8192ull
#define EGD_SLICE_NEWEST (EGD_SLICE_BOUNDS + 8ull * EGD_MAX_RANKS)
#define EGD_SLICE_CONSUMED (EGD_SLICE_NEWEST + 8ull * EGD_MAX_RANKS)
#define EGD_SLICE_CHANNELS (EGD_SLICE_CONSUMED + 8ull * EGD_MAX_RANKS)
#define EGD_SLICE_OUTPUT (EGD_SLICE_CHANNELS + sizeof(struct egd_channel) * EGD_MAX_RANKS)
#define EGD_SLICE_DETERMINANTS (EGD_SLICE_OUTPUT + EGD_OUTPUT_RING)
#define EGD_SLICE_ARENA (EGD_SLICE_DETERMINANTS + EGD_DETERMINANT_RING)

_Static_assert(sizeof(struct egd_record) == 64, "a record header is one cache line");
_Static_assert(sizeof(struct egd_channel) == 64, "a channel is one cache line");
_Static_assert(sizeof(struct egd_rank_cb) <= 4096, "the control block is one page");
_Static_assert(sizeof(struct egd_segment) <= 1 << 20, "the header fits its megabyte");

/// Virtual size of a slice for a job of `nranks`: as much as fits 16 TiB in all, at most 256 GiB each.
static inline uint64_t egd_slice_size(uint32_t nranks) {
  uint64_t size = (16ull << 40) / nranks;
  if (size > 256ull << 30) size = 256ull << 30;
  return size & ~((1ull << 21) - 1);
}
/// Virtual size of the whole segment (header + slices), bytes.
static inline uint64_t egd_segment_size(uint32_t nranks) {
  return (2ull << 20) + nranks * egd_slice_size(nranks);
}

/// Each rank's part of the spill file: a slice, but all of them end below 15 TiB (file systems end at 16).
static inline uint64_t egd_spill_slice_size(uint32_t nranks) {
  uint64_t size = egd_slice_size(nranks), most = (15ull << 40) / nranks & ~((1ull << 21) - 1);
  return size < most ? size : most;
}

static inline void *egd_at(const struct egd_segment *seg, uint64_t offset) {
  if (offset & EGD_SPILL_BIT) return (void *)(EGD_SPILL_BASE + (offset & ~EGD_SPILL_BIT));
  return (unsigned char *)(uintptr_t)seg + offset;
}
static inline uint64_t egd_slice(const struct egd_segment *seg, uint32_t rank) {
  return seg->slices + rank * seg->slice_size;
}
/// The second half of a slice holds mirrors (written by the agent of a node where the rank does not live), the first its
/// own log.
static inline uint64_t egd_mirror_begin(const struct egd_segment *seg, uint32_t rank) {
  return egd_slice(seg, rank) + ((seg->slice_size / 2 + (1ull << 21) - 1) & ~((1ull << 21) - 1));
}
static inline struct egd_rank_cb *egd_cb(const struct egd_segment *seg, uint32_t rank) {
  return egd_at(seg, egd_slice(seg, rank) + EGD_SLICE_CB);
}
static inline _Atomic uint64_t *egd_ready(const struct egd_segment *seg, uint32_t rank) {
  return egd_at(seg, egd_slice(seg, rank) + EGD_SLICE_READY);
}
static inline _Atomic uint64_t *egd_bounds(const struct egd_segment *seg, uint32_t rank) {
  return egd_at(seg, egd_slice(seg, rank) + EGD_SLICE_BOUNDS);
}
static inline _Atomic uint64_t *egd_newest(const struct egd_segment *seg, uint32_t rank) {
  return egd_at(seg, egd_slice(seg, rank) + EGD_SLICE_NEWEST);
}
static inline _Atomic uint64_t *egd_consumed(const struct egd_segment *seg, uint32_t rank) {
  return egd_at(seg, egd_slice(seg, rank) + EGD_SLICE_CONSUMED);
}
static inline struct egd_channel *egd_channel(const struct egd_segment *seg, uint32_t from, uint32_t to) {
  return (struct egd_channel *)egd_at(seg, egd_slice(seg, from) + EGD_SLICE_CHANNELS) + to;
}

/// Create a memfd of the right size and initialise its header. *ret_fd is owned by the caller. `plan` is copied.
/// Errors: EGD_ERR_INVALID (nranks out of 1..EGD_MAX_RANKS, a path too long), EGD_ERR_NO_MEMORY; ret_fd untouched.
enum egd_status;
int egd_segment_create(uint32_t nranks, uint32_t node, uint32_t nnodes, const char *job_id, uint64_t job_hash,
                       const char *job_dir, const char *node_dir, const struct egd_plan *plan, uint64_t log_limit,
                       int *ret_fd);
/// Map a segment of `fd` at EGD_SEGMENT_BASE, MAP_SHARED. EGD_ERR_CORRUPT or EGD_ERR_VERSION if it is none of ours.
/// The process keeps it mapped for its life. Uses plain system calls only.
int egd_segment_map(int fd, struct egd_segment **ret_segment);
/// Forget all state of `rank`'s slice (its memory is given back); used when start-up begins anew and when a rank
/// leaves.
int egd_segment_reset_slice(int fd, struct egd_segment *seg, uint32_t rank);

#endif
