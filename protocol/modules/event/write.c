#include "protocol/modules/modules.h"

const struct egd_module egd_module_event_write = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_EVENT,
    .value = "write",
    .name = "write",
    .doc = "Output to the outside, which cannot be rolled back: standard output and error, files, the exit "
           "status.",
    .traits = EGD_TRAIT_OUTPUT,
};
