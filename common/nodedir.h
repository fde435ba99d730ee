// A job's folder on the local disk of one of its nodes: sockets, spill file, what dies with the node.
#ifndef EGIDA_COMMON_NODEDIR_H
#define EGIDA_COMMON_NODEDIR_H

#include <limits.h>
#include <stdint.h>

/// TMP/egida-UID/JOB-nNODE, TMP = $TMPDIR or /tmp; JOB is the last part of job_dir. Its parent is made if missing, and
/// must be the user's alone. A status with errno; ret_path holds the folder at fault on failure.
int egd_node_dir(const char *job_dir, uint32_t node, char ret_path[PATH_MAX]);
/// Whoever is, or starts, the agent of the node holds NODE_DIR.lock. A close-on-exec descriptor; -1: somebody has it.
int egd_node_lock(const char *node_dir);
/// Remove the folders that killed agents left beside `node_dir`: those that nobody holds and where no watchdog lives.
void egd_node_sweep(const char *node_dir);

#endif
