// Everything that can be wrong with the options is found before Slurm does anything: `egida steward --check` knows them.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "spank/plugin.h"

int start_egida(const char *const *arguments, char **environment, void (*before)(void)) {
  int pid = fork();
  if (pid < 0) slurm_spank_log("egida: the system refuses a new process: %s", strerror(errno));
  if (pid != 0) return pid;
  sigset_t none; // srun blocks most signals
  sigemptyset(&none);
  if (before) before();
  sigprocmask(SIG_SETMASK, &none, NULL);
  execve(config.egida, (char *const *)arguments, environment);
  dprintf(STDERR_FILENO, "egida: cannot execute %s: %s; egida=PATH in plugstack.conf names it\n", config.egida,
          strerror(errno));
  _exit(127);
}

void check_options(void) {
  const char *idle = options_idle();
  if (idle) {
    slurm_spank_log("egida: --%s does nothing without --egida-spec: which protocol? (egida specs lists them)", idle);
    exit(1);
  }
  if (!options_active()) return;
  const char *arguments[MOST_ARGUMENTS + 4] = {"egida", "steward", "--check"};
  arguments[3 + options_arguments(arguments + 3)] = NULL;
  int status, pid = start_egida(arguments, environ, NULL);
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) exit(1);
}
