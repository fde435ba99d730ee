#include "protocol/modules/modules.h"

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  plan->checkpoint_protocol = EGD_CHECKPOINT_INDEPENDENT;
  plan->flags |= EGD_PLAN_CHECKPOINT;
  return NULL;
}

const struct egd_module egd_module_ckpt_proto_independent = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_CKPT_PROTO,
    .value = "independent",
    .name = "independent",
    .doc = "Each process saves its state when it likes, without regard to the others. Safe with logging: a "
           "process restarts from its own last image and repeats what followed.",
    .bind = bind,
};
