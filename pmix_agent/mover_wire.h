// Messages between movers (docs/formats/mover.md): one frame of common/frame.h each, type 2, whose body is this head
// and data.
#ifndef EGIDA_PMIX_AGENT_MOVER_WIRE_H
#define EGIDA_PMIX_AGENT_MOVER_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define EGD_MOVER_VERSION 1u
#define EGD_MOVER_PIECE (256u << 10) // most data in one message
#define EGD_MOVER_HEAD 56u
#define EGD_MOVER_BODY_MAX (EGD_MOVER_HEAD + EGD_MOVER_PIECE)
#define EGD_MOVER_MAX_ID (1u << 24)
#define EGD_MOVER_RECORD 24u // the head of a record within DATA

// What v[] means: see the comment of each kind; what is not named is zero. from, to: ranks.
enum egd_mover_kind {
  EGD_MOVER_HELLO = 1,         // id = node, from = incarnation, to = birth, v = version, job hash, nranks; data: nonce
  EGD_MOVER_PROOF = 2,         // data: HMAC
  EGD_MOVER_NEWS = 10,         // the channel from -> to has records
  EGD_MOVER_SUBSCRIBE = 11,    // id, from, to, v = first ssn, limit (byte of the stream up to which may be sent), epoch
  EGD_MOVER_RETRY = 12,        // id, v[2] = epoch: not served here; ask again later
  EGD_MOVER_DATA = 13,         // id, v = ssn, offset within that record, epoch; data: the stream from there
  EGD_MOVER_CREDIT = 14,       // id, v = limit, ssn below which everything was received
  EGD_MOVER_GONE = 15,         // id, v = oldest ssn that is retained, v[2] = epoch
  EGD_MOVER_BOUNDS = 16,       // to; data: struct egd_mover_bound []
  EGD_MOVER_IMAGE = 17,        // to: an image is wanted
  EGD_MOVER_DETERMINANTS = 20, // from, flags bit 0 = log starts anew, v = position, polls, tail, newest; data: bytes
  EGD_MOVER_CUT = 21,          // v = cut: what came before counts now
  EGD_MOVER_HELD = 22,         // v = cut; data: struct egd_mover_held []
  EGD_MOVER_HAVE = 23,         // from, v = tail, head
  EGD_MOVER_HAVE_END = 24,
  EGD_MOVER_DROP = 25,    // from: the replica is not needed any more
  EGD_MOVER_COLLECT = 30, // id = request, from
  EGD_MOVER_REPLICA = 31, // id, from, flags bit 0 = there is one, v = tail, newest, head, polls
  EGD_MOVER_FETCH = 32,   // id, from, v = position, end
  EGD_MOVER_BYTES = 33,   // id, from, v = position; data: bytes
};

struct egd_mover_message {
  uint8_t kind, flags;
  uint16_t zero;
  uint32_t id, from, to;
  uint64_t v[4];
  uint64_t check; // XXH3 of head and data, seeded with the session's number
};
_Static_assert(sizeof(struct egd_mover_message) == EGD_MOVER_HEAD, "wire format");

struct egd_mover_bound {
  uint32_t from, zero;
  uint64_t bound, newest;
};
_Static_assert(sizeof(struct egd_mover_bound) == 24, "wire format");

struct egd_mover_held {
  uint32_t rank, zero;
  uint64_t determinants, polls;
};
_Static_assert(sizeof(struct egd_mover_held) == 24, "wire format");

// The head of a record in the stream of a channel.
struct egd_mover_record {
  uint64_t length, imm;
  uint32_t cookie;
  uint16_t kind, header_length;
};
_Static_assert(sizeof(struct egd_mover_record) == EGD_MOVER_RECORD, "wire format");

/// Fill `message->check`.
void egd_mover_seal(struct egd_mover_message *message, const void *data, size_t length, uint64_t seed);
/// Take a frame's body apart. EGD_ERR_CORRUPT: wrong length, checksum, kind, or a rank that is not below `nranks`.
/// *ret_data points into `body`.
int egd_mover_open(const unsigned char *body, size_t size, uint64_t seed, uint32_t nranks,
                   struct egd_mover_message *ret_message, const unsigned char **ret_data, size_t *ret_length);
/// Is this the head of a record that a channel may carry?
int egd_mover_check_record(const struct egd_mover_record *record);

#endif
