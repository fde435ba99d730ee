#include "protocol/modules/modules.h"

const struct egd_module egd_module_ckpt_impl_full = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_CKPT_IMPL,
    .value = "full",
    .name = "full",
    .doc = "The image holds the whole private memory of the process.",
};
