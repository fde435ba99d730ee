// Shared by the files of `egida run`.
#ifndef EGIDA_CLI_RUN_H
#define EGIDA_CLI_RUN_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/plan.h"

#define RUN_JOB_ID_SIZE 64

struct run_options {
  uint32_t nranks, nodes, spares, max_restarts;
  const char *spec, *dir, *resume;
  uint64_t log_limit, interval_ns;
  bool interval_given, label, verbose, divergence_warn, allow_degraded;
  char **argv; // program and arguments
};

/// Errors of these functions are said on stderr.

// run_program.c
/// Find argv[0] as a shell does and look at what it is. `path` gets its absolute path. False after a message.
bool run_program_find(const char *name, char path[PATH_MAX]);

// run_job.c
struct run_job {
  char id[RUN_JOB_ID_SIZE];
  char dir[PATH_MAX], job_dir[PATH_MAX]; // absolute: DIR and DIR/jobs/ID
  int lock_fd;
};
/// Make DIR if needed and lock it against a second run.
bool run_folder_open(const char *dir, struct run_job *job);
/// A new job: its id, folder, secret, birth and job.json.
bool run_job_create(struct run_job *job, const struct run_options *options, const struct egd_plan *plan,
                    const char *program);
/// A suspended job: fills options (ranks, nodes, spares, log limit …) and the plan from its files.
bool run_job_resume(struct run_job *job, struct run_options *options, struct egd_plan *ret_plan);

#endif
