// A determinant: what made a non-deterministic event come out as it did (the paper, section 3.1). On the wire and in
// the log: little-endian, 16 bytes, followed by `length` data bytes padded to 16. Byte by byte:
// docs/formats/determinant.md.
//
// A receive event's determinant is {source, ssn, dest, dsn} in the paper. Here dest is the owner of the log, dsn the
// number of admissions before it in that log, ssn the number of earlier admissions from the same source (channels are
// FIFO; its low 16 bits are kept as a check), and `value` the event position: the number of the progress call that
// admitted it.
#ifndef EGIDA_PROTOCOL_DETERMINANT_H
#define EGIDA_PROTOCOL_DETERMINANT_H

#include <stdint.h>

enum egd_determinant_kind { EGD_DETERMINANT_ADMIT = 1 }; // others: enum egd_event_kind of the runtime, opaque here

struct egd_determinant {
  uint8_t kind;
  uint8_t check;   // XOR of the other bytes ^ 0xA5: a torn or foreign entry is recognised
  uint16_t aux;    // ADMIT: low bits of ssn
  uint32_t source; // ADMIT: sender; others: number of data bytes
  uint64_t value;  // ADMIT: progress call; others: the event's value
};
_Static_assert(sizeof(struct egd_determinant) == 16, "wire format");

static inline uint8_t egd_determinant_check(const struct egd_determinant *d) {
  uint64_t a = (uint64_t)d->kind | (uint64_t)d->aux << 16 | (uint64_t)d->source << 32, x = a ^ d->value;
  x ^= x >> 32;
  x ^= x >> 16;
  x ^= x >> 8;
  return (uint8_t)(x ^ 0xA5);
}
static inline uint64_t egd_determinant_size(const struct egd_determinant *d) {
  return 16 + (d->kind == EGD_DETERMINANT_ADMIT ? 0 : ((uint64_t)d->source + 15) / 16 * 16);
}

#endif
