// A parsed specification: statements as written, with every value bound to its module, and what the checker finds out about it.
#ifndef EGIDA_PROTOCOL_SPEC_SPEC_H
#define EGIDA_PROTOCOL_SPEC_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "protocol/registry.h"
#include "protocol/spec/diagnostic.h"

// A value as it stands in the text. `next` links the members of a list.
struct egd_value {
  struct egd_value *next;
  const struct egd_module *module;
  uint64_t parameter; // of the phrase, or the module's default
  uint32_t offset, length, line, column;
};

struct egd_log {
  uint32_t line, column;
  const struct egd_value *infos;
  const struct egd_value *how; // NULL in `On rollback: Log …`
  const struct egd_value *where;
};

// Figure 1's statements.
enum egd_statement_kind {
  EGD_STATEMENT_NONDETERMINISTIC,    // event, structure, log or NULL
  EGD_STATEMENT_OUTPUT_COMMIT,       // protocol, events
  EGD_STATEMENT_DEPENDENCY,          // event, piggyback or NULL, log or NULL
  EGD_STATEMENT_CHECKPOINT,          // protocol, how, where, implementation, policy or NULL
  EGD_STATEMENT_COLLECTION,          // protocol (Protocol to retrieve determinants)
  EGD_STATEMENT_ORPHANS,             // protocol (Protocol to detect orphans)
  EGD_STATEMENT_ROLLBACK_LOG,        // log
  EGD_STATEMENT_ROLLBACK_CHECKPOINT, // where
  EGD_STATEMENT_TRANSPORT_ONLY,
};

struct egd_statement {
  struct egd_statement *next;
  enum egd_statement_kind kind;
  uint32_t line, column;
  const struct egd_value *event, *events, *structure, *piggyback, *protocol, *how, *where, *implementation, *policy;
  const struct egd_log *log;
};

struct egd_spec {
  struct egd_statement *first;
  struct egd_statement **last; // while parsing
  struct egd_spec_memory *memory;
  const char *name; // display name, the caller's
};

/// Parse `text`. EGD_OK; EGD_ERR_INVALID (the first error was reported); EGD_ERR_NO_MEMORY.
/// *ret_spec refers to the registry's modules and to `name`; free it with egd_spec_destroy.
int egd_spec_parse(const char *text, size_t length, const char *name, const struct egd_registry *registry,
                   egd_report_fn report, void *context, struct egd_spec **ret_spec);

void egd_spec_destroy(struct egd_spec *spec); // NULL is allowed

// ---- what a specification guarantees ---------------------------------------------------------------------------------

enum egd_family {
  EGD_FAMILY_NONE,        // transport only
  EGD_FAMILY_PESSIMISTIC, // communicates from recoverable states only
  EGD_FAMILY_CAUSAL,      // who depends on a state can reproduce it
  EGD_FAMILY_OPTIMISTIC,  // orphans may arise and are rolled back
  EGD_FAMILY_COORDINATED, // checkpoints only, all together
  EGD_FAMILY_INDUCED,     // checkpoints only, communication-induced
};

#define EGD_ANY_NUMBER UINT32_MAX

struct egd_guarantees {
  enum egd_family family;
  bool orphan_free;
  bool has_checkpoint, periodic_checkpoint; // not periodic: on request only
  uint64_t checkpoint_interval_ns;
  uint32_t process_failures; // at a time; EGD_ANY_NUMBER
  uint32_t node_failures;    // at a time; EGD_ANY_NUMBER
  bool whole_job;            // survives the loss of all nodes
  // One sentence each, static.
  const char *summary, *who_rolls_back, *output_commit, *garbage_collection, *domino;
};

/// Judge a parsed specification. EGD_OK, with notes; or EGD_ERR_INVALID: it cannot recover, each reason was reported, with a failing schedule.
int egd_spec_check(const struct egd_spec *spec, egd_report_fn report, void *context,
                   struct egd_guarantees *ret_guarantees);

/// The interval if a specification does not say one: logs must not grow without bound.
#define EGD_DEFAULT_CHECKPOINT_INTERVAL_NS (60ull * 1000 * 1000 * 1000)

#endif
