#include "protocol/modules/modules.h"

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  plan->flags &= ~(uint32_t)EGD_PLAN_CHECKPOINT_ASYNC;
  return NULL;
}

const struct egd_module egd_module_how_to_ckpt_synchronously = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_HOW_TO_CKPT,
    .value = "synchronously",
    .name = "synchronously",
    .doc = "The process stops until its image is on the disk.",
    .traits = EGD_TRAIT_SYNCHRONOUS,
    .bind = bind,
};
