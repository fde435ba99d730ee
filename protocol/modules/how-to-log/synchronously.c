#include "protocol/modules/modules.h"

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  if (binding->use == EGD_USE_DETERMINANT_LOG) plan->flags |= EGD_PLAN_SYNC_DETERMINANTS;
  return NULL;
}

const struct egd_module egd_module_how_to_log_synchronously = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_HOW_TO_LOG,
    .value = "synchronously",
    .name = "synchronously",
    .doc = "Before the process does anything that others can see (a message that leaves the node, output, a file "
           "operation, its exit status), what it logged is stable. The process itself does not wait: what it "
           "sends is held back until then, for all processes of a node together.",
    .traits = EGD_TRAIT_SYNCHRONOUS,
    .bind = bind,
};
