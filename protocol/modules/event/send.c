#include "protocol/modules/modules.h"

const struct egd_module egd_module_event_send = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_EVENT,
    .value = "send",
    .name = "send",
    .doc = "A message leaves for another process. It makes the receiver depend on everything that the sender has "
           "seen: a dependency-generating event.",
    .traits = EGD_TRAIT_DEPENDENCY,
};
