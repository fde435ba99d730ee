// In srun: the steward, its child. It reports where it listens, then the job's exit code, which becomes srun's.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <slurm/slurm.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "spank/plugin.h"

#define REPORT_FD 3 // STEWARD_REPORT_FD
#define READY_MS 60000
#define EXIT_LOST 75
// srun waits for tasks of a lost node until Slurm gives that node up, and longer. The job is over before.
#define GRACE_MS 2000
#define HURRY_MS 300        // less than a lease
#define GRACE_LOST_MS 12000 // without a steward ranks leave images of their last state first

static struct step step;
static int report = -1, child_report = -1, steward = -1;
static int ended = -1;   // eventfd: exit_code is known
static int through = -1; // eventfd: srun is through with its step
static _Atomic int exit_code;
static char line[2 * PATH_MAX]; // begun line of the report
static size_t line_length;

static void fail(const char *why) {
  slurm_spank_log("egida: %s", why);
  exit(1);
}

static bool is_ready(int fd, int timeout_ms) {
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  int n;
  while ((n = poll(&wait, 1, timeout_ms)) < 0 && errno == EINTR) {
  }
  return n > 0;
}

static void say(int event) {
  eventfd_write(event, 1);
}

// ---- its report ---------------------------------------------------------------------------------------------------------

// One line without its newline. False: none comes any more, or (ETIMEDOUT) none came in time.
static bool read_line(int timeout_ms) {
  char *end;
  while (!(end = memchr(line, '\n', line_length))) {
    errno = ETIMEDOUT;
    if (!is_ready(report, timeout_ms)) return false;
    ssize_t n = read(report, line + line_length, sizeof(line) - line_length);
    if (n < 0 && errno == EINTR) continue;
    errno = 0;
    if (n <= 0) return false;
    line_length += (size_t)n;
  }
  *end = 0;
  return true;
}

static void drop_line(void) {
  size_t used = strlen(line) + 1;
  memmove(line, line + used, line_length - used);
  line_length -= used;
}

static void read_ready(void) {
  char control[64];
  int at = 0;
  if (!read_line(READY_MS)) {
    if (errno == ETIMEDOUT) fail("the steward is not ready after 60 s; is the folder of --egida-dir on a slow disk?");
    exit(1); // it has said why
  }
  if (sscanf(line, "ready %63s %n", control, &at) != 1 || !at) fail("egida= in plugstack.conf is of another version");
  setenv(TASK_CONTROL, control, 1);
  setenv(TASK_JOB_DIR, line + at, 1);
  if (options_allow_degraded()) setenv(TASK_DEGRADED, "1", 1);
  drop_line();
}

// ---- the end ------------------------------------------------------------------------------------------------------------

static void *watch(void *arg) {
  int code;
  bool told = read_line(-1) && sscanf(line, "exit %d", &code) == 1;
  waitpid(steward, NULL, 0);
  if (!told) {
    const char *job_dir = getenv(TASK_JOB_DIR), *job = job_dir ? strrchr(job_dir, '/') : NULL;
    slurm_spank_log("egida: the steward of the job is lost; srun --egida-resume=%s … goes on with the same ranks",
                    job ? job + 1 : "JOB");
    code = EXIT_LOST;
  }
  atomic_store(&exit_code, code);
  say(ended);
  if (is_ready(through, told ? GRACE_MS : GRACE_LOST_MS)) return NULL;
  if (step.owns_job) slurm_complete_job(step.job, (uint32_t)code << 8);
  _exit(code); // srun's other threads still run; what it started to clean up after it ends the step
}

// Slurm could not launch the tasks: the first that each does is to leave its birth in the job's folder.
static bool no_task_began(void) {
  char path[PATH_MAX + 8];
  snprintf(path, sizeof(path), "%s/birth", getenv(TASK_JOB_DIR));
  DIR *dir = opendir(path);
  bool none = dir;
  for (struct dirent *entry; dir && (entry = readdir(dir));) none &= strncmp(entry->d_name, "rank-", 5) != 0;
  if (dir) closedir(dir);
  return none;
}

// The job may go on without the step: on nodes that were spares.
static void on_srun_exit(int status, void *pid) {
  if (getpid() != (int)(intptr_t)pid) return; // a copy of srun
  say(through);
  bool began = !no_task_began();
  // Tasks that Slurm killed on living nodes (Ctrl-C twice, scancel) look like lost nodes to the steward, and there may be
  // spares. It is a little slower than srun at the end of every job.
  if (!began || (status > 128 && !is_ready(ended, HURRY_MS))) kill(steward, SIGTERM);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGQUIT);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  struct pollfd wait[2] = {{.fd = ended, .events = POLLIN},
                           {.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN}};
  while (!(wait[0].revents & POLLIN)) {
    struct signalfd_siginfo info;
    if (poll(wait, 2, -1) > 0 && wait[1].revents && read(wait[1].fd, &info, sizeof(info)) > 0) kill(steward, SIGTERM);
  }
  exit(began || status == 0 ? atomic_load(&exit_code) : status); // with the handlers that are left
}

static void start_watching(void) {
  pthread_t thread;
  sigset_t all, saved;
  ended = eventfd(0, EFD_CLOEXEC);
  through = eventfd(0, EFD_CLOEXEC);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &saved);
  bool good = ended >= 0 && through >= 0 && pthread_create(&thread, NULL, watch, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &saved, NULL);
  if (!good) {
    kill(steward, SIGTERM);
    fail("the system refuses a thread in srun");
  }
  pthread_detach(thread);
  on_exit(on_srun_exit, (void *)(intptr_t)getpid());
}

// ---- its start ----------------------------------------------------------------------------------------------------------

// In the child. A session of its own, because Ctrl-C is for srun to handle; and nothing that srun has open.
static void become_steward(void) {
  setsid();
  int fd = step.input ? open(step.input, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
  if (fd < 0) {
    dprintf(STDERR_FILENO, "egida: cannot read %s: %s\n", step.input, strerror(errno));
    _exit(1);
  }
  dup2(fd, STDIN_FILENO);
  dup2(child_report, REPORT_FD);
  close_range(REPORT_FD + 1, ~0u, 0);
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

void steward_start(const struct step *of, const char **arguments) {
  int fds[2];
  char **environment = steward_environment();
  step = *of;
  if (!environment || pipe2(fds, O_CLOEXEC) != 0) fail("no pipe or memory is left for the steward");
  report = fds[0];
  // Not where the steward's will be: dup2() onto itself would keep it close-on-exec.
  child_report = fcntl(fds[1], F_DUPFD_CLOEXEC, REPORT_FD + 1);
  close(fds[1]);
  steward = start_egida(arguments, environment, become_steward);
  close(child_report);
  free(environment);
  if (steward < 0) exit(1);
  read_ready();
  start_watching();
}
