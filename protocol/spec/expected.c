#include "protocol/spec/expected.h"

bool egd_next_phrase(struct egd_phrases *phrases, struct egd_phrase *ret_phrase) {
  if (phrases->expected->variable == EGD_VARIABLE_COUNT) {
    if (!phrases->expected->phrase || phrases->alternative++) return false;
    *ret_phrase = (struct egd_phrase){NULL, phrases->expected->phrase};
    return true;
  }
  for (;;) {
    const struct egd_module *module = egd_registry_nth(phrases->registry, phrases->expected->variable, phrases->module);
    if (!module) return false;
    const char *pattern = module->phrases             ? module->phrases[phrases->alternative]
                          : phrases->alternative == 0 ? module->name
                                                      : NULL;
    if (pattern) {
      phrases->alternative++;
      *ret_phrase = (struct egd_phrase){module, pattern};
      return true;
    }
    phrases->module++;
    phrases->alternative = 0;
  }
}

// As a message shows it: the module's own name, unless the phrase has a parameter or is another way to write it.
static void print_phrase(struct egd_text *text, const struct egd_phrase *phrase, bool first) {
  if (first && phrase->module && !strchr(phrase->pattern, '<'))
    egd_text_string(text, phrase->module->name);
  else
    egd_phrase_print(text, phrase->pattern);
}

static bool first_of_module(const struct egd_phrase *phrase) {
  return !phrase->module || !phrase->module->phrases || phrase->module->phrases[0] == phrase->pattern;
}

// ---- the list -----------------------------------------------------------------------------------------------------------

static void list_expected(struct egd_parser *parser, const struct egd_expected *expected, size_t nexpected,
                          struct egd_text *text) {
  char buffer[2048];
  struct egd_text list = {buffer, sizeof(buffer), 0};
  size_t count = 0;
  buffer[0] = '\0';
  for (size_t i = 0; i < nexpected; i++) {
    struct egd_phrases phrases = {parser->registry, &expected[i], 0, 0};
    struct egd_phrase phrase;
    while (egd_next_phrase(&phrases, &phrase)) {
      char quoted[160];
      struct egd_text item = {quoted, sizeof(quoted), 0};
      if (!first_of_module(&phrase)) continue;
      egd_text_string(&item, "'");
      print_phrase(&item, &phrase, true);
      egd_text_string(&item, "'");
      // Two variables may share a value.
      if (strstr(buffer, quoted)) continue;
      if (count++) egd_text_string(&list, ", ");
      egd_text_string(&list, quoted);
    }
    if (expected[i].variable == EGD_VARIABLE_COUNT && !expected[i].phrase) {
      if (count++) egd_text_string(&list, ", ");
      egd_text_string(&list, "the end of the file");
    }
  }
  egd_text_string(text, count > 1 ? "expected one of " : "expected ");
  egd_text_string(text, buffer);
  if (strstr(buffer, "TIME")) egd_text_string(text, "; TIME is a number and a unit, e.g. 500 ms, 30 s, 5 min, 1 h");
}

// ---- the likeliest ------------------------------------------------------------------------------------------------------

#define MAX_COMPARED 48

// Levenshtein's distance, case ignored.
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length) {
  size_t row[MAX_COMPARED + 1];
  if (a_length > MAX_COMPARED || b_length > MAX_COMPARED) return SIZE_MAX;
  for (size_t j = 0; j <= b_length; j++) row[j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      size_t substituted = diagonal + ((a[i - 1] | 0x20) != (b[j - 1] | 0x20));
      diagonal = row[j];
      size_t moved = (row[j - 1] < row[j] ? row[j - 1] : row[j]) + 1;
      row[j] = substituted < moved ? substituted : moved;
    }
  }
  return row[b_length];
}

// The tokens at `at`, at most `count` of them and of its line, with single blanks. Returns how many.
static size_t print_found(struct egd_parser *parser, const struct egd_token *at, size_t count, struct egd_text *text) {
  size_t i = 0;
  for (; i < count && at[i].kind != EGD_TOKEN_END && at[i].line == at->line; i++) {
    const char *word = parser->source.text + at[i].offset;
    if (i > 0 && !strchr(",)}", *word) && !strchr("({", word[-1])) egd_text_string(text, " ");
    egd_text_bytes(text, word, at[i].length);
  }
  return i;
}

struct suggestion {
  char text[128]; // empty if nothing is close
  size_t words;   // of the input that it would replace
};

static struct suggestion suggest(struct egd_parser *parser, const struct egd_token *at,
                                 const struct egd_expected *expected, size_t nexpected) {
  struct suggestion best = {"", 1};
  bool best_begins_alike = false;
  size_t best_distance = SIZE_MAX;
  for (size_t i = 0; i < nexpected; i++) {
    struct egd_phrases phrases = {parser->registry, &expected[i], 0, 0};
    struct egd_phrase phrase;
    while (egd_next_phrase(&phrases, &phrase)) {
      struct suggestion candidate;
      char found_buffer[256];
      struct egd_text text = {candidate.text, sizeof(candidate.text), 0};
      struct egd_text found = {found_buffer, sizeof(found_buffer), 0};
      uint64_t parameter;
      size_t partial;
      egd_phrase_match(&parser->source, at, phrase.pattern, &parameter, &partial);
      candidate.words = print_found(parser, at, egd_phrase_length(phrase.pattern), &found);
      print_phrase(&text, &phrase, first_of_module(&phrase));
      if (candidate.words == 0) continue;
      size_t far = distance(candidate.text, text.length, found.buffer, found.length);
      size_t allowed = text.length < 3 ? 0 : text.length < 6 ? 1 : text.length / 4 + 1;
      // A phrase whose first words are there is better evidence than few wrong letters.
      if (partial == 0 && (best_begins_alike || far > allowed)) continue;
      if (best.text[0] && (partial > 0) == best_begins_alike && far >= best_distance) continue;
      best = candidate;
      best_distance = far;
      best_begins_alike = partial > 0;
    }
  }
  return best;
}

// Does a value of another variable stand here? NULL if not.
static const struct egd_module *value_of_another(struct egd_parser *parser, const struct egd_token *at,
                                                 size_t *ret_words) {
  const struct egd_module *best = NULL;
  for (size_t i = 0; i < parser->registry->count; i++) {
    const struct egd_module *module = parser->registry->modules[i];
    for (size_t alternative = 0;; alternative++) {
      const char *pattern = module->phrases ? module->phrases[alternative] : alternative == 0 ? module->name : NULL;
      if (!pattern) break;
      uint64_t parameter;
      size_t partial, words = egd_phrase_match(&parser->source, at, pattern, &parameter, &partial);
      if (words == 0 || (best && words <= *ret_words)) continue;
      best = module;
      *ret_words = words;
    }
  }
  return best;
}

void egd_report_unexpected(struct egd_parser *parser, const struct egd_token *at, const struct egd_expected *expected,
                           size_t nexpected) {
  char message[3072];
  struct egd_text text = {message, sizeof(message), 0};
  struct suggestion suggestion = {"", 1};
  if (at->kind == EGD_TOKEN_END) {
    egd_text_string(&text, "the file ends in the middle of a statement");
  } else {
    bool all_values = true; // and no keyword
    for (size_t i = 0; i < nexpected; i++) all_values &= expected[i].variable != EGD_VARIABLE_COUNT;
    size_t words = 0;
    const struct egd_module *other = all_values ? value_of_another(parser, at, &words) : NULL;
    suggestion = suggest(parser, at, expected, nexpected);
    if (other) suggestion.text[0] = '\0';
    const char *wanted = all_values && nexpected == 1 ? egd_variable_name(expected[0].variable) : NULL;
    egd_text_string(&text, wanted && !other ? "unknown " : other ? "" : "unexpected ");
    if (wanted && !other) egd_text_string(&text, wanted);
    egd_text_string(&text, wanted && !other ? " '" : "'");
    print_found(parser, at, other ? words : suggestion.words, &text);
    egd_text_string(&text, "'");
    if (other) {
      egd_text_string(&text, " is a value for ");
      egd_text_string(&text, egd_variable_name(other->variable));
      if (wanted) egd_text_string(&text, ", not for ");
      if (wanted) egd_text_string(&text, wanted);
    }
    if (suggestion.text[0]) {
      egd_text_string(&text, "; did you mean '");
      egd_text_string(&text, suggestion.text);
      egd_text_string(&text, "'? ");
    }
  }
  if (!suggestion.text[0]) egd_text_string(&text, "; ");
  list_expected(parser, expected, nexpected, &text);
  egd_source_report(&parser->source, EGD_SEVERITY_ERROR, at->line, at->column, message);
}
