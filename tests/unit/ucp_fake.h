// A rank without a network, for tests of the drop-in UCP: sent messages are kept in a list, arriving ones are made by
// the test.
#ifndef EGIDA_TESTS_UCP_FAKE_H
#define EGIDA_TESTS_UCP_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "runtime/rank.h"

struct fake_message {
  struct fake_message *next;
  struct egd_message message;
  uint32_t dest;
  bool split; // not contiguous in memory
  bool kept;
  struct egd_record *record; // the payload lies behind it
};

struct fake_queue {
  struct fake_message *first, *last;
};

extern struct fake_queue fake_sent;    // by the code under test
extern struct fake_queue fake_arrived; // to be admitted by egd_progress
extern unsigned fake_admit;            // how many messages one progress call admits at most
extern size_t fake_live_bytes;         // given out by egd_alloc
extern unsigned fake_kept;             // messages kept now

extern bool fake_outside; // the test itself uses the heap

void fake_start(uint32_t self, uint32_t nranks);
/// Make a message arrive.
void fake_arrive(uint32_t source, enum egd_record_kind kind, uint64_t imm, uint32_t cookie, const void *payload,
                 size_t length, bool split);
/// Let everything that was sent arrive here, as if each peer had sent the same.
void fake_reflect(bool split);
struct fake_message *fake_take_sent(void);
void fake_free(struct fake_message *message);
const unsigned char *fake_payload(const struct fake_message *message);
/// Move the payload of all kept messages elsewhere, as a restart may do.
void fake_move_kept(void);

extern int tap_count, tap_failed;
void ok(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
int done(void);

#endif
