#include "protocol/modules/modules.h"

const struct egd_module egd_module_recovery_get_det_proto_distributed = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_RECOVERY_GET_DET_PROTO,
    .value = "distributed",
    .name = "distributed",
    .doc = "Each restarted process gets its determinants from those that hold them: the memory of its own node, "
           "the copies on other nodes, or the shared disk. No coordinator. This is also what happens without the "
           "statement.",
};
