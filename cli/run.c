// egida run: the launcher. Options, checks, the job's folder; then the controller (restartd/).
#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/commands.h"
#include "cli/run.h"
#include "cli/specpath.h"
#include "cli/specprint.h"
#include "common/log.h"
#include "common/segment.h"
#include "common/size.h"
#include "common/status.h"
#include "protocol/synthesis.h"
#include "restartd/controller.h"
#include "restartd/store.h"

#define DEFAULT_LOG_LIMIT (512ull << 20)
#define MAX_NODES 256u

static void usage(FILE *to) {
  fputs("usage: egida run [OPTIONS] [--] PROGRAM [ARGUMENTS]\n"
        "       egida run --resume JOB\n\n"
        "Runs an MPI program so that it survives crashes of its ranks and lost nodes.\n\n"
        "  -n, --np=N            number of ranks (default 1)\n"
        "      --spec=NAME|FILE  the protocol (default: default; 'egida specs' lists them)\n"
        "      --nodes=K         simulate K nodes on this machine (default 1)\n"
        "      --spares=S        and S more that take over from lost ones (default 0)\n"
        "      --inject=FAULT    kill:RANK@TIME, kill:RANK@send#N, @recv#N, @checkpoint, @recovery, @init, @finalize,\n"
        "                        node:K@TIME, agent:K@TIME, watchdog:RANK@TIME, random:MTBF=TIME,seed=N; repeatable\n"
        "      --interval=TIME   time between images of a rank, e.g. 30s (default: as the protocol says)\n"
        "      --log-limit=SIZE  memory for one rank's log of sent messages (default 512M)\n"
        "      --max-restarts=N  of one rank, then the job ends (default 10)\n"
        "      --divergence=warn|stop  what to do when a replay differs from the first execution (default stop)\n"
        "      --allow-degraded  run even where something can't be protected; it is said\n"
        "      --dir=DIR         where images, logs and the history are kept (default ./.egida or $EGIDA_DIR)\n"
        "      --label           put the rank's number before each line of its output\n"
        "      --resume=JOB      go on with a job whose launcher was killed\n"
        "      --verbose         say what happens\n"
        "      --help\n\n"
        "Exit code: the program's; 75 if the job could not go on; 128+N when ended by signal N.\n",
        to);
}

enum {
  OPT_SPEC = 256,
  OPT_NODES,
  OPT_SPARES,
  OPT_INJECT,
  OPT_LABEL,
  OPT_LOG,
  OPT_INTERVAL,
  OPT_RESTARTS,
  OPT_DIR,
  OPT_DIVERGENCE,
  OPT_DEGRADED,
  OPT_RESUME,
  OPT_VERBOSE,
  OPT_HELP
};

static const struct option long_options[] = {
    {"np", required_argument, NULL, 'n'},
    {"spec", required_argument, NULL, OPT_SPEC},
    {"nodes", required_argument, NULL, OPT_NODES},
    {"spares", required_argument, NULL, OPT_SPARES},
    {"inject", required_argument, NULL, OPT_INJECT},
    {"label", no_argument, NULL, OPT_LABEL},
    {"log-limit", required_argument, NULL, OPT_LOG},
    {"interval", required_argument, NULL, OPT_INTERVAL},
    {"max-restarts", required_argument, NULL, OPT_RESTARTS},
    {"dir", required_argument, NULL, OPT_DIR},
    {"divergence", required_argument, NULL, OPT_DIVERGENCE},
    {"allow-degraded", no_argument, NULL, OPT_DEGRADED},
    {"resume", required_argument, NULL, OPT_RESUME},
    {"verbose", no_argument, NULL, OPT_VERBOSE},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static bool number(const char *option, const char *text, unsigned long low, unsigned long high, uint32_t *ret) {
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (*text >= '0' && *text <= '9' && !*end && errno == 0 && value >= low && value <= high) {
    *ret = (uint32_t)value;
    return true;
  }
  egd_log("%s %s: a number from %lu to %lu is needed", option, text, low, high);
  return false;
}

struct command {
  struct run_options run;
  const char *injections[256];
  size_t ninjections;
};

// 0: go on; 1: end with *ret_exit.
static int parse(int argc, char **argv, struct command *command, int *ret_exit) {
  struct run_options *run = &command->run;
  const char *dir = getenv("EGIDA_DIR");
  *run = (struct run_options){
      .nranks = 1, .nodes = 1, .max_restarts = 10, .spec = "default", .log_limit = DEFAULT_LOG_LIMIT};
  run->dir = dir && *dir ? dir : ".egida";
  *ret_exit = 1;
  opterr = 0;
  optind = 1;
  for (int c; (c = getopt_long(argc, argv, "+:n:", long_options, NULL)) != -1;) {
    bool good = true;
    switch (c) {
    case 'n':
      good = number("-n", optarg, 1, EGD_MAX_RANKS, &run->nranks);
      break;
    case OPT_SPEC:
      run->spec = optarg;
      break;
    case OPT_NODES:
      good = number("--nodes", optarg, 1, MAX_NODES, &run->nodes);
      break;
    case OPT_SPARES:
      good = number("--spares", optarg, 0, MAX_NODES - 1, &run->spares);
      break;
    case OPT_INJECT:
      good = command->ninjections < sizeof(command->injections) / sizeof(command->injections[0]);
      if (good)
        command->injections[command->ninjections++] = optarg;
      else
        egd_log("--inject: at most %zu faults", command->ninjections);
      break;
    case OPT_LABEL:
      run->label = true;
      break;
    case OPT_LOG:
      good = egd_size_parse(optarg, &run->log_limit) == EGD_OK && run->log_limit >= 1 << 20;
      if (!good) egd_log("--log-limit %s: a size of at least 1M is needed, e.g. 512M", optarg);
      break;
    case OPT_INTERVAL:
      good = run->interval_given = egd_duration_parse(optarg, &run->interval_ns) == EGD_OK;
      if (!good) egd_log("--interval %s: a time is needed, e.g. 30s or 5min; 0 = only on request", optarg);
      break;
    case OPT_RESTARTS:
      good = number("--max-restarts", optarg, 0, 1000000, &run->max_restarts);
      break;
    case OPT_DIR:
      run->dir = optarg;
      break;
    case OPT_DIVERGENCE:
      run->divergence_warn = strcmp(optarg, "warn") == 0;
      good = run->divergence_warn || strcmp(optarg, "stop") == 0;
      if (!good) egd_log("--divergence %s: it is warn or stop", optarg);
      break;
    case OPT_DEGRADED:
      run->allow_degraded = true;
      break;
    case OPT_RESUME:
      run->resume = optarg;
      break;
    case OPT_VERBOSE:
      run->verbose = true;
      break;
    case OPT_HELP:
      usage(stdout);
      *ret_exit = 0;
      return 1;
    case ':':
      egd_log("%s needs a value; 'egida run --help' tells more", argv[optind - 1]);
      return 1;
    default:
      egd_log("there is no option %s; 'egida run --help' lists them", argv[optind - 1]);
      return 1;
    }
    if (!good) return 1;
  }
  run->argv = argv + optind;
  if (run->resume) {
    if (optind == argc) return 0;
    egd_log("--resume goes on with the program of the job; leave '%s' away", argv[optind]);
    return 1;
  }
  if (optind == argc) {
    egd_log("which program? egida run -n %u PROGRAM [ARGUMENTS]", run->nranks);
    return 1;
  }
  if (run->nodes > run->nranks) {
    egd_log("--nodes %u: there are only %u ranks (-n); --spares gives empty nodes", run->nodes, run->nranks);
    return 1;
  }
  if (run->nodes + run->spares > MAX_NODES) {
    egd_log("--nodes and --spares: at most %u together", MAX_NODES);
    return 1;
  }
  return 0;
}

static bool compile(const struct run_options *run, struct egd_plan *ret_plan) {
  char path[PATH_MAX], error[1024], *text;
  size_t length;
  if (egd_spec_read(run->spec, path, &text, &length, error, sizeof(error)) != EGD_OK) {
    egd_log("%s", error);
    return false;
  }
  int status = egd_plan_compile(text, length, path, ret_plan, egd_print_diagnostic, NULL);
  free(text);
  if (status == EGD_ERR_UNSUPPORTED)
    egd_log("%s cannot be run by this version; 'egida specs' lists those that can", path);
  if (status == EGD_ERR_INVALID) egd_log("%s is not a specification that can recover; see above", path);
  if (status == EGD_ERR_NO_MEMORY) egd_log("out of memory");
  if (status == EGD_OK && run->interval_given) ret_plan->checkpoint_interval_ns = run->interval_ns;
  return status == EGD_OK;
}

static bool injections(const struct command *command, struct egd_injection **list) {
  for (size_t i = 0; i < command->ninjections; i++) {
    char why[512] = "";
    int status = egd_injection_parse(command->injections[i], command->run.nranks,
                                     command->run.nodes + command->run.spares, list, why, sizeof(why));
    if (status == EGD_OK) continue;
    egd_log("%s", *why ? why : egd_status_string(status));
    return false;
  }
  return true;
}

static void say_start(const struct run_options *run, const struct run_job *job, const struct egd_plan *plan,
                      const char *program) {
  char guarantees[256], nodes[64] = "";
  egd_plan_describe(plan, run->nodes + run->spares, guarantees, sizeof(guarantees));
  if (run->nodes + run->spares > 1)
    snprintf(nodes, sizeof(nodes), " on %u nodes%s", run->nodes, run->spares ? " and spares" : "");
  const char *slash = strrchr(program, '/');
  egd_log("job %s%s: %u × %s%s, protocol %s (%s), files in %s", job->id, run->resume ? " resumed" : "", run->nranks,
          slash ? slash + 1 : program, nodes, plan->name, guarantees, run->dir);
}

static void record_job(struct egd_store *store, const struct run_options *run, const struct run_job *job,
                       const struct egd_plan *plan) {
  char cwd[PATH_MAX];
  struct passwd *user = getpwuid(geteuid());
  int argc = 0;
  while (run->argv[argc]) argc++;
  struct egd_store_job row = {.id = job->id,
                              .argc = argc,
                              .argv = run->argv,
                              .spec_name = run->spec,
                              .spec_hash = plan->spec_hash,
                              .nranks = run->nranks,
                              .nodes = run->nodes,
                              .spares = run->spares,
                              .user = user ? user->pw_name : NULL,
                              .cwd = getcwd(cwd, sizeof(cwd)),
                              .job_dir = job->job_dir};
  egd_store_job_begin(store, &row);
}

int egida_cmd_run(int argc, char **argv) {
  static struct command command;
  struct run_options *run = &command.run;
  static struct run_job job;
  struct egd_plan plan = {0};
  struct egd_injection *faults = NULL;
  char program[PATH_MAX] = "the program";
  int exit_code;
  egd_log_set_name("egida");
  if (parse(argc, argv, &command, &exit_code)) return exit_code;
  egd_log_set_verbose(run->verbose);
  if (run->resume) {
    if (!run_folder_open(run->dir, &job) || !run_job_resume(&job, run, &plan)) return 1;
    if (!injections(&command, &faults)) return 1;
  } else {
    if (!compile(run, &plan) || !injections(&command, &faults) || !run_program_find(run->argv[0], program)) return 1;
    if (!run_folder_open(run->dir, &job) || !run_job_create(&job, run, &plan, program)) return 1;
  }
  struct egd_store *store = egd_store_open(job.dir);
  record_job(store, run, &job, &plan);
  say_start(run, &job, &plan, run->argv[0] ? run->argv[0] : program);
  struct egd_controller_options options = {.job_id = job.id,
                                           .job_dir = job.job_dir,
                                           .plan = plan,
                                           .nranks = run->nranks,
                                           .nodes = run->nodes,
                                           .spares = run->spares,
                                           .max_restarts = run->max_restarts,
                                           .label = run->label,
                                           .resume = run->resume != NULL,
                                           .program = run->argv[0] ? run->argv[0] : program,
                                           .injections = faults,
                                           .store = store};
  exit_code = egd_controller_run(&options);
  egd_store_close(store);
  egd_injection_free(faults);
  return exit_code;
}
