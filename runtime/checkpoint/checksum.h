// XXH3-64 of one contiguous piece; only the one-shot function, which allocates nothing.
#ifndef EGIDA_RUNTIME_CHECKPOINT_CHECKSUM_H
#define EGIDA_RUNTIME_CHECKPOINT_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#define XXH_INLINE_ALL
#define XXH_NO_STREAM
#define XXH_NO_STDLIB
#include <xxhash.h>

static inline uint64_t egd_checksum(const void *data, size_t length) {
  return XXH3_64bits(data, length);
}

#endif
