// srun: its environment, and the steward, which runs beside it as its child and whose exit code becomes srun's.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <slurm/slurm.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "spank/plugin.h"

#define TASKS_END_S 2 // after the job's end, for srun to hear that of its tasks
#define QUIESCE_S 10  // after the steward's loss: ranks are put to rest first
#define AGAIN "EGIDA_SRUN_EXPECTED"

// What Slurm must not do when ranks or nodes die, and what the steward does instead of it. `set` is the only value of
// SLURM_NO_KILL that Slurm takes.
static const char *const settings[][2] = {{"SLURM_NO_KILL", "set"},
                                          {"SLURM_KILL_BAD_EXIT", "0"},
                                          {"SLURM_WAIT", "0"},
                                          {"SLURM_MPI_TYPE", "none"},
                                          {"SLURM_STDINMODE", "none"}};

static bool expected;
static const char *stdio[4]; // of the steward, from srun's options
static size_t stdio_count;
static const char *input;
static bool owns_job; // srun made the allocation

static void fail(const char *why) {
  slurm_spank_log("egida: %s", why);
  exit(1);
}

void local_init(void) {
  const char *again = getenv(AGAIN);
  expected = again ? *again == '1' : options_expected();
  unsetenv(AGAIN);
  for (size_t i = 0; expected && i < sizeof(settings) / sizeof(settings[0]); i++)
    setenv(settings[i][0], settings[i][1], 1);
}

// ---- options ------------------------------------------------------------------------------------------------------------

// Strings, each ended by a NUL byte, as NULL-terminated list with room for one more.
static char **read_list(const char *path, int *ret_count) {
  size_t size = 1 << 16, length = 0;
  char *text = malloc(size + 1);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  for (ssize_t n; text && fd >= 0 && (n = read(fd, text + length, size - length)) > 0;) {
    length += (size_t)n;
    if (length == size) text = realloc(text, (size *= 2) + 1);
  }
  if (fd >= 0) close(fd);
  if (!text) return NULL;
  text[length] = 0;
  int count = 0;
  for (size_t i = 0; i < length; i++) count += !text[i];
  char **list = calloc((size_t)count + 2, sizeof(*list));
  for (int i = 0; list && i < count; i++) {
    list[i] = text;
    text += strlen(text) + 1;
  }
  *ret_count = count;
  return list;
}

// The guess was wrong, and Slurm has read its environment: it begins again with the one that it was given.
static void begin_again(char **argv) {
  int count;
  char **environment = read_list("/proc/self/environ", &count);
  sigset_t none;
  sigemptyset(&none);
  if (!environment) return;
  environment[count] = options_active() ? AGAIN "=1" : AGAIN "=0";
  sigprocmask(SIG_SETMASK, &none, NULL);
  execve("/proc/self/exe", argv, environment);
}

void local_options(void) {
  int argc = 0, end = optind; // where srun's getopt() found the program
  char **argv = read_list("/proc/self/cmdline", &argc);
  if (!argv) return;
  if (options_active() != expected) begin_again(argv);
  check_options();
  if (!options_active()) return;
  if (end > argc) end = argc;
  for (int i = end; i < argc; i++)
    if (strcmp(argv[i], ":") == 0) fail("heterogeneous steps (srun … : …) cannot be protected; start one program");
  stdio_count = srun_arguments(end, argv, stdio, &input);
  owns_job = !getenv("SLURM_JOB_ID") && !getenv("SLURM_JOBID") && !srun_has_job();
  if (!owns_job && !getenv(JOB_NO_KILL))
    slurm_spank_log("egida: was this job allocated with --no-kill? Without it Slurm ends the job when it loses a node "
                    "(salloc or sbatch with --egida-spec, or with --no-kill)");
}

void local_start(spank_t spank) {
  uint32_t nnodes;
  int argc;
  char **argv;
  struct step step = {.owns_job = owns_job, .input = input};
  if (spank_get_item(spank, S_JOB_ID, &step.job) || spank_get_item(spank, S_JOB_STEPID, &step.step) ||
      spank_get_item(spank, S_JOB_TOTAL_TASK_COUNT, &step.ntasks) || spank_get_item(spank, S_JOB_NNODES, &nnodes) ||
      spank_get_item(spank, S_JOB_ARGV, &argc, &argv))
    fail("this version of Slurm does not tell the plugin what the step is");
  char numbers[4][32], listen[300];
  const char **arguments = calloc((size_t)argc + MOST_ARGUMENTS, sizeof(*arguments));
  size_t n = 0;
  if (!arguments) fail("out of memory");
  snprintf(numbers[0], sizeof(numbers[0]), "--job=%u", step.job);
  snprintf(numbers[1], sizeof(numbers[1]), "--step=%u", step.step);
  snprintf(numbers[2], sizeof(numbers[2]), "--ntasks=%u", step.ntasks);
  snprintf(numbers[3], sizeof(numbers[3]), "--nnodes=%u", nnodes);
  arguments[n++] = "egida";
  arguments[n++] = "steward";
  arguments[n++] = "--report-fd=" STEWARD_REPORT_FD;
  for (size_t i = 0; i < 4; i++) arguments[n++] = numbers[i];
  n += options_arguments(arguments + n);
  for (size_t i = 0; i < stdio_count; i++) arguments[n++] = stdio[i];
  if (config.listen) {
    snprintf(listen, sizeof(listen), "--listen=%s", config.listen);
    arguments[n++] = listen;
  }
  arguments[n++] = "--";
  for (int i = 0; i < argc; i++) arguments[n++] = argv[i];
  steward_start(&step, arguments);
  free(arguments);
}
