// Text put together in a caller's buffer: what does not fit is cut off, the result is always terminated.
#ifndef EGIDA_PROTOCOL_SPEC_TEXT_H
#define EGIDA_PROTOCOL_SPEC_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct egd_text {
  char *buffer;
  size_t size, length;
};

static inline void egd_text_bytes(struct egd_text *text, const char *bytes, size_t length) {
  if (text->size == 0) return;
  size_t room = text->size - 1 - text->length;
  if (length > room) length = room;
  memcpy(text->buffer + text->length, bytes, length);
  text->length += length;
  text->buffer[text->length] = '\0';
}

static inline void egd_text_string(struct egd_text *text, const char *string) {
  egd_text_bytes(text, string, strlen(string));
}

static inline void egd_text_number(struct egd_text *text, uint64_t number) {
  char digits[20];
  size_t i = sizeof(digits);
  do digits[--i] = (char)('0' + number % 10);
  while (number /= 10);
  egd_text_bytes(text, digits + i, sizeof(digits) - i);
}

/// "30 s", "1500 ms", "2 min", "1 h": the largest unit that divides it.
void egd_text_duration(struct egd_text *text, uint64_t duration_ns);

#endif
