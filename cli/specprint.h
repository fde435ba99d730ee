// What `egida check`, `explain` and `specs` share.
#ifndef EGIDA_CLI_SPECPRINT_H
#define EGIDA_CLI_SPECPRINT_H

#include <stdbool.h>
#include <stdio.h>
#include "protocol/spec/spec.h"

/// Print `text` in lines of at most 100 columns, each after `indent` blanks.
void egd_print_wrapped(FILE *to, unsigned indent, const char *text);

/// The guarantees, a line each.
void egd_print_guarantees(FILE *to, const struct egd_guarantees *guarantees);

/// "any number of process failures and 1 node failure at a time; not the loss of all nodes".
void egd_survival_format(const struct egd_guarantees *guarantees, char *text, size_t size);
/// "every 1 min", "on request", "none".
void egd_interval_format(const struct egd_guarantees *guarantees, char *text, size_t size);

/// The identifier of a family: "pessimistic".
const char *egd_family_name(enum egd_family family);

/// Load a research module (protocol/registry.h) into the registry; stays loaded. False after "egida COMMAND: …" on stderr.
bool egd_module_load(struct egd_registry *registry, const char *command, const char *path);

/// An egd_report_fn that prints to stderr.
void egd_print_diagnostic(void *context, const struct egd_diagnostic *diagnostic);
/// The same, errors shown as notes: for what only hinders `egida run`.
void egd_print_as_note(void *context, const struct egd_diagnostic *diagnostic);

#endif
