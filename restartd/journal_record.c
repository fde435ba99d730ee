#include "restartd/journal_record.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/status.h"

#define HEADER 20u
#define LONG_TEXT (64u << 10)

enum { VALUE_NULL, VALUE_INTEGER, VALUE_TEXT };

static uint32_t check_of(const unsigned char *record, size_t length) {
  return (uint32_t)XXH3_64bits(record + 8, length - 8);
}

static size_t text_limit(const struct egd_record *record) {
  size_t length = HEADER;
  for (unsigned i = 0; i < record->count; i++)
    length += record->values[i].kind == EGD_VALUE_TEXT ? 6 + strlen(record->values[i].text) : 9;
  return length <= EGD_RECORD_MAX ? EGD_RECORD_MAX : LONG_TEXT;
}

size_t egd_record_encode(const struct egd_record *record, unsigned char **buffer, size_t *size) {
  size_t limit = text_limit(record), length = HEADER;
  for (unsigned i = 0; i < record->count; i++) {
    const struct egd_value *value = &record->values[i];
    size_t text = value->kind == EGD_VALUE_TEXT ? strlen(value->text) : 0;
    length += value->kind == EGD_VALUE_INTEGER ? 9 : value->kind == EGD_VALUE_TEXT && text <= limit ? 6 + text : 1;
  }
  if (length > EGD_RECORD_MAX || record->count > EGD_RECORD_VALUES) return 0;
  if (length > *size) {
    unsigned char *larger = realloc(*buffer, length);
    if (!larger) return 0;
    *buffer = larger;
    *size = length;
  }
  unsigned char *at = *buffer;
  uint32_t total = (uint32_t)length;
  memcpy(at, &total, 4);
  memcpy(at + 8, &record->seq, 8);
  at[16] = (unsigned char)record->fact;
  at[17] = (unsigned char)record->count;
  at[18] = at[19] = 0;
  at += HEADER;
  for (unsigned i = 0; i < record->count; i++) {
    const struct egd_value *value = &record->values[i];
    uint32_t text = value->kind == EGD_VALUE_TEXT ? (uint32_t)strlen(value->text) : 0;
    if (value->kind == EGD_VALUE_INTEGER) {
      *at = VALUE_INTEGER;
      memcpy(at + 1, &value->integer, 8);
      at += 9;
    } else if (value->kind == EGD_VALUE_TEXT && text <= limit) {
      *at = VALUE_TEXT;
      memcpy(at + 1, &text, 4);
      memcpy(at + 5, value->text, text + 1);
      at += 6 + text;
    } else {
      *at++ = VALUE_NULL;
    }
  }
  uint32_t check = check_of(*buffer, length);
  memcpy(*buffer + 4, &check, 4);
  return length;
}

// Returns what follows the value, NULL if it is not one.
static const unsigned char *decode_value(const unsigned char *at, const unsigned char *end,
                                         struct egd_value *ret_value) {
  if (at == end) return NULL;
  size_t left = (size_t)(end - at) - 1;
  int64_t integer;
  uint32_t text;
  switch (*at) {
  case VALUE_NULL:
    *ret_value = (struct egd_value){.kind = EGD_VALUE_NULL};
    return at + 1;
  case VALUE_INTEGER:
    if (left < 8) return NULL;
    memcpy(&integer, at + 1, 8);
    *ret_value = EGD_INTEGER(integer);
    return at + 9;
  case VALUE_TEXT:
    if (left < 5) return NULL;
    memcpy(&text, at + 1, 4);
    if (text > left - 5 || at[5 + text] != 0 || memchr(at + 5, 0, text)) return NULL;
    *ret_value = EGD_TEXT((const char *)at + 5);
    return at + 6 + text;
  }
  return NULL;
}

int egd_record_decode(const unsigned char *data, size_t length, struct egd_record *ret_record, size_t *ret_length) {
  uint32_t total, check;
  *ret_length = 0;
  if (length < 4) return EGD_ERR_NOT_FOUND;
  memcpy(&total, data, 4);
  if (total < HEADER || total > EGD_RECORD_MAX) return EGD_ERR_CORRUPT;
  *ret_length = total;
  if (length < total) return EGD_ERR_NOT_FOUND;
  memcpy(&check, data + 4, 4);
  if (check != check_of(data, total) || data[16] >= EGD_FACTS || data[17] > EGD_RECORD_VALUES || data[18] || data[19])
    return EGD_ERR_CORRUPT;
  memcpy(&ret_record->seq, data + 8, 8);
  if (ret_record->seq > INT64_MAX) return EGD_ERR_CORRUPT; // SQLite and JSON hold no more
  ret_record->fact = (enum egd_fact)data[16];
  ret_record->count = data[17];
  const unsigned char *at = data + HEADER, *end = data + total;
  for (unsigned i = 0; at && i < ret_record->count; i++) at = decode_value(at, end, &ret_record->values[i]);
  return at == end ? EGD_OK : EGD_ERR_CORRUPT;
}
