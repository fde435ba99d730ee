// What may come next in the grammar's present state. Private to spec/.
#ifndef EGIDA_PROTOCOL_SPEC_EXPECTED_H
#define EGIDA_PROTOCOL_SPEC_EXPECTED_H

#include <stddef.h>
#include "protocol/registry.h"

struct egd_expected {
  int terminal;
  const char *phrase;         // of a keyword, or NULL
  enum egd_variable variable; // of a value; EGD_VARIABLE_COUNT with no phrase either: the end of the text
};
#define EGD_EXPECTED_MAX 48

/// `state` is the grammar's yypstate. Fills at most EGD_EXPECTED_MAX.
size_t egd_expected(void *state, struct egd_expected *ret_expected);

#endif
