#include "pmix_agent/mover_wire.h"

#include <stdbool.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "common/segment.h"
#include "common/status.h"

static uint64_t checksum(const struct egd_mover_message *message, const void *data, size_t length, uint64_t seed) {
  uint64_t check = XXH3_64bits_withSeed(message, offsetof(struct egd_mover_message, check), seed);
  return length ? XXH3_64bits_withSeed(data, length, check) : check;
}

void egd_mover_seal(struct egd_mover_message *message, const void *data, size_t length, uint64_t seed) {
  message->zero = 0;
  message->check = checksum(message, data, length, seed);
}

struct shape {
  bool known, from, to;         // which fields are ranks
  uint32_t data_min, data_unit; // unit 0: no data
};

static const struct shape shapes[] = {
    [EGD_MOVER_HELLO] = {.known = true, .data_min = 32, .data_unit = 32},
    [EGD_MOVER_PROOF] = {.known = true, .data_min = 32, .data_unit = 32},
    [EGD_MOVER_NEWS] = {.known = true, .from = true, .to = true},
    [EGD_MOVER_SUBSCRIBE] = {.known = true, .from = true, .to = true},
    [EGD_MOVER_RETRY] = {.known = true},
    [EGD_MOVER_DATA] = {.known = true, .data_min = 1, .data_unit = 1},
    [EGD_MOVER_CREDIT] = {.known = true},
    [EGD_MOVER_GONE] = {.known = true},
    [EGD_MOVER_BOUNDS] = {.known = true, .to = true, .data_min = 24, .data_unit = 24},
    [EGD_MOVER_IMAGE] = {.known = true, .to = true},
    [EGD_MOVER_DETERMINANTS] = {.known = true, .from = true, .data_unit = 1},
    [EGD_MOVER_CUT] = {.known = true},
    [EGD_MOVER_HELD] = {.known = true, .data_unit = 24},
    [EGD_MOVER_HAVE] = {.known = true, .from = true},
    [EGD_MOVER_HAVE_END] = {.known = true},
    [EGD_MOVER_DROP] = {.known = true, .from = true},
    [EGD_MOVER_COLLECT] = {.known = true, .from = true},
    [EGD_MOVER_REPLICA] = {.known = true, .from = true},
    [EGD_MOVER_FETCH] = {.known = true, .from = true},
    [EGD_MOVER_BYTES] = {.known = true, .from = true, .data_min = 1, .data_unit = 1},
};

int egd_mover_open(const unsigned char *body, size_t size, uint64_t seed, uint32_t nranks,
                   struct egd_mover_message *ret_message, const unsigned char **ret_data, size_t *ret_length) {
  struct egd_mover_message message;
  if (size < sizeof message || size > EGD_MOVER_BODY_MAX) return EGD_ERR_CORRUPT;
  memcpy(&message, body, sizeof message);
  size_t length = size - sizeof message;
  if (message.kind >= sizeof shapes / sizeof *shapes || !shapes[message.kind].known || message.zero)
    return EGD_ERR_CORRUPT;
  const struct shape *shape = &shapes[message.kind];
  if (shape->data_unit == 0 ? length != 0 : length < shape->data_min || length % shape->data_unit != 0)
    return EGD_ERR_CORRUPT;
  if ((shape->from && message.from >= nranks) || (shape->to && message.to >= nranks)) return EGD_ERR_CORRUPT;
  if (message.check != checksum(&message, body + sizeof message, length, seed)) return EGD_ERR_CORRUPT;
  *ret_message = message;
  *ret_data = body + sizeof message;
  *ret_length = length;
  return EGD_OK;
}

int egd_mover_check_record(const struct egd_mover_record *record) {
  if (record->kind < EGD_RECORD_TAG || record->kind > EGD_RECORD_AM) return EGD_ERR_CORRUPT;
  if (record->header_length > record->length || record->length > UINT64_MAX / 4) return EGD_ERR_CORRUPT;
  return EGD_OK;
}
