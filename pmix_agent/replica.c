#include "pmix_agent/replica.h"

#include <stdlib.h>
#include <string.h>
#include "common/segment.h"
#include "common/status.h"

#define TRIM_STEP (1u << 20)

static uint64_t end_of(const struct egd_replica *replica) {
  return replica->is_staged ? replica->staged.head : replica->state.head;
}

static int reserve(struct egd_replica *replica, uint64_t bytes) {
  if (bytes <= replica->size) return EGD_OK;
  size_t size = replica->size ? replica->size : 4096;
  while (size < bytes) size *= 2;
  unsigned char *grown = realloc(replica->bytes, size);
  if (!grown) return EGD_ERR_NO_MEMORY;
  replica->bytes = grown;
  replica->size = size;
  return EGD_OK;
}

static int append_here(struct egd_replica *replica, uint64_t position, const struct egd_replica_state *state,
                       const unsigned char *data, size_t length) {
  uint64_t end = end_of(replica);
  if (position > end || position < replica->base || length > UINT64_MAX - position) return EGD_ERR_CORRUPT;
  if (state->tail > position + length || state->tail < replica->base) return EGD_ERR_CORRUPT;
  uint64_t skip = end - position < length ? end - position : length;
  uint64_t new_end = position + length > end ? position + length : end;
  // The origin bounds its log by the ring; what its tail has passed was not trimmed here yet.
  if (new_end - replica->base > 2 * EGD_DETERMINANT_RING) return EGD_ERR_CORRUPT;
  int status = reserve(replica, new_end - replica->base);
  if (status != EGD_OK) return status;
  if (length > skip) memcpy(replica->bytes + (end - replica->base), data + skip, length - skip);
  replica->staged = *state;
  replica->staged.head = new_end;
  replica->is_staged = true;
  return EGD_OK;
}

int egd_replica_append(struct egd_replica *replica, uint64_t position, bool restart,
                       const struct egd_replica_state *state, const void *data, size_t length) {
  if (restart) {
    struct egd_replica *fresh = calloc(1, sizeof *fresh);
    if (!fresh) return EGD_ERR_NO_MEMORY;
    fresh->base = fresh->state.head = fresh->state.tail = position;
    int status = append_here(fresh, position, state, data, length);
    if (status != EGD_OK) {
      egd_replica_clear(fresh);
      free(fresh);
      return status;
    }
    egd_replica_rollback(replica);
    replica->replacement = fresh;
    return EGD_OK;
  }
  if (replica->replacement) return append_here(replica->replacement, position, state, data, length);
  if (!replica->known && !replica->is_staged) return EGD_ERR_CORRUPT; // the first piece says where the log begins
  return append_here(replica, position, state, data, length);
}

static void trim(struct egd_replica *replica) {
  uint64_t garbage = replica->state.tail - replica->base, used = replica->state.head - replica->base;
  if (garbage < TRIM_STEP || garbage < used / 2) return;
  memmove(replica->bytes, replica->bytes + garbage, used - garbage);
  replica->base = replica->state.tail;
}

bool egd_replica_commit(struct egd_replica *replica) {
  if (replica->replacement) {
    struct egd_replica *fresh = replica->replacement;
    free(replica->bytes);
    *replica = *fresh;
    free(fresh);
  }
  if (!replica->is_staged) return false;
  replica->state = replica->staged;
  replica->is_staged = false;
  replica->known = true;
  trim(replica);
  return true;
}

void egd_replica_rollback(struct egd_replica *replica) {
  replica->is_staged = false;
  if (!replica->replacement) return;
  egd_replica_clear(replica->replacement);
  free(replica->replacement);
  replica->replacement = NULL;
}

const unsigned char *egd_replica_bytes(const struct egd_replica *replica, uint64_t position, size_t *length) {
  if (!replica->known || position < replica->base || position >= replica->state.head) return NULL;
  uint64_t there = replica->state.head - position;
  if (*length > there) *length = there;
  return replica->bytes + (position - replica->base);
}

void egd_replica_clear(struct egd_replica *replica) {
  egd_replica_rollback(replica);
  free(replica->bytes);
  *replica = (struct egd_replica){0};
}
