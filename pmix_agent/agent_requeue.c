// The host of a batch job's script is lost, and with it srun and the steward. Slurm leaves such a job running on its other
// nodes, without a script, because it may lose nodes (--no-kill). The agents ask Slurm to begin the job again; its script then
// resumes what they leave behind. What Slurm refuses is right so: jobs that are not of sbatch, or have no --requeue.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "common/tcp.h"
#include "pmix_agent/agent.h"

#define GOES_DOWN_S 1 // a host that goes down refuses connections before it is silent
#define CONNECT_NS 2000000000ull

// A host that lives refuses the connection when its steward is gone; srun's caller decides then.
static bool is_host_lost(const struct agent *agent) {
  sleep(GOES_DOWN_S);
  int fd = egd_tcp_connect(agent->control, CONNECT_NS);
  return fd < 0 && errno != ECONNREFUSED && !agent_is_given_up(agent);
}

void agent_ask_requeue(const struct agent *agent) {
  const char *job = getenv("SLURM_JOB_ID");
  if (!agent->control[0] || !job || fork() != 0) return;
  // What others wait for the end of is not held here.
  close_range(STDERR_FILENO + 1, ~0u, 0);
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd <= STDERR_FILENO; fd++) dup2(null, fd);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (is_host_lost(agent)) execlp("scontrol", "scontrol", "requeue", job, (char *)NULL);
  _exit(0);
}
