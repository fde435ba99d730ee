// What may come next in the grammar's present state, and the message when something else does. Private to spec/.
#ifndef EGIDA_PROTOCOL_SPEC_EXPECTED_H
#define EGIDA_PROTOCOL_SPEC_EXPECTED_H

#include <stdbool.h>
#include <stddef.h>
#include "protocol/registry.h"
#include "protocol/spec/parse.h"

struct egd_expected {
  int terminal;
  const char *phrase;         // of a keyword, or NULL
  enum egd_variable variable; // of a value; EGD_VARIABLE_COUNT with no phrase either: the end of the text
};
#define EGD_EXPECTED_MAX 48

/// `state` is the grammar's yypstate. Fills at most EGD_EXPECTED_MAX. (grammar.y)
size_t egd_expected(void *state, struct egd_expected *ret_expected);

// A way to write what is expected.
struct egd_phrase {
  const struct egd_module *module; // NULL: a keyword
  const char *pattern;
};

// Walks over the phrases of one expected terminal; begin with {registry, expected}.
struct egd_phrases {
  const struct egd_registry *registry;
  const struct egd_expected *expected;
  size_t module, alternative;
};

/// False after the last one.
bool egd_next_phrase(struct egd_phrases *phrases, struct egd_phrase *ret_phrase);

/// Report that the tokens at `at` are none of `expected`: with the likeliest of them, and the list.
void egd_report_unexpected(struct egd_parser *parser, const struct egd_token *at, const struct egd_expected *expected,
                           size_t nexpected);

#endif
