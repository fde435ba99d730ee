// The driver of the grammar: at each step it asks which terminals are possible and takes the longest phrase that fits.
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

struct match {
  int terminal;
  enum egd_variable variable;
  const struct egd_module *module;
  const struct egd_module *other; // the same words as a value of ckpt-proto, where both are possible
  size_t length;
  uint64_t parameter;
  bool has_parameter;
};

static struct match longest_match(struct egd_parser *parser, const struct egd_token *at,
                                  const struct egd_expected *expected, size_t nexpected) {
  struct match best = {0};
  for (size_t i = 0; i < nexpected; i++) {
    struct egd_phrases phrases = {parser->registry, &expected[i], 0, 0};
    struct egd_phrase candidate;
    while (egd_next_phrase(&phrases, &candidate)) {
      uint64_t parameter = candidate.module ? candidate.module->default_parameter : 0;
      size_t partial, length = egd_phrase_match(&parser->source, at, candidate.pattern, &parameter, &partial);
      if (length == 0) continue;
      if (length == best.length && best.variable == EGD_VARIABLE_OUTPUT_COMMIT_PROTO &&
          expected[i].variable == EGD_VARIABLE_CKPT_PROTO) {
        best.other = candidate.module;
        best.terminal = EGD_TERMINAL_VALUE_EITHER_PROTO;
      } else if (length > best.length) {
        best = (struct match){expected[i].terminal,
                              expected[i].variable,
                              candidate.module,
                              NULL,
                              length,
                              parameter,
                              strchr(candidate.pattern, '<') != NULL};
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
  if (!module || !module->parameter_max || !match->has_parameter) return true;
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
        egd_report_unexpected(parser, at, expected, nexpected);
        return EGD_ERR_INVALID;
      }
    } else {
      match = longest_match(parser, at, expected, nexpected);
      if (match.length == 0) {
        egd_report_unexpected(parser, at, expected, nexpected);
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
