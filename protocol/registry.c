#include "protocol/registry.h"
#include <string.h>

static const char *const variable_names[EGD_VARIABLE_COUNT] = {
    [EGD_VARIABLE_EVENT] = "event",
    [EGD_VARIABLE_DETERMINANT_STRUCTURE] = "determinant-structure",
    [EGD_VARIABLE_OUTPUT_COMMIT_PROTO] = "output-commit-proto",
    [EGD_VARIABLE_EVENT_INFO] = "event-info",
    [EGD_VARIABLE_HOW_TO_LOG] = "how-to-log",
    [EGD_VARIABLE_STABLE_STORAGE] = "stable-storage",
    [EGD_VARIABLE_VOLATILE_STORAGE] = "volatile-storage",
    [EGD_VARIABLE_PB_VALUE] = "pb-value",
    [EGD_VARIABLE_CKPT_PROTO] = "ckpt-proto",
    [EGD_VARIABLE_HOW_TO_CKPT] = "how-to-ckpt",
    [EGD_VARIABLE_CKPT_IMPL] = "ckpt-impl",
    [EGD_VARIABLE_RECOVERY_GET_DET_PROTO] = "recovery-get-det-proto",
    [EGD_VARIABLE_ORPHAN_DETECTION_PROTO] = "orphan-detection-proto",
    [EGD_VARIABLE_SCHEDULING_POLICY] = "scheduling-policy",
};

const char *egd_variable_name(enum egd_variable variable) {
  return (unsigned)variable < EGD_VARIABLE_COUNT ? variable_names[variable] : "unknown variable";
}

void egd_registry_init(struct egd_registry *registry) {
  registry->count = 0;
  for (size_t i = 0; egd_modules[i]; i++) registry->modules[registry->count++] = egd_modules[i];
  for (size_t i = 0; i < egd_nunimplemented_modules; i++)
    registry->modules[registry->count++] = &egd_unimplemented_modules[i];
}

const char *egd_registry_add(struct egd_registry *registry, const struct egd_module *module) {
  if (module->abi_version != EGD_MODULE_ABI_VERSION)
    return "it was built for another version of the module interface; rebuild it against this Egida's "
           "protocol/registry.h";
  if ((unsigned)module->variable >= EGD_VARIABLE_COUNT) return "its variable is not one of the language";
  if (!module->value || !*module->value) return "it has no value identifier";
  if (!module->name || !*module->name) return "it has no name";
  if (!module->doc) return "it has no doc text";
  for (size_t i = 0; i < registry->count; i++) {
    const struct egd_module *other = registry->modules[i];
    if (other->variable != module->variable || strcmp(other->value, module->value) != 0) continue;
    if (egd_module_available(other)) return "a module for this value exists already";
    registry->modules[i] = module;
    return NULL;
  }
  if (registry->count == EGD_REGISTRY_CAPACITY) return "the registry is full";
  registry->modules[registry->count++] = module;
  return NULL;
}

const struct egd_module *egd_registry_nth(const struct egd_registry *registry, enum egd_variable variable, size_t n) {
  for (size_t i = 0; i < registry->count; i++)
    if (registry->modules[i]->variable == variable && n-- == 0) return registry->modules[i];
  return NULL;
}
