// What the language tells its user: one message with its place in the specification.
#ifndef EGIDA_PROTOCOL_SPEC_DIAGNOSTIC_H
#define EGIDA_PROTOCOL_SPEC_DIAGNOSTIC_H

#include <stdint.h>

enum egd_severity {
  EGD_SEVERITY_ERROR = 0, // the specification is refused
  EGD_SEVERITY_NOTE = 1,  // accepted; something that its author should know
};

struct egd_diagnostic {
  enum egd_severity severity;
  const char *name;      // display name of the specification
  uint32_t line, column; // 1-based, column in bytes
  const char *message;   // may have further lines (a failing schedule, indented); no newline at its end
  const char *text;      // ready to print: "name:line:column: message", "name:line:column: note: message"
};

/// The strings belong to the caller of the function and are gone when it returns.
typedef void (*egd_report_fn)(void *context, const struct egd_diagnostic *diagnostic);

#endif
