// A watchdog that is a task of the batch system: what it learns from its environment, the birth of its rank, and the
// node's agent, which the first task of the node to get the lock starts (and any watchdog again when it dies).
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/install.h"
#include "common/log.h"
#include "common/nodedir.h"
#include "common/securepath.h"
#include "common/status.h"
#include "pmix_agent/exec.h"

#define AGENT_WAIT_NS 30000000000ull
#define AGENT_LOOK_US 5000

struct task {
  const char *job_dir, *control, *ranks;
  uint32_t rank, node, nranks;
  char node_dir[PATH_MAX];
};

bool exec_is_task(void) {
  return getenv("EGIDA_ARGV0") && getenv("EGIDA_CONTROL");
}

static bool number_of(const char *name, uint32_t *ret) {
  const char *text = getenv(name);
  char *end;
  unsigned long value = text ? strtoul(text, &end, 10) : 0;
  if (text && end != text && !*end && value < UINT32_MAX) {
    *ret = (uint32_t)value;
    return true;
  }
  egd_log("%s is %s: the batch system did not say what task this is", name, text ? text : "not set");
  return false;
}

static bool read_task(struct task *task) {
  task->job_dir = getenv("EGIDA_JOB_DIR");
  task->control = getenv("EGIDA_CONTROL");
  task->ranks = getenv("SLURM_GTIDS");
  if (!task->job_dir || !task->ranks) {
    egd_log("%s is not set: this task was not started by srun with Egida's plugin",
            task->job_dir ? "SLURM_GTIDS" : "EGIDA_JOB_DIR");
    return false;
  }
  if (!number_of("SLURM_PROCID", &task->rank) || !number_of("SLURM_NODEID", &task->node) ||
      !number_of("SLURM_NTASKS", &task->nranks))
    return false;
  int status = egd_node_dir(task->job_dir, task->node, task->node_dir);
  if (status == EGD_OK) return true;
  egd_log("cannot use the folder %s: %s; $TMPDIR may name another place", task->node_dir, strerror(errno));
  return false;
}

// ---- birth ------------------------------------------------------------------------------------------------------------

// As execvp finds it: the batch system looked only for us.
static bool find_program(const char *name, char path[PATH_MAX]) {
  char candidate[PATH_MAX];
  if (strchr(name, '/')) {
    if (realpath(name, path) && access(path, X_OK) == 0) return true;
    egd_log("cannot execute %s: %s", name, strerror(errno));
    return false;
  }
  const char *search = getenv("PATH");
  for (const char *p = search; p && *p;) {
    size_t length = strcspn(p, ":");
    struct stat st;
    snprintf(candidate, sizeof(candidate), "%.*s/%s", length ? (int)length : 1, length ? p : ".", name);
    if (stat(candidate, &st) == 0 && S_ISREG(st.st_mode) && access(candidate, X_OK) == 0)
      return realpath(candidate, path);
    p += length + (p[length] == ':');
  }
  egd_log("there is no program %s in $PATH (%s)", name, search ? search : "not set");
  return false;
}

static bool write_birth(const struct task *task, char **argv) {
  static const char *const ours[] = {"EGIDA_ARGV0", "EGIDA_CONTROL", "EGIDA_JOB_DIR"};
  char program[PATH_MAX], dir[PATH_MAX], why[2 * PATH_MAX];
  argv[0] = strdup(getenv("EGIDA_ARGV0"));
  for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) unsetenv(ours[i]);
  if (!argv[0] || !find_program(argv[0], program)) return false;
  snprintf(dir, sizeof(dir), "%s/birth/rank-%u", task->job_dir, task->rank);
  if (egd_birth_write(dir, program, argv, environ, why, sizeof(why)) == EGD_OK) return true;
  egd_log("%s: %s; is the job's folder on a file system that all nodes share (--egida-dir)?", why, strerror(errno));
  return false;
}

// ---- the agent of this node -------------------------------------------------------------------------------------------

int exec_start_agent(const struct exec_agent *how) {
  char program[PATH_MAX], held[32], control[EGD_TCP_ADDRESS + 16], ranks[4096 + 16], node[16], incarnation[16];
  int lock = egd_node_lock(how->node_dir);
  if (lock < 0) return 0; // there is one, or another watchdog is starting it
  if (egd_install_find(EGD_PART_AGENT, program) != EGD_OK) {
    egd_log("a part of Egida is missing: %s; it must be installed on every node", program);
    close(lock);
    return -1;
  }
  snprintf(control, sizeof(control), "--control=%s", how->control);
  snprintf(ranks, sizeof(ranks), "--ranks=%s", how->ranks ? how->ranks : "");
  snprintf(held, sizeof(held), "--lock=%d", lock);
  snprintf(node, sizeof(node), "%u", how->node);
  snprintf(incarnation, sizeof(incarnation), "%u", how->incarnation);
  int pid = fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    fcntl(lock, F_SETFD, 0); // the lock is the agent's while it lives
    close(STDIN_FILENO);
    open("/dev/null", O_RDONLY);
    execl(program, "egida-agent", control, held, how->adopt ? "--adopt" : ranks, how->job_dir, node, incarnation,
          (char *)NULL);
    egd_log("cannot execute %s: %s", program, strerror(errno));
    _exit(127);
  }
  close(lock);
  if (pid < 0) egd_log("the system refuses a new process: %s; is there a limit (ulimit -u)?", strerror(errno));
  return pid;
}

static int open_segment(const struct task *task) {
  char path[PATH_MAX + 16], *text;
  int pid = 0, number = -1;
  snprintf(path, sizeof(path), "%s/agent.pid", task->node_dir);
  if (egd_secure_read(path, 4096, &text, NULL) != EGD_OK) return -1;
  bool good = sscanf(text, "%d %d", &pid, &number) == 2;
  free(text);
  snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, number);
  int fd = good ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return -1;
  struct egd_segment *seg = mmap(NULL, sizeof(*seg), PROT_READ, MAP_SHARED, fd, 0);
  good = seg != MAP_FAILED && seg->magic == EGD_SEGMENT_MAGIC && seg->nranks == task->nranks &&
         strcmp(seg->job_dir, task->job_dir) == 0 && strcmp(seg->node_dir, task->node_dir) == 0;
  if (seg != MAP_FAILED) munmap(seg, sizeof(*seg));
  if (good) return fd;
  close(fd);
  return -1;
}

bool exec_join_node(char **argv, uint32_t *ret_rank) {
  struct task task = {0};
  if (!read_task(&task)) return false;
  struct exec_agent how = {.job_dir = strdup(task.job_dir),
                           .node_dir = task.node_dir,
                           .control = strdup(task.control),
                           .ranks = task.ranks,
                           .node = task.node};
  task.job_dir = how.job_dir;
  if (!task.job_dir || !how.control || !write_birth(&task, argv)) return false;
  uint64_t end_ns = egd_monotonic_ns() + AGENT_WAIT_NS;
  for (int fd; egd_monotonic_ns() < end_ns; usleep(AGENT_LOOK_US)) {
    if ((fd = open_segment(&task)) >= 0) {
      *ret_rank = task.rank;
      if (dup2(fd, EGD_SEGMENT_FD) == EGD_SEGMENT_FD) return true;
      egd_log("descriptor %d cannot be used: %s; is the limit on open files (ulimit -n) below 1024?", EGD_SEGMENT_FD,
              strerror(errno));
      return false;
    }
    if (exec_start_agent(&how) < 0) return false;
  }
  egd_log("the agent of this node does not come up (its message is above)");
  return false;
}
