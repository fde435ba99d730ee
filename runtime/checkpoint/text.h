// Small helpers for programs that must do without libc: parsing /proc and building paths.
#ifndef EGIDA_RUNTIME_CHECKPOINT_TEXT_H
#define EGIDA_RUNTIME_CHECKPOINT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline size_t egd_text_length(const char *s) {
  size_t n = 0;
  while (s[n] != '\0') n++;
  return n;
}

static inline bool egd_text_starts(const char *s, const char *prefix) {
  while (*prefix != '\0')
    if (*s++ != *prefix++) return false;
  return true;
}

static inline bool egd_text_equal(const char *a, const char *b) {
  while (*a != '\0' && *a == *b) a++, b++;
  return *a == *b;
}

static inline bool egd_text_ends(const char *s, const char *suffix) {
  size_t n = egd_text_length(s), m = egd_text_length(suffix);
  return n >= m && egd_text_equal(s + n - m, suffix);
}

/// Read a number at *s in base 8, 10 or 16 and advance behind it.
static inline uint64_t egd_text_number(const char **s, unsigned base) {
  uint64_t value = 0;
  for (;; (*s)++) {
    unsigned digit = (unsigned char)**s;
    if (digit >= '0' && digit <= '9')
      digit -= '0';
    else if (digit >= 'a' && digit <= 'f')
      digit -= 'a' - 10;
    else
      break;
    if (digit >= base) break;
    value = value * base + digit;
  }
  return value;
}

static inline int64_t egd_text_signed(const char **s) {
  bool negative = **s == '-';
  if (negative) (*s)++;
  int64_t value = (int64_t)egd_text_number(s, 10);
  return negative ? -value : value;
}

static inline void egd_text_skip_blanks(const char **s) {
  while (**s == ' ' || **s == '\t') (*s)++;
}

/// Append to the string of `size` bytes; false (and unchanged) if it does not fit.
static inline bool egd_text_append(char *to, size_t size, const char *what) {
  size_t n = egd_text_length(to), m = egd_text_length(what);
  if (n + m + 1 > size) return false;
  for (size_t i = 0; i <= m; i++) to[n + i] = what[i];
  return true;
}

static inline bool egd_text_append_number(char *to, size_t size, uint64_t value, unsigned base) {
  char digits[24];
  size_t at = sizeof digits;
  digits[--at] = '\0';
  do {
    digits[--at] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  return egd_text_append(to, size, digits + at);
}

/// The value behind "\nkey" in a /proc text, or NULL.
static inline const char *egd_text_find(const char *text, const char *key) {
  for (const char *line = text; *line != '\0';) {
    if (egd_text_starts(line, key)) {
      line += egd_text_length(key);
      egd_text_skip_blanks(&line);
      return line;
    }
    while (*line != '\0' && *line != '\n') line++;
    if (*line == '\n') line++;
  }
  return NULL;
}

#endif
