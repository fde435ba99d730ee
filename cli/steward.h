// Shared by the files of `egida steward`: the controller of a job whose ranks are tasks of a Slurm step.
#ifndef EGIDA_CLI_STEWARD_H
#define EGIDA_CLI_STEWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cli/run.h"
#include "common/tcp.h"

struct steward_hosts {
  char **names;
  uint32_t count;
};

struct steward_step {
  uint32_t job, step, nodes;
  const char *job_dir;
  char control[EGD_TCP_ADDRESS]; // where agents connect
};

/// Errors of these functions are said on stderr.

// steward_slurm.c: what Slurm knows and does
/// The hosts of the step, and those of the job that it does not use.
bool steward_find_hosts(const struct steward_step *step, struct steward_hosts *ret_used,
                        struct steward_hosts *ret_free);
/// Start `egida-agent` on a host of the job in a step of its own. The pid of srun, or -1.
int steward_start_agent(const struct steward_step *step, uint32_t node, const char *host, uint32_t incarnation);
/// The address of this machine by which `host` reaches it: of the interface or the address `listen` if that is not NULL.
/// "HOST:0".
bool steward_own_address(const char *listen, const char *host, char address[EGD_TCP_ADDRESS]);

// steward_lost.c: a batch job that Slurm began again
/// Is this the second or a later start of the batch job?
bool steward_is_restarted(void);
/// The newest job in `dir` that an earlier start of this batch job left behind, of the same program and arguments.
bool steward_find_lost(const char *dir, uint32_t slurm_job, char *const *argv, char id[RUN_JOB_ID_SIZE]);

// steward_output.c
/// Standard output and error of this process go where these patterns of srun say; NULL: they stay. Messages of Egida
/// stay where they were.
bool steward_redirect(const struct steward_step *step, const char *output, const char *error);

#endif
