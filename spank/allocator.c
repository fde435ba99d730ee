// salloc and sbatch: a job in which sruns under Egida are to survive the loss of nodes.
#include <stdlib.h>
#include "spank/plugin.h"

void allocator_init(void) {
  if (!options_expected()) return;
  // Slurm fixes at the allocation what the loss of a node does to the job. `set` is the only value that it takes.
  setenv("SALLOC_NO_KILL", "set", 1);
  setenv("SBATCH_NO_KILL", "set", 1);
  setenv(JOB_NO_KILL, "1", 1);
}

void allocator_options(void) {
  check_options();
  if (options_active() && !getenv(JOB_NO_KILL))
    slurm_spank_log("egida: Slurm will end this job when it loses a node: add --no-kill beside --egida-spec "
                    "(in a script: #SBATCH --no-kill)");
}
