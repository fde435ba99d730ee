// The driver of the grammar: at each step it asks which terminals are possible, takes the longest phrase that fits, and otherwise says
// what would have.
#include "protocol/spec/parse.h"
#include <stdlib.h>
#include "common/status.h"
#include "protocol/spec/expected.h"
#include "protocol/spec/grammar.h"

struct egd_spec_memory {
  struct egd_spec_memory *next;
  max_align_t bytes[];
};

void *egd_parser_allocate(struct egd_parser *parser, size_t size) {
  struct egd_spec_memory *memory = calloc(1, sizeof(*memory) + size);
  if (!memory) {
    parser->no_memory = true;
    return NULL;
  }
  memory->next = parser->spec->memory;
  parser->spec->memory = memory;
  return memory->bytes;
}

void egd_spec_destroy(struct egd_spec *spec) {
  if (!spec) return;
  while (spec->memory) {
    struct egd_spec_memory *next = spec->memory->next;
    free(spec->memory);
    spec->memory = next;
  }
  free(spec);
}

static void report(struct egd_parser *parser, const struct egd_token *token, const char *message) {
  egd_source_report(&parser->source, EGD_SEVERITY_ERROR, token->line, token->column, message);
}

// ---- what stands here -------------------------------------------------------------------------------------------------

struct candidate {
  const struct egd_module *module; // NULL: keyword
  const char *phrase;
};

// All phrases of one expected terminal, one after the other; false after the last.
struct phrases {
  const struct egd_registry *registry;
  const struct egd_expected *expected;
  size_t module, alternative;
};

static bool next_phrase(struct phrases *phrases, struct candidate *ret_candidate) {
  if (phrases->expected->variable == EGD_VARIABLE_COUNT) {
    if (!phrases->expected->phrase || phrases->alternative++) return false;
    *ret_candidate = (struct candidate){NULL, phrases->expected->phrase};
    return true;
  }
  for (;;) {
    const struct egd_module *module = egd_registry_nth(phrases->registry, phrases->expected->variable, phrases->module);
    if (!module) return false;
    const char *phrase = module->phrases             ? module->phrases[phrases->alternative]
                         : phrases->alternative == 0 ? module->name
                                                     : NULL;
    if (phrase) {
      phrases->alternative++;
      *ret_candidate = (struct candidate){module, phrase};
      return true;
    }
    phrases->module++;
    phrases->alternative = 0;
  }
}

struct match {
  int terminal;
  enum egd_variable variable;
  const struct egd_module *module;
  const struct egd_module *other; // the same words as a value of ckpt-proto, where both are possible
  size_t length;
  uint64_t parameter;
};

static struct match longest_match(struct egd_parser *parser, const struct egd_token *at,
                                  const struct egd_expected *expected, size_t nexpected) {
  struct match best = {0};
  for (size_t i = 0; i < nexpected; i++) {
    struct phrases phrases = {parser->registry, &expected[i], 0, 0};
    struct candidate candidate;
    while (next_phrase(&phrases, &candidate)) {
      uint64_t parameter = candidate.module ? candidate.module->default_parameter : 0;
      size_t partial, length = egd_phrase_match(&parser->source, at, candidate.phrase, &parameter, &partial);
      if (length == 0) continue;
      if (length == best.length && best.variable == EGD_VARIABLE_OUTPUT_COMMIT_PROTO &&
          expected[i].variable == EGD_VARIABLE_CKPT_PROTO) {
        best.other = candidate.module;
        best.terminal = EGD_TERMINAL_VALUE_EITHER_PROTO;
      } else if (length > best.length) {
        best = (struct match){expected[i].terminal, expected[i].variable, candidate.module, NULL, length, parameter};
      }
    }
  }
  return best;
}

static struct egd_value *make_value(struct egd_parser *parser, const struct egd_token *at, const struct match *match,
                                    const struct egd_module *module) {
  struct egd_value *value = egd_parser_allocate(parser, sizeof(*value));
  if (!value) return NULL;
  const struct egd_token *last = &at[match->length - 1];
  *value = (struct egd_value){.module = module,
                              .parameter = match->parameter,
                              .offset = at->offset,
                              .length = last->offset + last->length - at->offset,
                              .line = at->line,
                              .column = at->column};
  return value;
}

// False after a report.
static bool parameter_in_range(struct egd_parser *parser, const struct egd_token *at, const struct match *match) {
  const struct egd_module *module = match->module;
  if (!module || !module->parameter_max || match->parameter == module->default_parameter) return true;
  if (match->parameter >= module->parameter_min && match->parameter <= module->parameter_max) return true;
  char buffer[256];
  struct egd_text text = {buffer, sizeof(buffer), 0};
  bool is_time = module->parameter_max > EGD_ANY_NUMBER;
  egd_text_string(&text, "'");
  egd_text_bytes(&text, parser->source.text + at->offset,
                 at[match->length - 1].offset + at[match->length - 1].length - at->offset);
  egd_text_string(&text, "' is out of range; expected ");
  is_time ? egd_text_duration(&text, module->parameter_min) : egd_text_number(&text, module->parameter_min);
  egd_text_string(&text, " to ");
  is_time ? egd_text_duration(&text, module->parameter_max) : egd_text_number(&text, module->parameter_max);
  report(parser, at, buffer);
  return false;
}

// ---- what should stand here -------------------------------------------------------------------------------------------

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
      size_t inserted = (row[j - 1] < row[j] ? row[j - 1] : row[j]) + 1;
      row[j] = substituted < inserted ? substituted : inserted;
    }
  }
  return row[b_length];
}

// The words at `at`, at most `count` of them and of this line, as one text with single blanks.
static size_t words_at(struct egd_parser *parser, const struct egd_token *at, size_t count, struct egd_text *text) {
  size_t i = 0;
  for (; i < count && at[i].kind != EGD_TOKEN_END && at[i].line == at->line; i++) {
    const char *word = parser->source.text + at[i].offset;
    if (i > 0 && !strchr(",:)}", *word)) egd_text_string(text, " ");
    egd_text_bytes(text, word, at[i].length);
  }
  return i;
}

static void report_unexpected(struct egd_parser *parser, const struct egd_token *at,
                              const struct egd_expected *expected, size_t nexpected) {
  char listed[2048], phrase_buffer[128], found_buffer[128], suggestion[128] = "", message[3072];
  struct egd_text list = {listed, sizeof(listed), 0};
  size_t best = SIZE_MAX, quoted = 1, count = 0;
  int variable = -1; // the one that is expected, -2 if there are several or keywords
  listed[0] = '\0';
  for (size_t i = 0; i < nexpected; i++) {
    struct phrases phrases = {parser->registry, &expected[i], 0, 0};
    struct candidate candidate;
    const struct egd_module *named = NULL;
    variable = variable == -1 && expected[i].variable != EGD_VARIABLE_COUNT ? (int)expected[i].variable : -2;
    while (next_phrase(&phrases, &candidate)) {
      struct egd_text phrase = {phrase_buffer, sizeof(phrase_buffer), 0};
      egd_phrase_print(&phrase, candidate.phrase);
      if (!candidate.module || candidate.module != named) {
        const char *name = candidate.module ? candidate.module->name : phrase_buffer;
        struct egd_text shown = {phrase_buffer, sizeof(phrase_buffer), 0};
        // Two variables may share a value; name it once.
        char needle[160];
        struct egd_text search = {needle, sizeof(needle), 0};
        if (candidate.module && candidate.module->phrases && strchr(candidate.module->phrases[0], '<'))
          egd_phrase_print(&shown, candidate.module->phrases[0]), name = phrase_buffer;
        egd_text_string(&search, "'");
        egd_text_string(&search, name);
        egd_text_string(&search, "'");
        if (!strstr(listed, needle)) {
          if (count++) egd_text_string(&list, ", ");
          egd_text_string(&list, needle);
        }
        named = candidate.module;
      }
      uint64_t parameter;
      size_t partial;
      egd_phrase_match(&parser->source, at, candidate.phrase, &parameter, &partial);
      struct egd_text found = {found_buffer, sizeof(found_buffer), 0};
      size_t words = words_at(parser, at, egd_phrase_length(candidate.phrase), &found);
      phrase.length = 0;
      egd_phrase_print(&phrase, candidate.phrase);
      size_t far = distance(phrase_buffer, phrase.length, found_buffer, found.length);
      // More matching words are better evidence than fewer wrong letters.
      size_t score = partial > 0 ? 0 : far;
      if (phrase.length < 3 && partial == 0) continue;
      if (partial == 0 && far > (phrase.length < 6 ? 1 : phrase.length / 4 + 1)) continue;
      if (score < best ||
          (score == best && far < distance(suggestion, strlen(suggestion), found_buffer, found.length))) {
        best = score;
        memcpy(suggestion, phrase_buffer, phrase.length + 1);
        quoted = words ? words : 1;
      }
    }
    if (expected[i].variable == EGD_VARIABLE_COUNT && !expected[i].phrase) {
      if (count++) egd_text_string(&list, ", ");
      egd_text_string(&list, "the end of the file");
    }
  }
  struct egd_text text = {message, sizeof(message), 0};
  if (at->kind == EGD_TOKEN_END) {
    egd_text_string(&text, "the file ends in the middle of a statement");
  } else {
    if (variable >= 0) {
      egd_text_string(&text, "unknown ");
      egd_text_string(&text, egd_variable_name((enum egd_variable)variable));
      egd_text_string(&text, " '");
    } else {
      egd_text_string(&text, "unexpected '");
    }
    words_at(parser, at, quoted, &text);
    egd_text_string(&text, "'");
    if (suggestion[0]) {
      egd_text_string(&text, "; did you mean '");
      egd_text_string(&text, suggestion);
      egd_text_string(&text, "'?");
    }
  }
  egd_text_string(&text, suggestion[0] && at->kind != EGD_TOKEN_END ? " expected " : "; expected ");
  if (count > 1) egd_text_string(&text, "one of ");
  egd_text_string(&text, listed);
  report(parser, at, message);
}

// ---- the loop ---------------------------------------------------------------------------------------------------------

static int parse_tokens(struct egd_parser *parser, egd_grammar_pstate *state) {
  const struct egd_token *at = parser->tokens;
  for (;;) {
    struct egd_expected expected[EGD_EXPECTED_MAX];
    size_t nexpected = egd_expected(state, expected);
    union egd_semantic semantic = {0};
    int terminal = EGD_TERMINAL_YYEOF;
    struct match match = {0};
    if (at->kind == EGD_TOKEN_END) {
      bool may_end = false;
      for (size_t i = 0; i < nexpected; i++) may_end |= expected[i].terminal == EGD_TERMINAL_YYEOF;
      if (!may_end) {
        report_unexpected(parser, at, expected, nexpected);
        return EGD_ERR_INVALID;
      }
    } else {
      match = longest_match(parser, at, expected, nexpected);
      if (match.length == 0) {
        report_unexpected(parser, at, expected, nexpected);
        return EGD_ERR_INVALID;
      }
      if (!parameter_in_range(parser, at, &match)) return EGD_ERR_INVALID;
      terminal = match.terminal;
      if (terminal == EGD_TERMINAL_VALUE_EITHER_PROTO) {
        semantic.either[0] = make_value(parser, at, &match, match.module);
        semantic.either[1] = make_value(parser, at, &match, match.other);
      } else if (match.module) {
        semantic.value = make_value(parser, at, &match, match.module);
      } else {
        semantic.place.line = at->line;
        semantic.place.column = at->column;
      }
      if (parser->no_memory) return EGD_ERR_NO_MEMORY;
    }
    int status = egd_grammar_push_parse(state, terminal, &semantic, parser);
    if (status == 0) return EGD_OK;
    if (status != YYPUSH_MORE) return EGD_ERR_NO_MEMORY;
    at += match.length;
  }
}

int egd_spec_parse(const char *text, size_t length, const char *name, const struct egd_registry *registry,
                   egd_report_fn report_fn, void *context, struct egd_spec **ret_spec) {
  struct egd_parser parser = {.source = {text, length, name, report_fn, context}, .registry = registry};
  struct egd_token *tokens = NULL;
  egd_grammar_pstate *state = NULL;
  parser.spec = calloc(1, sizeof(*parser.spec));
  if (!parser.spec) return EGD_ERR_NO_MEMORY;
  parser.spec->last = &parser.spec->first;
  parser.spec->name = name;
  int status = egd_tokenize(&parser.source, &tokens);
  if (status == EGD_OK) {
    parser.tokens = tokens;
    state = egd_grammar_pstate_new();
    status = state ? parse_tokens(&parser, state) : EGD_ERR_NO_MEMORY;
  }
  if (state) egd_grammar_pstate_delete(state);
  free(tokens);
  if (status == EGD_OK)
    *ret_spec = parser.spec;
  else
    egd_spec_destroy(parser.spec);
  return status;
}
