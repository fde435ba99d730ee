#include "protocol/modules/modules.h"

static const char *const phrases[] = {"volatile memory of processes", "volatile memory of <count> processes|process",
                                      "volatile memory of processes ( f = <count> )", NULL};

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  if (binding->use == EGD_USE_MESSAGE_LOG)
    return "messages are kept in the memory of their sender (volatile memory of self)";
  if (binding->use == EGD_USE_CHECKPOINT) return "images are kept on a disk that all nodes share (NFS disk)";
  plan->determinant_store = EGD_DETERMINANT_PROCESSES;
  plan->f = (uint32_t)binding->parameter;
  return NULL;
}

const struct egd_module egd_module_stable_storage_volatile_memory_of_processes = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_STABLE_STORAGE,
    .value = "volatile-memory-of-processes",
    .name = "volatile memory of processes",
    .phrases = phrases,
    .doc = "Copies in the memory of f other nodes, f = 1 unless the specification says `volatile memory of N "
           "processes` or `volatile memory of processes (f = N)`. Survives f nodes that fail before the copies "
           "were made again; costs a round trip between nodes per group of determinants, and nothing on a single "
           "node, whose memory outlives each of its processes.",
    .traits = EGD_TRAIT_OUTLIVES_PROCESS | EGD_TRAIT_OUTLIVES_NODES,
    .default_parameter = 1ull,
    .parameter_min = 1ull,
    .parameter_max = 16ull,
    .bind = bind,
};
