// Shared by the files of the Slurm plugin, one per context: srun, salloc and sbatch, and the tasks on the nodes. The
// plugin lives in Slurm's own processes: it links nothing of ours, and all work is done by `egida steward`.
#ifndef EGIDA_SPANK_PLUGIN_H
#define EGIDA_SPANK_PLUGIN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <slurm/spank.h>

// Names of what srun's plugin tells the tasks. Slurm hands on what begins with SLURM even with --export=NONE.
#define TASK_CONTROL "SLURM_EGIDA_CONTROL"
#define TASK_JOB_DIR "SLURM_EGIDA_JOB_DIR"
#define TASK_DEGRADED "SLURM_EGIDA_ALLOW_DEGRADED"
// And what salloc's or sbatch's plugin tells that of srun.
#define JOB_NO_KILL "SLURM_EGIDA_NO_KILL"

#define MOST_ARGUMENTS 64

// plugin.c: the arguments in plugstack.conf
struct config {
  char egida[PATH_MAX], exec[PATH_MAX]; // the programs
  const char *listen;                   // egida steward --listen=, or NULL
  const char *wrong;                    // an argument that is not known, or NULL
};
extern struct config config;

// options.c
/// Register them; only in slurm_spank_init().
void options_register(spank_t spank);
/// Does the user want Egida?
bool options_active(void);
bool options_allow_degraded(void);
/// Options of Egida that do nothing because none chooses a protocol: the name of one, or NULL.
const char *options_idle(void);
/// As options of `egida steward`: appends at most MOST_ARGUMENTS strings, returns how many. They live on.
size_t options_arguments(const char **arguments);
/// Before Slurm reads any option: does it look as if the user wants Egida?
bool options_expected(void);

// check.c: srun, salloc and sbatch, before anything is asked of Slurm
/// Do the options make sense, and is the specification sound? If not the process ends after a message.
void check_options(void);
/// A new process becomes `egida` with these arguments and no signal blocked; it begins with before(). Its pid, or -1.
int start_egida(const char *const *arguments, char **environment, void (*before)(void));

// allocator.c, local.c, remote.c
void allocator_init(void), allocator_options(void);
void local_init(void), local_options(void);
void local_start(spank_t spank);
void remote_task(spank_t spank);

// srun_options.c: srun's own options, as far as they are the steward's business
/// argv[1..end) as options of `egida steward`, appended as above; `ret_input` = file for standard input, or NULL. Ends the
/// process after a message where the steward cannot do as they say.
size_t srun_arguments(int end, char **argv, const char **arguments, const char **ret_input);
/// After that: --jobid was given.
bool srun_has_job(void);

// steward.c
#define STEWARD_REPORT_FD "3" // in the steward
struct step {
  uint32_t job, step, ntasks;
  bool owns_job;     // the job ends with srun
  const char *input; // file for the steward's standard input, or NULL
};
/// Start `egida steward` with these arguments. Returns when tasks may be launched; if they cannot be, the process ends
/// after a message. From then on srun's exit code is the job's.
void steward_start(const struct step *step, const char **arguments);

#endif
