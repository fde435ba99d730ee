// Messages of the runtime: one line to the rank's real stderr, without stdio.
#include <stdarg.h>
#include <string.h>
#include "runtime/internal.h"

struct line {
  char text[1024];
  size_t length;
};

static void put(struct line *line, const char *text, size_t length) {
  if (length > sizeof(line->text) - 1 - line->length) length = sizeof(line->text) - 1 - line->length;
  memcpy(line->text + line->length, text, length);
  line->length += length;
}

static void put_number(struct line *line, uint64_t value, unsigned base, bool negative) {
  char digits[24];
  size_t n = sizeof(digits);
  do {
    digits[--n] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value);
  if (negative) digits[--n] = '-';
  put(line, digits + n, sizeof(digits) - n);
}

static void format_line(struct line *line, const char *format, va_list args) {
  for (const char *p = format; *p; p++) {
    if (*p != '%') {
      put(line, p, 1);
      continue;
    }
    bool is_long = false;
    while (*++p == 'l') is_long = true;
    switch (*p) {
    case 's': {
      const char *text = va_arg(args, const char *);
      put(line, text, strlen(text));
      break;
    }
    case 'd': {
      int64_t value = is_long ? va_arg(args, long) : va_arg(args, int);
      put_number(line, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, value < 0);
      break;
    }
    case 'u':
      put_number(line, is_long ? va_arg(args, unsigned long) : va_arg(args, unsigned), 10, false);
      break;
    case 'x':
      put_number(line, is_long ? va_arg(args, unsigned long) : va_arg(args, unsigned), 16, false);
      break;
    case 'p':
      put_number(line, (uintptr_t)va_arg(args, void *), 16, false);
      break;
    case '%':
      put(line, "%", 1);
      break;
    default:
      return;
    }
  }
}

static void say(const char *format, va_list args) {
  struct line line = {.length = 0};
  put(&line, "egida: rank ", 12);
  put_number(&line, egd_rank.self, 10, false);
  put(&line, ": ", 2);
  format_line(&line, format, args);
  line.text[line.length++] = '\n';
  egd_sys3(SYS_write, 2, line.text, line.length);
}

void egd_say(const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(format, args);
  va_end(args);
}

void egd_die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(format, args);
  va_end(args);
  if (egd_rank.cb) atomic_fetch_or(&egd_rank.cb->notes, EGD_NOTE_VERDICT);
  for (;;) egd_sys1(SYS_exit_group, EGD_EXIT_VERDICT);
}
