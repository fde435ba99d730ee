// egida steward: the controller of a job that runs as a Slurm step. The plugin in srun starts it, and waits for its lines
// on --report-fd: `ready HOST:PORT JOB_DIR` before the tasks are launched, `exit CODE` at the end.
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "cli/commands.h"
#include "cli/run.h"
#include "cli/steward.h"
#include "common/config.h"
#include "common/log.h"
#include "common/segment.h"
#include "common/size.h"
#include "common/status.h"
#include "restartd/controller.h"

enum {
  OPT_JOB = RUN_OPT_OWN,
  OPT_STEP,
  OPT_NTASKS,
  OPT_NNODES,
  OPT_HEARTBEAT,
  OPT_LIMIT,
  OPT_LISTEN,
  OPT_OUTPUT,
  OPT_ERROR,
  OPT_REPORT,
  OPT_CHECK,
};

static const struct option long_options[] = {
    RUN_LONG_OPTIONS,
    {"job", required_argument, NULL, OPT_JOB},
    {"step", required_argument, NULL, OPT_STEP},
    {"ntasks", required_argument, NULL, OPT_NTASKS},
    {"nnodes", required_argument, NULL, OPT_NNODES},
    {"heartbeat", required_argument, NULL, OPT_HEARTBEAT},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"error", required_argument, NULL, OPT_ERROR},
    {"report-fd", required_argument, NULL, OPT_REPORT},
    {"check", no_argument, NULL, OPT_CHECK},
    {0},
};

struct command {
  struct run_options run;
  struct steward_step step;
  uint64_t heartbeat_ns, limit_ns;
  const char *listen, *output, *error;
  uint32_t report_fd;
  bool check;
};

static bool duration(const char *name, const char *text, uint64_t *ret_ns) {
  if (egd_duration_parse(text, ret_ns) == EGD_OK && *ret_ns > 0) return true;
  egd_log("%s%s %s: a time is needed, e.g. 100ms", run_option_prefix(), name, text);
  return false;
}

static bool parse(int argc, char **argv, struct command *command) {
  struct run_options *run = &command->run;
  run_options_init(run, "--egida-");
  command->heartbeat_ns = run_config()->heartbeat_ns;
  command->limit_ns = run_config()->heartbeat_limit_ns;
  opterr = 0;
  optind = 1;
  for (int c; (c = getopt_long(argc, argv, "+:", long_options, NULL)) != -1;) {
    bool good = true;
    switch (c) {
    case OPT_JOB:
      good = run_number("job", optarg, 1, UINT32_MAX, &command->step.job);
      break;
    case OPT_STEP:
      good = run_number("step", optarg, 0, UINT32_MAX, &command->step.step);
      break;
    case OPT_NTASKS:
      good = run_number("ntasks", optarg, 1, EGD_MAX_RANKS, &run->nranks);
      break;
    case OPT_NNODES:
      good = run_number("nnodes", optarg, 1, RUN_MAX_NODES, &run->nodes);
      break;
    case OPT_HEARTBEAT:
      good = duration("heartbeat", optarg, &command->heartbeat_ns);
      break;
    case OPT_LIMIT:
      good = duration("limit", optarg, &command->limit_ns);
      break;
    case OPT_LISTEN:
      command->listen = optarg;
      break;
    case OPT_OUTPUT:
      command->output = optarg;
      break;
    case OPT_ERROR:
      command->error = optarg;
      break;
    case OPT_REPORT:
      good = run_number("report-fd", optarg, 0, INT32_MAX, &command->report_fd);
      break;
    case OPT_CHECK:
      command->check = true;
      break;
    case ':':
    case '?':
      egd_log("steward: %s %s", argv[optind - 1], c == ':' ? "needs a value" : "is no option");
      return false;
    default:
      good = run_option(run, c, optarg);
    }
    if (!good) return false;
  }
  run->argv = argv + optind;
  if (command->limit_ns < 2 * command->heartbeat_ns) {
    egd_log("--egida-limit: it must be two heartbeats at least (--egida-heartbeat), or any delay looks like a loss");
    return false;
  }
  if (command->check || (command->step.job && optind < argc)) return true;
  egd_log("steward is started by srun --egida-spec; for one machine there is egida run");
  return false;
}

// ---- nodes --------------------------------------------------------------------------------------------------------------

static bool find_nodes(struct command *command, struct steward_hosts *used, struct steward_hosts *spare) {
  const struct run_options *run = &command->run;
  if (!steward_find_hosts(&command->step, used, spare)) return false;
  if (used->count != run->nodes) {
    egd_log("Slurm says that the step has %u nodes, srun says %u", used->count, run->nodes);
    return false;
  }
  if (run->nodes + run->spares > RUN_MAX_NODES) {
    egd_log("--egida-spares %u: at most %u nodes together", run->spares, RUN_MAX_NODES);
    return false;
  }
  if (spare->count >= run->spares) return true;
  egd_log("--egida-spares %u: the job has %u nodes and the step uses %u; allocate more (salloc or sbatch -N %u "
          "--egida-spec=…) and start srun in it with -N %u",
          run->spares, used->count + spare->count, run->nodes, run->nodes + run->spares, run->nodes);
  return false;
}

static void on_listening(void *arg, const char *address) {
  struct command *command = arg;
  snprintf(command->step.control, sizeof(command->step.control), "%s", address);
  dprintf((int)command->report_fd, "ready %s %s\n", address, command->step.job_dir);
}

static int on_start_agent(void *arg, uint32_t node, const char *host, uint32_t incarnation) {
  const struct command *command = arg;
  return steward_start_agent(&command->step, node, host, incarnation);
}

// ---- run ----------------------------------------------------------------------------------------------------------------

// The program may be on the nodes only; there the tasks say what is wrong with it.
static bool find_program(const char *name, char path[PATH_MAX]) {
  if (strchr(name, '/') ? access(name, F_OK) == 0 : true) return run_program_find(name, path);
  egd_log("%s is not on this host; the nodes must have it", name);
  snprintf(path, PATH_MAX, "%s", name);
  return true;
}

static bool resume(struct run_options *run, struct run_job *job, struct egd_plan *ret_plan) {
  uint32_t nranks = run->nranks, nodes = run->nodes, spares = run->spares;
  if (!run_job_resume(job, run, ret_plan)) return false;
  if (run->nranks != nranks) {
    egd_log("--egida-resume %s: the job has %u ranks: srun -n %u", run->resume, run->nranks, run->nranks);
    return false;
  }
  run->nodes = nodes;
  run->spares = spares;
  return run_job_place(job, run);
}

// False: the batch job was not started before, or what it left behind cannot be resumed.
static bool resume_lost(struct command *command, struct run_job *job, struct egd_plan *ret_plan) {
  struct run_options asked = command->run;
  static char id[RUN_JOB_ID_SIZE];
  if (!steward_is_restarted() || !steward_find_lost(job->dir, command->step.job, asked.argv, id)) return false;
  command->run.resume = id;
  if (resume(&command->run, job, ret_plan)) return true;
  egd_log("Slurm has started this job again: it begins anew");
  command->run = asked;
  return false;
}

static int run(struct command *command) {
  struct run_options *run = &command->run;
  static struct run_job job;
  struct egd_plan plan = {0};
  char program[PATH_MAX] = "the program", address[EGD_TCP_ADDRESS];
  struct steward_hosts used, spare;
  run->slurm_job = command->step.job;
  command->step.nodes = run->nodes;
  if (!find_nodes(command, &used, &spare) || !steward_own_address(command->listen, used.names[0], address)) return 1;
  if (run->resume) {
    if (!run_folder_open(run->dir, &job) || !resume(run, &job, &plan)) return 1;
  } else {
    if (!run_compile(run, &plan) || !find_program(run->argv[0], program) || !run_folder_open(run->dir, &job)) return 1;
    if (!resume_lost(command, &job, &plan) && (!run_compile(run, &plan) || !run_job_create(&job, run, &plan, program)))
      return 1;
  }
  command->step.job_dir = job.job_dir;
  if (!steward_redirect(&command->step, command->output, command->error)) return 1;
  struct egd_controller_cluster cluster = {.listen = address,
                                           .listening = on_listening,
                                           .spare_hosts = (const char *const *)spare.names,
                                           .start_agent = on_start_agent,
                                           .heartbeat_ns = command->heartbeat_ns,
                                           .limit_ns = command->limit_ns,
                                           .batch_job = command->step.job,
                                           .arg = command};
  struct egd_controller_options options = {.cluster = &cluster};
  int exit_code = run_job_control(run, &job, &plan, program, &options);
  if (command->step.control[0]) dprintf((int)command->report_fd, "exit %d\n", exit_code); // only after `ready`
  return exit_code;
}

int egida_cmd_steward(int argc, char **argv) {
  static struct command command = {.report_fd = STDOUT_FILENO};
  egd_log_set_name("egida");
  if (!parse(argc, argv, &command)) return 1;
  egd_log_set_verbose(command.run.verbose);
  if (command.check) {
    struct egd_plan plan = {0};
    return command.run.resume || run_compile(&command.run, &plan) ? 0 : 1;
  }
  prctl(PR_SET_PDEATHSIG, SIGTERM); // without srun the tasks have no launcher
  fcntl((int)command.report_fd, F_SETFD, FD_CLOEXEC);
  return run(&command);
}
