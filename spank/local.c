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

#define READY_MS 60000
#define EXIT_LOST 75
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
static int report = -1, child_report = -1;
static int steward = -1;
static uint32_t job_id, step_id;
static bool own_allocation;
static atomic_bool ending;      // srun ends by itself
static char line[2 * PATH_MAX]; // begun line of the report
static size_t line_length;

static void fail(const char *why) {
  slurm_spank_log("egida: %s", why);
  exit(1);
}

void local_init(void) {
  const char *again = getenv(AGAIN);
  own_allocation = !getenv("SLURM_JOB_ID") && !getenv("SLURM_JOBID");
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
  if (getenv("SLURM_JOB_ID") && !getenv(JOB_NO_KILL))
    slurm_spank_log("egida: was this job allocated with --no-kill? Without it Slurm ends the job when it loses a node "
                    "(salloc or sbatch with --egida-spec, or with --no-kill)");
}

// ---- the steward's report -----------------------------------------------------------------------------------------------

// One line without its newline; false: none came in time (errno ETIMEDOUT), or none comes any more.
static bool read_report(int timeout_ms, int signals) {
  for (;;) {
    char *end = memchr(line, '\n', line_length);
    if (end) {
      *end = 0;
      return true;
    }
    struct pollfd wait[2] = {{.fd = report, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    int ready = poll(wait, 2, timeout_ms);
    if (ready == 0) errno = ETIMEDOUT;
    if (ready == 0 || (ready < 0 && errno != EINTR)) return false;
    if (ready > 0 && wait[1].revents) {
      struct signalfd_siginfo info;
      if (read(signals, &info, sizeof(info)) > 0) kill(steward, SIGTERM);
    }
    if (ready < 0 || !wait[0].revents) continue;
    ssize_t n = read(report, line + line_length, sizeof(line) - line_length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      errno = 0;
      return false;
    }
    line_length += (size_t)n;
  }
}

static void next_report(void) {
  size_t used = strlen(line) + 1;
  memmove(line, line + used, line_length - used);
  line_length -= used;
}

static void read_ready(void) {
  char control[64], *job_dir;
  if (!read_report(READY_MS, -1)) {
    if (errno == ETIMEDOUT) fail("the steward is not ready after 60 s; is the folder of --egida-dir on a slow disk?");
    exit(1); // it has said why
  }
  int at = 0;
  if (sscanf(line, "ready %63s %n", control, &at) != 1 || !at)
    fail("the steward is of another version than the plugin");
  job_dir = line + at;
  setenv(TASK_CONTROL, control, 1);
  setenv(TASK_JOB_DIR, job_dir, 1);
  if (options_allow_degraded()) setenv(TASK_DEGRADED, "1", 1);
  if (options_resume()) setenv(TASK_RESUME, "1", 1);
  next_report();
}

// srun waits for every task of its step, those of lost nodes too: for as long as Slurm does not know that they are lost,
// and at times for ever. The job has ended when the steward says so.
static void *end_srun(void *unused) {
  struct pollfd wait = {.fd = report, .events = POLLIN};
  while (poll(&wait, 1, -1) < 0) {
  }
  int told = 0;
  ioctl(report, FIONREAD, &told);
  sleep(told ? TASKS_END_S : QUIESCE_S);
  if (atomic_exchange(&ending, true)) return NULL;
  slurm_kill_job_step(job_id, step_id, SIGKILL);
  exit(0); // see on_srun_exit
}

static void watch_for_end(void) {
  sigset_t all, before;
  pthread_t thread;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (pthread_create(&thread, NULL, end_srun, NULL) == 0) pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

// srun is through with its step. The job is when the steward is: ranks may run on nodes that were spares.
static void on_srun_exit(int status, void *pid) {
  if (getpid() != (int)(intptr_t)pid) return; // a copy of srun
  bool forced = atomic_exchange(&ending, true);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGQUIT);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int code, signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  bool told = read_report(-1, signals) && sscanf(line, "exit %d", &code) == 1;
  waitpid(steward, NULL, 0);
  if (!told) {
    const char *job_dir = getenv(TASK_JOB_DIR), *job = job_dir ? strrchr(job_dir, '/') : NULL;
    slurm_spank_log("egida: the steward is lost; to go on: srun --egida-resume=%s … with the same nodes and tasks",
                    job ? job + 1 : "JOB");
    code = EXIT_LOST;
  }
  if (forced && own_allocation) slurm_complete_job(job_id, (uint32_t)code << 8);
  exit(code); // with the handlers that are left
}

// ---- start --------------------------------------------------------------------------------------------------------------

// In the child: a session of its own, because Ctrl-C is for srun to handle.
static void become_steward(void) {
  setsid();
  fcntl(child_report, F_SETFD, 0);
  int fd = input ? open(input, O_RDONLY) : STDIN_FILENO;
  if (fd < 0) {
    dprintf(STDERR_FILENO, "egida: cannot read %s: %s\n", input, strerror(errno));
    _exit(1);
  }
  dup2(fd, STDIN_FILENO);
}

// Without what would make Egida act in sruns that the steward starts.
static char **steward_environment(void) {
  static const char *const ours[] = {"_SLURM_SPANK_OPTION_egida_", "SLURM_SPANK__SLURM_SPANK_OPTION_egida_",
                                     "SLURM_EGIDA_"};
  size_t count = 0;
  while (environ[count]) count++;
  char **list = calloc(count + 1, sizeof(*list)), **p = list;
  for (char **e = environ; list && *e; e++) {
    bool is_ours = false;
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) is_ours |= strncmp(*e, ours[i], strlen(ours[i])) == 0;
    if (!is_ours) *p++ = *e;
  }
  return list;
}

void local_start(spank_t spank) {
  uint32_t ntasks, nnodes;
  int argc, fds[2];
  char **argv;
  if (spank_get_item(spank, S_JOB_ID, &job_id) || spank_get_item(spank, S_JOB_STEPID, &step_id) ||
      spank_get_item(spank, S_JOB_TOTAL_TASK_COUNT, &ntasks) || spank_get_item(spank, S_JOB_NNODES, &nnodes) ||
      spank_get_item(spank, S_JOB_ARGV, &argc, &argv))
    fail("this version of Slurm does not tell the plugin what the step is");
  char numbers[5][32], listen[300];
  snprintf(numbers[0], sizeof(numbers[0]), "--job=%u", job_id);
  snprintf(numbers[1], sizeof(numbers[1]), "--step=%u", step_id);
  snprintf(numbers[2], sizeof(numbers[2]), "--ntasks=%u", ntasks);
  snprintf(numbers[3], sizeof(numbers[3]), "--nnodes=%u", nnodes);
  if (pipe2(fds, O_CLOEXEC) != 0) fail("no pipe is left for the steward");
  report = fds[0];
  child_report = fds[1];
  snprintf(numbers[4], sizeof(numbers[4]), "--report-fd=%d", child_report);

  const char **arguments = calloc((size_t)argc + MOST_ARGUMENTS, sizeof(*arguments));
  char **environment = steward_environment();
  if (!arguments || !environment) fail("out of memory");
  size_t n = 0;
  arguments[n++] = "egida";
  arguments[n++] = "steward";
  for (size_t i = 0; i < 5; i++) arguments[n++] = numbers[i];
  n += options_arguments(arguments + n);
  for (size_t i = 0; i < stdio_count; i++) arguments[n++] = stdio[i];
  if (config.listen) {
    snprintf(listen, sizeof(listen), "--listen=%s", config.listen);
    arguments[n++] = listen;
  }
  arguments[n++] = "--";
  for (int i = 0; i < argc; i++) arguments[n++] = argv[i];
  steward = start_egida(arguments, environment, become_steward);
  close(child_report);
  free(arguments);
  free(environment);
  if (steward < 0) exit(1);
  read_ready();
  on_exit(on_srun_exit, (void *)(intptr_t)getpid());
  watch_for_end();
}
