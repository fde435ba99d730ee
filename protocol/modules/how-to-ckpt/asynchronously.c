#include "protocol/modules/modules.h"

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  plan->flags |= EGD_PLAN_CHECKPOINT_ASYNC;
  return NULL;
}

const struct egd_module egd_module_how_to_ckpt_asynchronously = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_HOW_TO_CKPT,
    .value = "asynchronously",
    .name = "asynchronously",
    .doc = "A forked copy of the process writes the image while the process goes on: the process stops for the "
           "fork only, and memory that it changes meanwhile exists twice.",
    .bind = bind,
};
