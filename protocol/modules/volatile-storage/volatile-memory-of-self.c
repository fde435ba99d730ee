#include "protocol/modules/modules.h"

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  plan->message_store = EGD_MESSAGE_SELF;
  return NULL;
}

const struct egd_module egd_module_volatile_storage_volatile_memory_of_self = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_VOLATILE_STORAGE,
    .value = "volatile-memory-of-self",
    .name = "volatile memory of self",
    .doc = "The memory of the process itself, in a part that outlives it on its node; what of it is still needed "
           "goes into the process's image. Lost with the node, but not needed then: the restarted sender makes "
           "the same messages again.",
    .traits = EGD_TRAIT_OUTLIVES_PROCESS,
    .bind = bind,
};
