#include "protocol/modules/modules.h"

const struct egd_module egd_module_event_read = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_EVENT,
    .value = "read",
    .name = "read",
    .doc = "Input from the outside. Its result is logged together with the determinants of receive, in one "
           "order: a statement for it changes nothing, but may be written.",
    .traits = EGD_TRAIT_NONDETERMINISTIC,
};
