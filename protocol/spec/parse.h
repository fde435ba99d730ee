// Between the grammar (grammar.y) and its driver (parse.c). Private to spec/.
#ifndef EGIDA_PROTOCOL_SPEC_PARSE_H
#define EGIDA_PROTOCOL_SPEC_PARSE_H

#include "protocol/spec/lexer.h"
#include "protocol/spec/spec.h"

struct egd_parser {
  struct egd_source source;
  const struct egd_registry *registry;
  const struct egd_token *tokens;
  struct egd_spec *spec;
  bool no_memory;
};

// What a grammar symbol carries: a value, the token of a keyword, or what was built.
union egd_semantic {
  struct egd_value *value;
  struct egd_value *either[2]; // a phrase that two variables share: [0] output-commit-proto, [1] ckpt-proto
  struct egd_log *log;
  struct egd_statement *statement;
  struct {
    uint32_t line, column;
  } place;
};

/// Zeroed memory that lives as long as the specification; NULL sets parser->no_memory.
void *egd_parser_allocate(struct egd_parser *parser, size_t size);

#endif
