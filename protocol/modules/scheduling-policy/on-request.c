#include "protocol/modules/modules.h"

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  plan->checkpoint_interval_ns = 0;
  return NULL;
}

const struct egd_module egd_module_scheduling_policy_on_request = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_SCHEDULING_POLICY,
    .value = "on-request",
    .name = "on request",
    .doc = "No images but that of the start and those asked for (`egida checkpoint`). Logs grow in between.",
    .bind = bind,
};
