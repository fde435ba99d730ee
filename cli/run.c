// egida run: the launcher. Options, checks, the job's folder; then the controller (restartd/).
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/commands.h"
#include "cli/run.h"
#include "common/log.h"
#include "common/segment.h"
#include "common/status.h"
#include "restartd/controller.h"

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

enum { OPT_NODES = RUN_OPT_OWN, OPT_INJECT, OPT_HELP };

static const struct option long_options[] = {
    RUN_LONG_OPTIONS,
    {"np", required_argument, NULL, 'n'},
    {"nodes", required_argument, NULL, OPT_NODES},
    {"inject", required_argument, NULL, OPT_INJECT},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

struct command {
  struct run_options run;
  const char *injections[256];
  size_t ninjections;
};

// 0: go on; 1: end with *ret_exit.
static int parse(int argc, char **argv, struct command *command, int *ret_exit) {
  struct run_options *run = &command->run;
  run_options_init(run, "--");
  *ret_exit = 1;
  opterr = 0;
  optind = 1;
  for (int c; (c = getopt_long(argc, argv, "+:n:", long_options, NULL)) != -1;) {
    bool good = true;
    switch (c) {
    case 'n':
      if (strcmp(optarg, "p") == 0 && optind < argc) optarg = argv[optind++]; // -np N, as mpiexec has it
      good = run_number("np", optarg, 1, EGD_MAX_RANKS, &run->nranks);
      break;
    case OPT_NODES:
      good = run_number("nodes", optarg, 1, RUN_MAX_NODES, &run->nodes);
      break;
    case OPT_INJECT:
      good = command->ninjections < sizeof(command->injections) / sizeof(command->injections[0]);
      if (good)
        command->injections[command->ninjections++] = optarg;
      else
        egd_log("--inject: at most %zu faults", command->ninjections);
      break;
    case OPT_HELP:
      usage(stdout);
      *ret_exit = 0;
      return 1;
    case ':':
      egd_log("%s needs a value; 'egida run --help' tells more", argv[optind - 1]);
      return 1;
    case '?':
      egd_log("there is no option %s; 'egida run --help' lists them", argv[optind - 1]);
      return 1;
    default:
      good = run_option(run, c, optarg);
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
  if (run->nodes + run->spares > RUN_MAX_NODES) {
    egd_log("--nodes and --spares: at most %u together", RUN_MAX_NODES);
    return 1;
  }
  return 0;
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
    if (!run_compile(run, &plan) || !injections(&command, &faults) || !run_program_find(run->argv[0], program))
      return 1;
    if (!run_folder_open(run->dir, &job) || !run_job_create(&job, run, &plan, program)) return 1;
  }
  struct egd_controller_options options = {.injections = faults};
  exit_code = run_job_control(run, &job, &plan, program, &options);
  egd_injection_free(faults);
  return exit_code;
}
