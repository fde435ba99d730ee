// The registry: which values the variables of the specification language may take, and the module behind each.
//
// The paper's section 4.3: a value is added by (1) naming its phrase and (2) binding it to an implementation. Here both
// are one struct egd_module. The parser asks the registry; it knows no value itself. In-tree modules stand in one
// static table (modules/table.c); a research module is a shared object that exports `const struct egd_module
// egida_module` and is added by the command line (`egida check --module`).
#ifndef EGIDA_PROTOCOL_REGISTRY_H
#define EGIDA_PROTOCOL_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/plan.h"

#define EGD_MODULE_ABI_VERSION 1u
#define EGD_MODULE_SYMBOL "egida_module"

// The variables of the paper's figure 2, and one of our own: scheduling-policy. `where-to-log` is stable-storage or
// volatile-storage.
enum egd_variable {
  EGD_VARIABLE_EVENT,
  EGD_VARIABLE_DETERMINANT_STRUCTURE,
  EGD_VARIABLE_OUTPUT_COMMIT_PROTO,
  EGD_VARIABLE_EVENT_INFO,
  EGD_VARIABLE_HOW_TO_LOG,
  EGD_VARIABLE_STABLE_STORAGE,
  EGD_VARIABLE_VOLATILE_STORAGE,
  EGD_VARIABLE_PB_VALUE,
  EGD_VARIABLE_CKPT_PROTO,
  EGD_VARIABLE_HOW_TO_CKPT,
  EGD_VARIABLE_CKPT_IMPL,
  EGD_VARIABLE_RECOVERY_GET_DET_PROTO,
  EGD_VARIABLE_ORPHAN_DETECTION_PROTO,
  EGD_VARIABLE_SCHEDULING_POLICY,
  EGD_VARIABLE_COUNT
};

// What the checker may conclude from a value. It reasons over these bits only, so that it also understands values it
// never heard of.
enum egd_trait {
  EGD_TRAIT_NONDETERMINISTIC = 1u << 0,  // event: its outcome may differ in another execution
  EGD_TRAIT_DEPENDENCY = 1u << 1,        // event: makes other processes depend on this one
  EGD_TRAIT_OUTPUT = 1u << 2,            // event: makes the outside world depend on this process
  EGD_TRAIT_RECEIPT = 1u << 3,           // event: the arrival of a message from another process
  EGD_TRAIT_DETERMINANT = 1u << 4,       // event-info or pb-value: determinants
  EGD_TRAIT_PAYLOAD = 1u << 5,           // event-info: the contents of the message
  EGD_TRAIT_SYNCHRONOUS = 1u << 6,       // how-to-log, how-to-ckpt: done before the process goes on
  EGD_TRAIT_OUTLIVES_PROCESS = 1u << 7,  // storage: readable after its process died
  EGD_TRAIT_OUTLIVES_NODES = 1u << 8,    // storage: … after as many nodes died as its parameter says
  EGD_TRAIT_OUTLIVES_JOB = 1u << 9,      // storage: … after all nodes died
  EGD_TRAIT_COORDINATED = 1u << 10,      // protocol: all processes take part
  EGD_TRAIT_INDUCED = 1u << 11,          // ckpt-proto: forced by communication patterns
  EGD_TRAIT_DEPENDENCIES = 1u << 12,     // pb-value: tracks which states depend on which
  EGD_TRAIT_CHECKPOINT_INDEX = 1u << 13, // pb-value: tracks checkpoints
  EGD_TRAIT_NO_MODULE = 1u << 31,        // part of the language; nothing in this build implements it
};

// In which place of the specification a value stands.
enum egd_use {
  EGD_USE_EVENT,           // non-deterministic event with its determinant
  EGD_USE_DETERMINANT_LOG, // Log … of a non-deterministic event
  EGD_USE_OUTPUT_COMMIT,
  EGD_USE_DEPENDENCY,  // event or piggyback of a dependency-generating event
  EGD_USE_MESSAGE_LOG, // Log … of a dependency-generating event
  EGD_USE_CHECKPOINT,
  EGD_USE_RECOVERY,
};

struct egd_binding {
  enum egd_use use;
  uint64_t parameter; // the <count> or <time> (ns) of the phrase, else the module's default_parameter
};

struct egd_module {
  uint32_t abi_version; // EGD_MODULE_ABI_VERSION
  enum egd_variable variable;
  const char *value; // identifier, as in the file's name: "volatile-memory-of-processes"
  const char *name;  // the phrase as messages print it
  // Phrases that stand for this value, NULL-terminated: words in lower case and punctuation, separated by blanks; `a|b`
  // either of both, `<count>` a whole number, `<time>` a number with its unit. NULL = {name}. Case and hyphens of the
  // input do not matter.
  const char *const *phrases;
  const char *doc; // for `egida explain`: what it does and what it costs
  uint32_t traits; // enum egd_trait
  uint64_t default_parameter;
  uint64_t parameter_min, parameter_max; // checked if the phrase has a parameter and parameter_max > 0
  // Contribute to the plan. NULL = nothing to contribute. Returns NULL, or why this build cannot use the value in that
  // place.
  const char *(*bind)(struct egd_plan *plan, const struct egd_binding *binding);
};

#define EGD_REGISTRY_CAPACITY 128

struct egd_registry {
  const struct egd_module *modules[EGD_REGISTRY_CAPACITY];
  size_t count;
};

/// Fill `registry` with the in-tree modules and the values of the language that have none.
void egd_registry_init(struct egd_registry *registry);

/// Add a value (or, for one without a module, its implementation). The module must outlive the registry.
/// Returns NULL, or why it was not added (static text).
const char *egd_registry_add(struct egd_registry *registry, const struct egd_module *module);

/// The n-th module of `variable`, or NULL.
const struct egd_module *egd_registry_nth(const struct egd_registry *registry, enum egd_variable variable, size_t n);

/// "how-to-log"; never NULL.
const char *egd_variable_name(enum egd_variable variable);

static inline bool egd_module_available(const struct egd_module *module) {
  return !(module->traits & EGD_TRAIT_NO_MODULE);
}

// modules/table.c and modules/unimplemented.c
extern const struct egd_module *const egd_modules[]; // NULL-terminated
extern const struct egd_module egd_unimplemented_modules[];
extern const size_t egd_nunimplemented_modules;

#endif
