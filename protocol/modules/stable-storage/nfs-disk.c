#include "protocol/modules/modules.h"

static const char *const phrases[] = {"nfs disk", "shared disk", NULL};

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  if (binding->use == EGD_USE_MESSAGE_LOG)
    return "messages are kept in the memory of their sender (volatile memory of self)";
  if (binding->use == EGD_USE_DETERMINANT_LOG) plan->determinant_store = EGD_DETERMINANT_SHARED_DISK;
  return NULL;
}

const struct egd_module egd_module_stable_storage_nfs_disk = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_STABLE_STORAGE,
    .value = "nfs-disk",
    .name = "NFS disk",
    .phrases = phrases,
    .doc = "A folder on a disk that all nodes share. Outlives every node and the whole job; each group of "
           "determinants costs a write and a flush to that disk (milliseconds), shared by all processes of the "
           "node.",
    .traits = EGD_TRAIT_OUTLIVES_PROCESS | EGD_TRAIT_OUTLIVES_NODES | EGD_TRAIT_OUTLIVES_JOB,
    .bind = bind,
};
