// MPICH's active messages carry bytes that nobody set: padding of its structures, and fields that one kind of message
// doesn't use. They hold what the stack held, which need not be the same in a replay, where each message is compared
// with the one in the log. So they are cleared before a message is logged. Their receivers never look at them.
//
// Each message: a 16-byte header (handler's number in its first two bytes, bytes 4-7 padding), then the handler's own.
#include <stdint.h>
#include <string.h>
#include "runtime/ucp/mpich.h"

#define COMMON_HEADER 16u

// Handlers of MPICH 4.0, by number.
enum handler {
  SEND = 0,
  PART_SEND_INIT = 4,
  PUT_REQ = 7,
  PUT_DT_REQ = 9,
  PUT_DT_ACK = 11,
  GET_REQ = 12,
  ACC_REQ = 14,
  ACC_DT_REQ = 16,
  ACC_DT_ACK = 18,
  GET_ACC_REQ = 19,
  GET_ACC_DT_REQ = 21,
  GET_ACC_DT_ACK = 23,
  CSWAP_REQ = 24,
  WIN_COMPLETE = 26,
  WIN_POST = 27,
  WIN_LOCK = 28,
  WIN_LOCK_ACK = 29,
  WIN_UNLOCK = 30,
  WIN_UNLOCK_ACK = 31,
  WIN_LOCKALL = 32,
  WIN_LOCKALL_ACK = 33,
  WIN_UNLOCKALL = 34,
  WIN_UNLOCKALL_ACK = 35,
  HANDLERS = 36,
};

// Bytes of the handler's header to be cleared: bit i = four bytes from 4 * i on; the lower half of the first field at a
// bit of `low_halves` stays.
struct unset {
  uint32_t words;
  uint32_t low_halves;
};
#define AT(offset) (1u << (offset) / 4)

static const struct unset unset_of[HANDLERS] = {
    [SEND] = {AT(8) | AT(20), AT(8)},
    [PART_SEND_INIT] = {AT(8) | AT(12), AT(8)},
    [PUT_REQ] = {AT(4) | AT(60), 0},
    [PUT_DT_REQ] = {AT(4) | AT(48) | AT(52) | AT(60), 0},
    [PUT_DT_ACK] = {AT(4), 0},
    [GET_REQ] = {AT(4) | AT(60), 0},
    [ACC_REQ] = {AT(4) | AT(44) | AT(56) | AT(60) | AT(64), 0},
    [ACC_DT_REQ] = {AT(4) | AT(44) | AT(56) | AT(60) | AT(64), 0},
    [ACC_DT_ACK] = {AT(4), 0},
    [GET_ACC_REQ] = {AT(4) | AT(44) | AT(64), 0},
    [GET_ACC_DT_REQ] = {AT(4) | AT(44) | AT(64), 0},
    [GET_ACC_DT_ACK] = {AT(4), 0},
    [CSWAP_REQ] = {AT(4) | AT(36), 0},
    [WIN_COMPLETE] = {AT(12), 0},
    [WIN_POST] = {AT(12), 0},
    [WIN_LOCK] = {AT(12), AT(12)},
    [WIN_LOCK_ACK] = {AT(12), 0},
    [WIN_UNLOCK] = {AT(12), 0},
    [WIN_UNLOCK_ACK] = {AT(12), 0},
    [WIN_LOCKALL] = {AT(12), AT(12)},
    [WIN_LOCKALL_ACK] = {AT(12), 0},
    [WIN_UNLOCKALL] = {AT(12), 0},
    [WIN_UNLOCKALL_ACK] = {AT(12), 0},
};

#define GET_FLATTENED_SIZE 56u // if not zero, the field before it is unset
#define GET_TRUE_LOWER_BOUND 48u

extern const char MPII_Version_string[] __attribute__((weak));

bool egd_mpich_known(void) {
  const char *volatile version = MPII_Version_string;
  return version && strncmp(version, "4.0", 3) == 0 && (version[3] < '0' || version[3] > '9');
}

void egd_mpich_clean(unsigned char *header, size_t length) {
  if (length < COMMON_HEADER) return;
  uint16_t handler;
  memcpy(&handler, header, sizeof(handler));
  memset(header + 4, 0, 4);
  if (handler >= HANDLERS) return;
  struct unset unset = unset_of[handler];
  unsigned char *own = header + COMMON_HEADER;
  size_t size = length - COMMON_HEADER;
  for (; unset.words; unset.words &= unset.words - 1) {
    unsigned word = (unsigned)__builtin_ctz(unset.words);
    if ((word + 1) * 4 > size) return;
    unsigned kept = unset.low_halves >> word & 1 ? 2 : 0;
    memset(own + word * 4 + kept, 0, 4 - kept);
  }
  uint32_t flattened;
  if (handler == GET_REQ && size >= GET_FLATTENED_SIZE + sizeof(flattened)) {
    memcpy(&flattened, own + GET_FLATTENED_SIZE, sizeof(flattened));
    if (flattened) memset(own + GET_TRUE_LOWER_BOUND, 0, 8);
  }
}
