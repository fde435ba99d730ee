#include "protocol/modules/modules.h"

// In the order in which messages and `egida explain` list the values of a variable.
const struct egd_module *const egd_modules[] = {
    &egd_module_event_send,
    &egd_module_event_receive,
    &egd_module_event_read,
    &egd_module_event_write,
    &egd_module_determinant_structure_source_ssn_dest_dsn,
    &egd_module_output_commit_proto_independent,
    &egd_module_event_info_determinant,
    &egd_module_event_info_message,
    &egd_module_how_to_log_synchronously,
    &egd_module_stable_storage_nfs_disk,
    &egd_module_stable_storage_volatile_memory_of_processes,
    &egd_module_volatile_storage_volatile_memory_of_self,
    &egd_module_ckpt_proto_independent,
    &egd_module_how_to_ckpt_synchronously,
    &egd_module_how_to_ckpt_asynchronously,
    &egd_module_ckpt_impl_full,
    &egd_module_recovery_get_det_proto_distributed,
    &egd_module_scheduling_policy_periodic,
    &egd_module_scheduling_policy_on_request,
    NULL,
};
