#include "common/size.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/status.h"

// Decimal number * scale in 128 bits: a double would lose the last digits of large sizes.
static const char *parse_scaled(const char *text, unsigned __int128 *ret_value, unsigned __int128 *ret_fraction,
                                unsigned __int128 *ret_divisor) {
  unsigned __int128 value = 0, fraction = 0, divisor = 1;
  bool digits = false;
  for (; isdigit((unsigned char)*text); text++, digits = true) {
    value = value * 10 + (unsigned)(*text - '0');
    if (value > UINT64_MAX) return NULL;
  }
  if (*text == '.') {
    for (text++; isdigit((unsigned char)*text); text++, digits = true) {
      if (divisor > 1000000000000ull) continue; // finer than any unit that we have
      fraction = fraction * 10 + (unsigned)(*text - '0');
      divisor *= 10;
    }
  }
  if (!digits) return NULL;
  *ret_value = value;
  *ret_fraction = fraction;
  *ret_divisor = divisor;
  return text;
}

static const char *skip_blanks(const char *text) {
  while (*text == ' ' || *text == '\t') text++;
  return text;
}

int egd_size_parse(const char *text, uint64_t *ret_bytes) {
  unsigned __int128 value, fraction, divisor;
  if (!text) return EGD_ERR_INVALID;
  text = parse_scaled(skip_blanks(text), &value, &fraction, &divisor);
  if (!text) return EGD_ERR_INVALID;
  text = skip_blanks(text);
  static const char units[] = "kmgtp";
  unsigned shift = 0;
  const char *unit = *text ? strchr(units, tolower((unsigned char)*text)) : NULL;
  if (unit) {
    shift = 10 * (unsigned)(unit - units + 1);
    text++;
    if (tolower((unsigned char)*text) == 'i' && tolower((unsigned char)text[1]) == 'b') text++;
  }
  if (tolower((unsigned char)*text) == 'b') text++;
  if (*skip_blanks(text)) return EGD_ERR_INVALID;
  unsigned __int128 bytes = (value << shift) + (fraction << shift) / divisor;
  if (bytes > UINT64_MAX) return EGD_ERR_INVALID;
  *ret_bytes = (uint64_t)bytes;
  return EGD_OK;
}

int egd_duration_parse(const char *text, uint64_t *ret_ns) {
  static const struct {
    const char *name;
    uint64_t ns;
  } units[] = {
      {"ns", 1},           {"us", 1000},         {"ms", 1000000},
      {"sec", 1000000000}, {"s", 1000000000},    {"min", 60000000000},
      {"m", 60000000000},  {"h", 3600000000000}, {"d", 86400000000000},
  };
  if (!text) return EGD_ERR_INVALID;
  text = skip_blanks(text);
  unsigned __int128 sum = 0;
  bool first = true;
  while (first || *text) {
    unsigned __int128 value, fraction, divisor;
    text = parse_scaled(text, &value, &fraction, &divisor);
    if (!text) return EGD_ERR_INVALID;
    text = skip_blanks(text);
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    uint64_t scale = 0;
    if (length == 0 && first && !*text) scale = 1000000000; // a lone number is seconds
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
      if (strlen(units[i].name) == length && strncasecmp(text, units[i].name, length) == 0) scale = units[i].ns;
    if (!scale) return EGD_ERR_INVALID;
    sum += value * scale + fraction * scale / divisor;
    if (sum > UINT64_MAX) return EGD_ERR_INVALID;
    text = skip_blanks(text + length);
    first = false;
  }
  *ret_ns = (uint64_t)sum;
  return EGD_OK;
}

// Three significant digits of value/unit: "1.46", "12.0", "512".
static void format_scaled(char *text, uint64_t value, uint64_t unit, const char *suffix) {
  uint64_t whole = value / unit;
  uint64_t scale = whole < 10 ? 100 : whole < 100 ? 10 : 1;
  uint64_t scaled = (uint64_t)(((unsigned __int128)value * scale + unit / 2) / unit);
  if (scale == 100 && scaled >= 1000) scaled /= 10, scale = 10;
  if (scale == 10 && scaled >= 1000) scaled /= 10, scale = 1;
  if (scale == 100)
    snprintf(text, EGD_SIZE_TEXT, "%u.%02u%s", (unsigned)(scaled / 100), (unsigned)(scaled % 100), suffix);
  else if (scale == 10)
    snprintf(text, EGD_SIZE_TEXT, "%u.%u%s", (unsigned)(scaled / 10), (unsigned)(scaled % 10), suffix);
  else
    snprintf(text, EGD_SIZE_TEXT, "%u%s", (unsigned)scaled, suffix);
}

char *egd_size_format(uint64_t bytes, char text[EGD_SIZE_TEXT]) {
  static const char suffixes[][2] = {"K", "M", "G", "T", "P", "E"};
  if (bytes < 1000) {
    snprintf(text, EGD_SIZE_TEXT, "%u", (unsigned)bytes);
    return text;
  }
  unsigned i = 0;
  // Switch the unit at 1000, not at 1024: no number gets a fourth digit.
  while (i < 5 && (bytes >> (10 * (i + 1))) >= 1000) i++;
  if (i < 5 && ((bytes + (1ull << (10 * (i + 1) - 1))) >> (10 * (i + 1))) >= 1000) i++;
  format_scaled(text, bytes, 1ull << (10 * (i + 1)), suffixes[i]);
  return text;
}

char *egd_duration_format(uint64_t ns, char text[EGD_SIZE_TEXT]) {
  const uint64_t second = 1000000000;
  if (ns == 0) {
    strcpy(text, "0");
  } else if (ns < 1000) {
    snprintf(text, EGD_SIZE_TEXT, "%uns", (unsigned)ns);
  } else if (ns < 999500) {
    format_scaled(text, ns, 1000, "us");
  } else if (ns < 999500000) {
    format_scaled(text, ns, 1000000, "ms");
  } else if (ns < 60 * second - second / 20) {
    format_scaled(text, ns, second, "s");
  } else {
    uint64_t seconds = ns / second + (ns % second >= second / 2);
    if (seconds < 3600)
      snprintf(text, EGD_SIZE_TEXT, "%um%02us", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
    else if (seconds < 86400)
      snprintf(text, EGD_SIZE_TEXT, "%uh%02um", (unsigned)(seconds / 3600), (unsigned)(seconds / 60 % 60));
    else
      snprintf(text, EGD_SIZE_TEXT, "%ud%02uh", (unsigned)(seconds / 86400), (unsigned)(seconds / 3600 % 24));
  }
  return text;
}
