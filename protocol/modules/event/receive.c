#include "protocol/modules/modules.h"

const struct egd_module egd_module_event_receive = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_EVENT,
    .value = "receive",
    .name = "receive",
    .doc = "A message is admitted to matching. Which message is admitted at which point is the non-determinism "
           "of a message-passing program; all that MPI does with it (matching, wildcards, probes, collectives) "
           "follows from it. Clock readings, random numbers and other inputs of the process are logged with it, "
           "in one order.",
    .traits = EGD_TRAIT_NONDETERMINISTIC | EGD_TRAIT_RECEIPT,
};
