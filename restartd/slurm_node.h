// What Slurm knows of a node, and telling it that the node is lost. Waits for slurmctld; libslurm may end the process:
// for a process of its own.
#ifndef EGIDA_RESTARTD_SLURM_NODE_H
#define EGIDA_RESTARTD_SLURM_NODE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Mark `node` DOWN if `job` runs, is of `uid`, holds the node, and the node's slurmd answers nobody. EGD_OK;
/// EGD_ERR_PERMISSION: Slurm does not let this user; EGD_ERR_INVALID: a condition does not hold; EGD_ERR_IO: Slurm can't
/// be asked; EGD_ERR_UNSUPPORTED: built without libslurm. One line in `why` in every case.
int egd_slurm_node_down(uint32_t job, uid_t uid, const char *node, char *why, size_t why_size);

#endif
