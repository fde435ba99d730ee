#include "protocol/modules/modules.h"

static const char *const phrases[] = {"determinant", "determinants", NULL};

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  if (binding->use == EGD_USE_MESSAGE_LOG)
    return "determinants are logged where their event happens (receive: determinant: …)";
  if (binding->use == EGD_USE_DETERMINANT_LOG) plan->flags |= EGD_PLAN_LOG_DETERMINANTS;
  return NULL;
}

const struct egd_module egd_module_event_info_determinant = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_EVENT_INFO,
    .value = "determinant",
    .name = "determinant",
    .phrases = phrases,
    .doc = "What is needed to repeat the outcome of an event: some 16 bytes for an admission.",
    .traits = EGD_TRAIT_DETERMINANT,
    .bind = bind,
};
