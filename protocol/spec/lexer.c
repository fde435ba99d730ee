#include "protocol/spec/lexer.h"
#include <stdbool.h>
#include <stdlib.h>
#include "common/status.h"

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
static bool is_word(char c) {
  return is_letter(c) || is_digit(c) || c == '-' || c == '_';
}
static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}
static char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

void egd_source_report(const struct egd_source *source, enum egd_severity severity, uint32_t line, uint32_t column,
                       const char *message) {
  if (!source->report) return;
  char buffer[4096];
  struct egd_text text = {buffer, sizeof(buffer), 0};
  egd_text_string(&text, source->name);
  egd_text_string(&text, ":");
  egd_text_number(&text, line);
  egd_text_string(&text, ":");
  egd_text_number(&text, column);
  egd_text_string(&text, severity == EGD_SEVERITY_NOTE ? ": note: " : ": ");
  egd_text_string(&text, message);
  struct egd_diagnostic diagnostic = {
      .severity = severity, .name = source->name, .line = line, .column = column, .message = message, .text = buffer};
  source->report(source->context, &diagnostic);
}

struct cursor {
  const struct egd_source *source;
  uint32_t at, line, column;
};

static char peek(const struct cursor *cursor, uint32_t ahead) {
  return cursor->at + ahead < cursor->source->length ? cursor->source->text[cursor->at + ahead] : '\0';
}

static void advance(struct cursor *cursor) {
  if (cursor->source->text[cursor->at++] == '\n') {
    cursor->line++;
    cursor->column = 1;
  } else {
    cursor->column++;
  }
}

static bool at_end(const struct cursor *cursor) {
  return cursor->at >= cursor->source->length;
}

// Figure 3 of the paper has a comment in braces. Braces also enclose the structure of a determinant, so the word decides.
static bool at_brace_comment(const struct cursor *cursor) {
  uint32_t i = 1;
  while (is_blank(peek(cursor, i)) || peek(cursor, i) == '\n') i++;
  for (const char *expected = "comment"; *expected; expected++, i++)
    if (to_lower(peek(cursor, i)) != *expected) return false;
  return !is_word(peek(cursor, i));
}

static bool skip_comment_to(struct cursor *cursor, const char *end, const char *message) {
  struct cursor start = *cursor;
  size_t length = strlen(end);
  advance(cursor);
  for (; !at_end(cursor); advance(cursor)) {
    if (peek(cursor, 0) != end[0] || (length == 2 && (peek(cursor, 1) != end[1] || cursor->at < start.at + 2)))
      continue;
    for (size_t i = 0; i < length; i++) advance(cursor);
    return true;
  }
  egd_source_report(cursor->source, EGD_SEVERITY_ERROR, start.line, start.column, message);
  return false;
}

// Returns false after a report.
static bool skip_blanks(struct cursor *cursor) {
  while (!at_end(cursor)) {
    char c = peek(cursor, 0);
    if (is_blank(c) || c == '\n') {
      advance(cursor);
    } else if (c == '#' || (c == '/' && peek(cursor, 1) == '/')) {
      while (!at_end(cursor) && peek(cursor, 0) != '\n') advance(cursor);
    } else if (c == '/' && peek(cursor, 1) == '*') {
      if (!skip_comment_to(cursor, "*/", "this comment is not closed; expected */")) return false;
    } else if (c == '{' && at_brace_comment(cursor)) {
      if (!skip_comment_to(cursor, "}", "this comment is not closed; expected }")) return false;
    } else {
      break;
    }
  }
  return true;
}

static void report_character(const struct cursor *cursor) {
  static const char hex[] = "0123456789abcdef";
  unsigned char c = (unsigned char)peek(cursor, 0);
  char buffer[160];
  struct egd_text text = {buffer, sizeof(buffer), 0};
  egd_text_string(&text, "unexpected ");
  if (c > ' ' && c < 0x7f) {
    const char quoted[] = {'\'', (char)c, '\'', '\0'};
    egd_text_string(&text, quoted);
  } else {
    const char code[] = {'0', 'x', hex[c >> 4], hex[c & 15], '\0'};
    egd_text_string(&text, "byte ");
    egd_text_string(&text, code);
  }
  egd_text_string(&text, "; a specification has words, numbers, : , ( ) { } = and comments");
  egd_source_report(cursor->source, EGD_SEVERITY_ERROR, cursor->line, cursor->column, buffer);
}

int egd_tokenize(const struct egd_source *source, struct egd_token **ret_tokens) {
  struct cursor cursor = {source, 0, 1, 1};
  if (source->length > EGD_SPEC_MAX_BYTES) {
    egd_source_report(source, EGD_SEVERITY_ERROR, 1, 1, "this is larger than 64 KiB: not a specification");
    return EGD_ERR_INVALID;
  }
  // No token is shorter than a byte.
  struct egd_token *tokens = malloc((source->length + 1) * sizeof(*tokens));
  if (!tokens) return EGD_ERR_NO_MEMORY;
  if (source->length >= 3 && memcmp(source->text, "\xef\xbb\xbf", 3) == 0) cursor.at = 3; // byte-order mark
  size_t count = 0;
  for (;;) {
    if (!skip_blanks(&cursor)) goto invalid;
    struct egd_token *token = &tokens[count++];
    *token = (struct egd_token){.offset = cursor.at, .line = cursor.line, .column = cursor.column};
    if (at_end(&cursor)) break;
    char c = peek(&cursor, 0);
    if (is_letter(c)) {
      token->kind = EGD_TOKEN_WORD;
      while (is_word(peek(&cursor, 0))) advance(&cursor);
    } else if (is_digit(c)) {
      token->kind = EGD_TOKEN_NUMBER;
      while (is_digit(peek(&cursor, 0)) || (peek(&cursor, 0) == '.' && is_digit(peek(&cursor, 1)))) advance(&cursor);
    } else if (c && strchr(":,(){}=", c)) {
      token->kind = EGD_TOKEN_PUNCTUATION;
      advance(&cursor);
    } else {
      report_character(&cursor);
      goto invalid;
    }
    token->length = cursor.at - token->offset;
  }
  *ret_tokens = tokens;
  return EGD_OK;
invalid:
  free(tokens);
  return EGD_ERR_INVALID;
}

// `co-ordinated`, `Co-ordinated` and `coordinated` are one word.
static bool same_word(const char *a, size_t a_length, const char *b, size_t b_length) {
  size_t i = 0, j = 0;
  for (;;) {
    while (i < a_length && a[i] == '-') i++;
    while (j < b_length && b[j] == '-') j++;
    if (i == a_length || j == b_length) return i == a_length && j == b_length;
    if (to_lower(a[i++]) != to_lower(b[j++])) return false;
  }
}

// The next element of a pattern: [*begin, *end). Names such as "{source, ssn}" have punctuation without blanks.
static bool next_element(const char *pattern, const char **begin, const char **end) {
  const char *p = *end ? *end : pattern;
  while (*p == ' ') p++;
  *begin = p;
  if (!*p) return false;
  if (strchr(":,(){}=", *p))
    p++;
  else
    while (*p && *p != ' ' && !strchr(":,(){}=", *p)) p++;
  *end = p;
  return true;
}

static bool is_placeholder(const char *begin, const char *end, const char *name) {
  return (size_t)(end - begin) == strlen(name) && memcmp(begin, name, (size_t)(end - begin)) == 0;
}

static bool parse_count(const char *digits, size_t length, uint64_t *ret_count) {
  uint64_t count = 0;
  for (size_t i = 0; i < length; i++) {
    if (!is_digit(digits[i])) return false;
    if (__builtin_mul_overflow(count, 10u, &count) ||
        __builtin_add_overflow(count, (uint64_t)(digits[i] - '0'), &count))
      count = UINT64_MAX;
  }
  *ret_count = count;
  return true;
}

static const struct {
  const char *name;
  uint64_t ns;
} units[] = {
    {"ms", 1000000ull},         {"millisecond", 1000000ull}, {"milliseconds", 1000000ull}, {"s", 1000000000ull},
    {"sec", 1000000000ull},     {"second", 1000000000ull},   {"seconds", 1000000000ull},   {"min", 60000000000ull},
    {"m", 60000000000ull},      {"minute", 60000000000ull},  {"minutes", 60000000000ull},  {"h", 3600000000000ull},
    {"hour", 3600000000000ull}, {"hours", 3600000000000ull},
};

static bool parse_time(const char *digits, size_t length, uint64_t unit, uint64_t *ret_ns) {
  uint64_t ns = 0, scale = 0; // scale 0: before the point
  for (size_t i = 0; i < length; i++) {
    if (digits[i] == '.') {
      if (scale) return false;
      scale = unit;
    } else if (scale) {
      scale /= 10;
      if (__builtin_add_overflow(ns, (uint64_t)(digits[i] - '0') * scale, &ns)) ns = UINT64_MAX;
      if (scale == 0) scale = 1; // further digits are below a nanosecond
    } else {
      uint64_t digit = (uint64_t)(digits[i] - '0') * unit;
      if (__builtin_mul_overflow(ns, 10u, &ns) || __builtin_add_overflow(ns, digit, &ns)) ns = UINT64_MAX;
    }
  }
  *ret_ns = ns;
  return true;
}

size_t egd_phrase_match(const struct egd_source *source, const struct egd_token *tokens, const char *pattern,
                        uint64_t *ret_parameter, size_t *ret_partial) {
  const struct egd_token *token = tokens;
  const char *begin, *end = NULL;
  uint64_t parameter = 0;
  bool has_parameter = false, matches = true;
  while (matches && next_element(pattern, &begin, &end)) {
    const char *word = source->text + token->offset;
    matches = false;
    if (token->kind == EGD_TOKEN_END) break;
    if (is_placeholder(begin, end, "<count>")) {
      matches = token->kind == EGD_TOKEN_NUMBER && parse_count(word, token->length, &parameter);
      has_parameter |= matches;
    } else if (is_placeholder(begin, end, "<time>")) {
      if (token->kind != EGD_TOKEN_NUMBER || token[1].kind != EGD_TOKEN_WORD) break;
      for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && !matches; i++)
        matches = same_word(source->text + token[1].offset, token[1].length, units[i].name, strlen(units[i].name)) &&
                  parse_time(word, token->length, units[i].ns, &parameter);
      has_parameter |= matches;
      if (matches) token++;
    } else {
      for (const char *a = begin; a < end && !matches;) {
        const char *bar = memchr(a, '|', (size_t)(end - a));
        size_t length = (size_t)((bar ? bar : end) - a);
        matches = same_word(a, length, word, token->length);
        a += length + 1;
      }
    }
    if (matches) token++;
  }
  *ret_partial = (size_t)(token - tokens);
  if (!matches) return 0;
  if (has_parameter) *ret_parameter = parameter;
  return (size_t)(token - tokens);
}

size_t egd_phrase_length(const char *pattern) {
  const char *begin, *end = NULL;
  size_t count = 0;
  while (next_element(pattern, &begin, &end)) count += is_placeholder(begin, end, "<time>") ? 2 : 1;
  return count;
}

void egd_phrase_print(struct egd_text *text, const char *pattern) {
  const char *begin, *end = NULL;
  bool first = true, glue = false;
  while (next_element(pattern, &begin, &end)) {
    if (!first && !glue && !strchr(",)}", *begin)) egd_text_string(text, " ");
    first = false;
    glue = *begin == '(' || *begin == '{';
    if (is_placeholder(begin, end, "<count>")) {
      egd_text_string(text, "N");
    } else if (is_placeholder(begin, end, "<time>")) {
      egd_text_string(text, "TIME");
    } else {
      const char *bar = memchr(begin, '|', (size_t)(end - begin));
      egd_text_bytes(text, begin, (size_t)((bar ? bar : end) - begin));
    }
  }
}

void egd_text_duration(struct egd_text *text, uint64_t duration_ns) {
  static const struct {
    uint64_t ns;
    const char *unit;
  } scales[] = {
      {3600000000000ull, " h"}, {60000000000ull, " min"}, {1000000000ull, " s"}, {1000000ull, " ms"}, {1, " ns"}};
  size_t i = 0;
  while (duration_ns % scales[i].ns != 0) i++;
  egd_text_number(text, duration_ns / scales[i].ns);
  egd_text_string(text, scales[i].unit);
}
