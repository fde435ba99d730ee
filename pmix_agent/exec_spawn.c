// How a rank process is born: the same argv, environment, folder, limits and personality in every incarnation, because
// they decide where the kernel puts its stack and what the program sees.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/install.h"
#include "common/securepath.h"
#include "common/status.h"
#include "pmix_agent/exec.h"

static const char *value_in(char *const *environ, const char *name) {
  size_t n = strlen(name);
  for (; *environ; environ++)
    if (strncmp(*environ, name, n) == 0 && (*environ)[n] == '=') return *environ + n + 1;
  return NULL;
}

static char *format(const char *pattern, const char *a, const char *b) {
  char *text;
  return asprintf(&text, pattern, a, b) < 0 ? NULL : text;
}

char **exec_environment(const struct egd_birth *birth, uint32_t rank, uint32_t size, char *why, size_t why_size) {
  static const char *const ours[] = {"LD_PRELOAD", "LD_LIBRARY_PATH", "HWLOC_COMPONENTS", "PMI_FD",    "PMI_RANK",
                                     "PMI_SIZE",   "PMI_ID",          "EGIDA_RANK",       "EGIDA_SIZE"};
  char runtime[PATH_MAX], stubs[PATH_MAX];
  if (egd_install_find(EGD_PART_RUNTIME, runtime) != EGD_OK || egd_install_find(EGD_PART_STUBS, stubs) != EGD_OK) {
    snprintf(why, why_size, "a part of Egida is missing: %s and %s are needed; install it anew, or set EGIDA_LIBDIR",
             runtime, stubs);
    return NULL;
  }
  size_t count = 0;
  while (birth->environ[count]) count++;
  char **list = calloc(count + 16, sizeof(*list)), **p = list;
  if (!list) return NULL;
  for (char **e = birth->environ; *e; e++) {
    bool replaced = false;
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
      size_t n = strlen(ours[i]);
      replaced |= strncmp(*e, ours[i], n) == 0 && (*e)[n] == '=';
    }
    if (!replaced) *p++ = *e;
  }
  const char *preload = value_in(birth->environ, "LD_PRELOAD"), *path = value_in(birth->environ, "LD_LIBRARY_PATH");
  *p++ = format(preload && *preload ? "LD_PRELOAD=%s:%s" : "LD_PRELOAD=%s", runtime, preload);
  *p++ = format(path && *path ? "LD_LIBRARY_PATH=%s:%s" : "LD_LIBRARY_PATH=%s", stubs, path);
  // What the program's own children get back.
  if (preload) *p++ = format("EGIDA_SAVED_LD_PRELOAD=%s%s", preload, "");
  if (path) *p++ = format("EGIDA_SAVED_LD_LIBRARY_PATH=%s%s", path, "");
  char number[16], total[16], pmi[16];
  snprintf(number, sizeof(number), "%u", rank);
  snprintf(total, sizeof(total), "%u", size);
  snprintf(pmi, sizeof(pmi), "%d", EXEC_PMI_FD);
  *p++ = "HWLOC_COMPONENTS=no_os,stop"; // topology discovery costs more than all the rest of MPI_Init
  *p++ = format("PMI_FD=%s%s", pmi, "");
  *p++ = format("PMI_RANK=%s%s", number, "");
  *p++ = format("PMI_SIZE=%s%s", total, "");
  *p++ = format("PMI_ID=%s%s", number, "");
  *p++ = format("EGIDA_RANK=%s%s", number, "");
  *p++ = format("EGIDA_SIZE=%s%s", total, "");
  return list;
}

int64_t exec_newest_image(const char *job_dir, uint32_t rank, int64_t below) {
  char path[PATH_MAX], *end;
  snprintf(path, sizeof(path), "%s/images/rank-%u", job_dir, rank);
  DIR *dir = opendir(path);
  int64_t newest = -1;
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    long long number = strtoll(entry->d_name, &end, 10);
    if (end != entry->d_name && strcmp(end, ".img") == 0 && number < below && number > newest) newest = number;
  }
  if (dir) closedir(dir);
  return newest;
}

static void place(int from, int to) {
  if (from == to)
    fcntl(to, F_SETFD, 0);
  else
    dup2(from, to);
}

_Noreturn static void become_rank(const struct exec_spawn *spawn, int parent) {
  // The rank must not outlive its watchdog; it may have died between fork and here.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (int signal = 1; signal < 32; signal++)
    if (signal != SIGKILL && signal != SIGSTOP) sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
  // A batch system sends it to every process; the rank is to live on until there is an image of its last state.
  if (spawn->ignores_term) sigaction(SIGTERM, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
  // Sources are above all targets: no descriptor is lost on the way.
  place(spawn->in_fd, 0);
  place(spawn->out_fd, 1);
  place(spawn->err_fd, 2);
  place(spawn->segment_fd, EGD_SEGMENT_FD);
  place(spawn->pmi_fd, EXEC_PMI_FD);
  personality(ADDR_NO_RANDOMIZE);
  umask(spawn->birth->umask);
  for (size_t i = 0; i < spawn->birth->nlimits; i++)
    setrlimit((__rlimit_resource_t)spawn->birth->limits[i].resource, &spawn->birth->limits[i].limit);
  if (chdir(spawn->birth->cwd) != 0)
    dprintf(2, "egida: cannot enter the folder %s: %s\n", spawn->birth->cwd, strerror(errno));
  else {
    execve(spawn->program, spawn->argv, spawn->environ);
    dprintf(2, "egida: cannot execute %s: %s\n", spawn->program, strerror(errno));
  }
  _exit(127);
}

int exec_spawn(const struct exec_spawn *spawn) {
  int parent = getpid();
  int pid = fork();
  if (pid == 0) become_rank(spawn, parent);
  return pid;
}
