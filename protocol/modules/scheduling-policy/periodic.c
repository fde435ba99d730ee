#include "protocol/modules/modules.h"

static const char *const phrases[] = {"periodic <time>", "every <time>", NULL};

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  plan->checkpoint_interval_ns = binding->parameter;
  return NULL;
}

const struct egd_module egd_module_scheduling_policy_periodic = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_SCHEDULING_POLICY,
    .value = "periodic",
    .name = "periodic <time>",
    .phrases = phrases,
    .doc = "An image per process at this interval. `egida run --interval` "
           "overrides it.",
    .default_parameter = 0ull,
    .parameter_min = 1000000ull,
    .parameter_max = 31622400000000000ull,
    .bind = bind,
};
