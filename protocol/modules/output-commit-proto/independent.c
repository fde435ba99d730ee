#include "protocol/modules/modules.h"

const struct egd_module egd_module_output_commit_proto_independent = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_OUTPUT_COMMIT_PROTO,
    .value = "independent",
    .name = "independent",
    .doc = "Before output leaves, the process makes its own determinants stable. Enough where no process ever "
           "depends on a state that could be lost. This is also what happens without any output commit "
           "statement.",
};
