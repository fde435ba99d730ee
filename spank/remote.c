// On the nodes, in the process that becomes a task: it executes `egida-exec` around the program.
#include <slurm/slurm.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "spank/plugin.h"

// What srun's plugin said under a name that Slurm hands on comes under the name that egida-exec reads.
static bool rename_variable(spank_t spank, const char *from, const char *to) {
  char value[PATH_MAX];
  if (spank_getenv(spank, from, value, sizeof(value)) != ESPANK_SUCCESS) return false;
  spank_unsetenv(spank, from);
  return spank_setenv(spank, to, value, 1) == ESPANK_SUCCESS;
}

void remote_task(spank_t spank) {
  uint32_t step;
  int argc;
  char **argv;
  // The script of a batch job and the shell of an interactive one have our options too.
  if (spank_get_item(spank, S_JOB_STEPID, &step) != ESPANK_SUCCESS || step > SLURM_MAX_NORMAL_STEP_ID) return;
  if (spank_get_item(spank, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS || argc < 1) return;
  if (!rename_variable(spank, TASK_CONTROL, "EGIDA_CONTROL")) {
    slurm_error("egida: srun's plugin did not start a steward; is it in plugstack.conf where srun runs?");
    _exit(1); // the program must not run unprotected
  }
  rename_variable(spank, TASK_JOB_DIR, "EGIDA_JOB_DIR");
  rename_variable(spank, TASK_DEGRADED, "EGIDA_ALLOW_DEGRADED");
  spank_setenv(spank, "EGIDA_ARGV0", argv[0], 1);
  char *watchdog = strdup(config.exec);
  if (watchdog) argv[0] = watchdog;
}
