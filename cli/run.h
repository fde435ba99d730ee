// Shared by the commands that start a job: `egida run` and `egida steward`.
#ifndef EGIDA_CLI_RUN_H
#define EGIDA_CLI_RUN_H

#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/plan.h"

#define RUN_JOB_ID_SIZE 64
#define RUN_MAX_NODES 256u

struct egd_config;
struct egd_controller_options;

struct run_options {
  uint32_t nranks, nodes, spares, max_restarts;
  const char *spec, *dir, *resume;
  uint64_t log_limit, interval_ns;
  uint32_t slurm_job; // 0: none
  bool gather; // resumed from images and the shared disk alone
  bool interval_given, label, verbose, divergence_warn, allow_degraded;
  char **argv; // program and arguments
};

struct run_job {
  char id[RUN_JOB_ID_SIZE];
  char dir[PATH_MAX], job_dir[PATH_MAX]; // absolute: DIR and DIR/jobs/ID
  int lock_fd;
};

/// Errors of these functions are said on stderr.

// run_options.c: the options that the commands share
enum {
  RUN_OPT_SPEC = 256,
  RUN_OPT_SPARES,
  RUN_OPT_LABEL,
  RUN_OPT_LOG,
  RUN_OPT_INTERVAL,
  RUN_OPT_RESTARTS,
  RUN_OPT_DIR,
  RUN_OPT_DIVERGENCE,
  RUN_OPT_DEGRADED,
  RUN_OPT_RESUME,
  RUN_OPT_VERBOSE,
  RUN_OPT_OWN // a command's own begin here
};
// clang-format off
#define RUN_LONG_OPTIONS                                                                                               \
  {"spec", required_argument, NULL, RUN_OPT_SPEC},                                                                     \
  {"spares", required_argument, NULL, RUN_OPT_SPARES},                                                                 \
  {"label", no_argument, NULL, RUN_OPT_LABEL},                                                                         \
  {"log-limit", required_argument, NULL, RUN_OPT_LOG},                                                                 \
  {"interval", required_argument, NULL, RUN_OPT_INTERVAL},                                                             \
  {"max-restarts", required_argument, NULL, RUN_OPT_RESTARTS},                                                         \
  {"dir", required_argument, NULL, RUN_OPT_DIR},                                                                       \
  {"divergence", required_argument, NULL, RUN_OPT_DIVERGENCE},                                                         \
  {"allow-degraded", no_argument, NULL, RUN_OPT_DEGRADED},                                                             \
  {"resume", required_argument, NULL, RUN_OPT_RESUME},                                                                 \
  {"verbose", no_argument, NULL, RUN_OPT_VERBOSE}
// clang-format on
/// egida.conf and the environment, read once. The process ends after messages when they are wrong.
const struct egd_config *run_config(void);
/// Defaults, those of the configuration too. `prefix` of the options' names in messages: "--", or "--egida-" where srun has them.
void run_options_init(struct run_options *options, const char *prefix);
const char *run_option_prefix(void);
/// Take one of them with its value.
bool run_option(struct run_options *options, int option, const char *value);
/// A number in [low, high]; `name` without prefix.
bool run_number(const char *name, const char *text, unsigned long low, unsigned long high, uint32_t *ret);

// run_start.c: from options to a job
/// The specification becomes a plan.
bool run_compile(const struct run_options *options, struct egd_plan *ret_plan);
/// Run the job to its end; `controller` has what is the command's own. Returns the exit code.
int run_job_control(const struct run_options *options, const struct run_job *job, const struct egd_plan *plan,
                    const char *program, struct egd_controller_options *controller);

// run_program.c
/// Find argv[0] as a shell does and look at what it is. `path` gets its absolute path. False after a message.
bool run_program_find(const char *name, char path[PATH_MAX]);

// run_job.c
/// Make DIR if needed and lock it against a second run.
bool run_folder_open(const char *dir, struct run_job *job);
/// A new job: its id, folder, secret, birth and job.json.
bool run_job_create(struct run_job *job, const struct run_options *options, const struct egd_plan *plan,
                    const char *program);
/// A suspended job: fills options (ranks, nodes, spares, log limit …) and the plan from its files.
bool run_job_resume(struct run_job *job, struct run_options *options, struct egd_plan *ret_plan);
/// After that: it goes on with other numbers of nodes and spares.
bool run_job_place(const struct run_job *job, const struct run_options *options);

#endif
