// The in-tree modules, one file each: modules/<variable>/<value>.c.
#ifndef EGIDA_PROTOCOL_MODULES_MODULES_H
#define EGIDA_PROTOCOL_MODULES_MODULES_H

#include <stddef.h>
#include "protocol/registry.h"

extern const struct egd_module egd_module_event_send;
extern const struct egd_module egd_module_event_receive;
extern const struct egd_module egd_module_event_read;
extern const struct egd_module egd_module_event_write;
extern const struct egd_module egd_module_determinant_structure_source_ssn_dest_dsn;
extern const struct egd_module egd_module_output_commit_proto_independent;
extern const struct egd_module egd_module_event_info_determinant;
extern const struct egd_module egd_module_event_info_message;
extern const struct egd_module egd_module_how_to_log_synchronously;
extern const struct egd_module egd_module_stable_storage_nfs_disk;
extern const struct egd_module egd_module_stable_storage_volatile_memory_of_processes;
extern const struct egd_module egd_module_volatile_storage_volatile_memory_of_self;
extern const struct egd_module egd_module_ckpt_proto_independent;
extern const struct egd_module egd_module_how_to_ckpt_synchronously;
extern const struct egd_module egd_module_how_to_ckpt_asynchronously;
extern const struct egd_module egd_module_ckpt_impl_full;
extern const struct egd_module egd_module_recovery_get_det_proto_distributed;
extern const struct egd_module egd_module_scheduling_policy_periodic;
extern const struct egd_module egd_module_scheduling_policy_on_request;

#endif
