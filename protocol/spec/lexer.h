// Words, numbers and punctuation of a specification; and the matching of phrases, which may span several of them.
//
// The lexer knows no keywords. What a word means depends on where it stands, so the parser (spec/parse.c) asks for the phrases that are possible
// at a place and takes the longest.
#ifndef EGIDA_PROTOCOL_SPEC_LEXER_H
#define EGIDA_PROTOCOL_SPEC_LEXER_H

#include <stddef.h>
#include <stdint.h>
#include "protocol/spec/diagnostic.h"
#include "protocol/spec/text.h"

#define EGD_SPEC_MAX_BYTES 65536u

enum egd_token_kind { EGD_TOKEN_END, EGD_TOKEN_WORD, EGD_TOKEN_NUMBER, EGD_TOKEN_PUNCTUATION };

struct egd_token {
  enum egd_token_kind kind;
  uint32_t offset, length; // in the text
  uint32_t line, column;
};

struct egd_source {
  const char *text;
  size_t length;
  const char *name;
  egd_report_fn report; // may be NULL
  void *context;
};

/// Report one diagnostic at line:column.
void egd_source_report(const struct egd_source *source, enum egd_severity severity, uint32_t line, uint32_t column,
                       const char *message);

/// Split the text. *ret_tokens ends with EGD_TOKEN_END and is to be freed with free(). EGD_OK, EGD_ERR_INVALID (reported) or EGD_ERR_NO_MEMORY.
int egd_tokenize(const struct egd_source *source, struct egd_token **ret_tokens);

/// How many tokens at `tokens` form the phrase `pattern` (see struct egd_module.phrases); 0 if they do not. *ret_parameter is set if the
/// pattern has a parameter (saturating). *ret_partial: how many tokens matched before the first that does not.
size_t egd_phrase_match(const struct egd_source *source, const struct egd_token *tokens, const char *pattern,
                        uint64_t *ret_parameter, size_t *ret_partial);

/// How many tokens a pattern has.
size_t egd_phrase_length(const char *pattern);

/// Append the pattern as a reader would write it: first alternatives, N and TIME for parameters.
void egd_phrase_print(struct egd_text *text, const char *pattern);

#endif
