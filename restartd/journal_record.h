// The records of a journal, byte by byte: docs/formats/journal.md.
#ifndef EGIDA_RESTARTD_JOURNAL_RECORD_H
#define EGIDA_RESTARTD_JOURNAL_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "restartd/store_private.h"

#define EGD_RECORD_MAX (1u << 20) // bytes of one record
#define EGD_RECORD_VALUES 16

struct egd_record {
  uint64_t seq;
  enum egd_fact fact;
  unsigned count;
  struct egd_value values[EGD_RECORD_VALUES]; // texts point into the bytes that were decoded
};

/// The bytes of one record in *buffer, which grows by realloc (begin with NULL and 0). Returns their number; 0: no
/// memory, or it can't be put into a record.
size_t egd_record_encode(const struct egd_record *record, unsigned char **buffer, size_t *size);
/// Decode the record that `data` begins with. EGD_OK and its length; EGD_ERR_NOT_FOUND: `data` ends before the record
/// does (*ret_length is its length, or 0 if even that is not there); EGD_ERR_CORRUPT.
int egd_record_decode(const unsigned char *data, size_t length, struct egd_record *ret_record, size_t *ret_length);

#endif
