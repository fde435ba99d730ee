// The adapter's insides: what the files of runtime/ucp share.
//
// All state lives in one static structure and in egd_alloc() memory, so it is part of the rank's image. Decisions
// depend only on the order of calls and deliveries, never on addresses or time: a replay takes the same ones.
#ifndef EGIDA_RUNTIME_UCP_ADAPTER_H
#define EGIDA_RUNTIME_UCP_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucp/api/ucp.h>
#include "runtime/rank.h"
#include "runtime/ucp/match.h"

#define EGD_EXPORT __attribute__((visibility("default")))
#define EGD_LIKELY(x) __builtin_expect(!!(x), 1)
#define EGD_UNLIKELY(x) __builtin_expect(!!(x), 0)

// Unexpected payload up to this size is copied; longer payload stays in its sender's log until it is matched.
#define EGD_UNEXPECTED_COPY_MAX (64u << 10)

// ---- the objects behind UCP's handles -----------------------------------------------------------

struct ucp_ep {
  uint32_t rank;
};

// A worker's address, as exchanged through PMI. No padding: its bytes must be the same in each execution.
struct ucp_address {
  uint64_t magic;
  uint32_t rank;
  uint32_t reserved;
};
#define EGD_ADDRESS_MAGIC 0x3152444441444745ull // "EGDADDR1"

struct ucp_mem {
  void *address;
  size_t length;
  unsigned shift; // 2^shift bytes of the arena belong to it; 0: the memory is the caller's
  struct ucp_mem *next_free;
};

// A tagged message without a receive yet; also a message of the rank to itself on its way. Payload of up to
// EGD_UNEXPECTED_COPY_MAX bytes (any length, when the rank itself is the source) follows the structure.
struct ucp_recv_desc {
  struct egd_match_node links[EGD_MASK_GROUPS];
  struct egd_match_node order; // all unexpected messages, by arrival
  struct ucp_recv_desc *next;  // queue of messages to self
  struct ucp_recv_desc *kept_next, *kept_previous;
  struct egd_message message;
  bool kept; // the payload is in the sender's log, not here
  _Alignas(16) unsigned char data[];
};

enum egd_request_flag {
  EGD_REQUEST_RELEASED = 1u << 0,  // the user gave it back; it is recycled when complete
  EGD_REQUEST_COMPLETED = 1u << 1, // the callback returned
  EGD_REQUEST_POSTED = 1u << 2,    // a receive that waits for its message
  EGD_REQUEST_EXTERNAL = 1u << 3,  // memory of the user
};

struct egd_request {
  struct egd_match_node node; // posted receive
  uint64_t sequence;          // order of posting
  uint64_t mask;
  uint32_t flags; // enum egd_request_flag
  int32_t mask_group;
  ucs_status_t status;
  uint32_t cookie; // synchronous send
  void *buffer;
  size_t count;
  ucp_datatype_t datatype;
  size_t capacity; // bytes that the receive can take
  void *unpack;    // state of a generic datatype
  ucp_send_nbx_callback_t sent;
  ucp_tag_recv_nbx_callback_t received;
  void *user_data;
  ucp_tag_recv_info_t info;
  struct egd_request *free_next;
  _Alignas(16) unsigned char user[];
};
_Static_assert(sizeof(struct egd_request) % 16 == 0, "the user's part is aligned");

// ---- state --------------------------------------------------------------------------------------

struct egd_am_handler {
  ucp_am_callback_t callback;
  void *arg;
};

struct egd_generic_datatype {
  ucp_generic_dt_ops_t ops;
  void *context;
  uint32_t next_free;
  bool used;
};

struct egd_ucp {
  // messages to self
  struct ucp_recv_desc *self_head, *self_tail;
  // tag matching
  struct egd_match_table posted[EGD_MASK_GROUPS], unexpected[EGD_MASK_GROUPS];
  uint64_t masks[EGD_MASK_GROUPS];
  uint32_t nmasks, last_mask;
  uint32_t nposted_other;
  struct egd_match_list posted_other; // receives with a mask beyond the hashed ones
  struct egd_match_list arrivals;
  uint64_t sequence;
  struct ucp_recv_desc *kept;
  // requests
  struct egd_request *free_requests;
  size_t request_size; // the user's part
  ucp_request_init_callback_t request_init;
  struct egd_request **sync_requests; // by cookie
  uint32_t *free_cookies;
  uint32_t nfree_cookies, ncookies;
  // datatypes, by index: MPICH tests the sign of a handle's lower half, so a handle is a small number
  struct egd_generic_datatype *datatypes;
  uint32_t ndatatypes, free_datatype;
  // active messages
  struct egd_am_handler *am_handlers;
  uint32_t nam_handlers;
  // memory that the MPI library lets us allocate
  unsigned char *window_arena;
  uint64_t window_arena_used;
  struct ucp_mem *free_windows[64]; // by shift
  // handles
  struct ucp_ep *endpoints;
  bool worker_exists;
  void *thread; // the one that talks to MPI
};
extern struct egd_ucp egd_ucp;

_Noreturn void egd_wrong_thread(void);

// What several threads send and receive has no order that could be repeated, and nothing here is locked.
static inline void egd_check_thread(void) {
  if (EGD_UNLIKELY(__builtin_thread_pointer() != egd_ucp.thread)) egd_wrong_thread();
}

// The signal that asks for an image may come at any instruction. Between these two it waits: the heap and the lists are
// in motion, and a pointer to a message in the log may be in a register.
static inline void egd_enter(void) {
  egd_check_thread();
  egd_rank.in_runtime++;
  __asm__ volatile("" ::: "memory");
}
static inline void egd_leave(void) {
  __asm__ volatile("" ::: "memory");
  egd_rank.in_runtime--;
}

// ---- request.c ----------------------------------------------------------------------------------

/// A request with cleared bookkeeping, of the pool or `param`'s own.
struct egd_request *egd_request_get(const ucp_request_param_t *param);
void egd_request_recycle(struct egd_request *request);
/// Set the outcome, tell the user, recycle if the user is done with it. The request may be gone afterwards.
void egd_request_complete_send(struct egd_request *request, ucs_status_t status);
void egd_request_complete_receive(struct egd_request *request, ucs_status_t status);
/// Give a synchronous send its number. Sets request->cookie.
void egd_request_expect_ack(struct egd_request *request);
/// The acknowledgement `cookie` is here.
void egd_request_acknowledged(uint32_t cookie, uint32_t source);

static inline void *egd_request_handle(struct egd_request *request) {
  return request->user;
}
static inline struct egd_request *egd_request_of(void *handle) {
  return (struct egd_request *)((unsigned char *)handle - offsetof(struct egd_request, user));
}

// ---- datatype.c ---------------------------------------------------------------------------------

// An outgoing payload.
struct egd_source {
  const void *buffer;
  size_t count;
  ucp_datatype_t datatype;
  uint64_t length; // bytes
  void *pack;      // state of a generic datatype
};
void egd_source_start(struct egd_source *source, const void *buffer, size_t count, ucp_datatype_t datatype);
/// Send the payload as a message; ends the source.
void egd_source_send(struct egd_source *source, uint32_t dest, enum egd_record_kind kind, uint64_t imm,
                     uint32_t cookie);
/// Copy the payload to `to`; ends the source.
void egd_source_copy(struct egd_source *source, void *to);

/// Prepare to receive into buffer: capacity, state of a generic datatype.
void egd_sink_start(struct egd_request *request, void *buffer, size_t count, ucp_datatype_t datatype);
/// Fill in a payload that lies at `data`, or in `message` if data is NULL, as far as it fits; ends the sink. The status
/// of the receive.
ucs_status_t egd_sink_fill(struct egd_request *request, const void *data, const struct egd_message *message);
/// Give up without a payload.
void egd_sink_cancel(struct egd_request *request);

// ---- tag.c, am.c, worker.c ----------------------------------------------------------------------

enum egd_verdict_on_message egd_tag_deliver(const struct egd_message *message);
void egd_tag_deliver_self(struct ucp_recv_desc *desc);
void egd_am_deliver(const struct egd_message *message, const void *data);

/// Reserve the arena for windows. In MPI_Init, which is never replayed: its address is in image 1.
void egd_memory_init(void);

/// Put a message for the rank itself in its queue. `source` is ended; NULL means no payload.
void egd_self_send(struct egd_source *source, enum egd_record_kind kind, uint64_t imm, uint32_t cookie);
struct ucp_recv_desc *egd_desc_get(uint64_t payload);
void egd_desc_put(struct ucp_recv_desc *desc);
/// Bytes that follow the structure.
static inline uint64_t egd_desc_payload(const struct ucp_recv_desc *desc) {
  return desc->kept ? 0 : desc->message.length;
}

#endif
