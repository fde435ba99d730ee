// egida sim: try a protocol in a virtual world of ranks, nodes and crashes.
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/commands.h"
#include "cli/specpath.h"
#include "cli/specprint.h"
#include "common/status.h"
#include "protocol/synthesis.h"
#include "sim/sim.h"

#define TAIL_LINES 40

static const char usage[] =
    "Usage: egida sim [OPTION]...\n"
    "Run the protocol core in a virtual world of ranks, nodes, links and crashes, and check all the time that no state "
    "is\n"
    "lost that another one depends on. Deterministic: the same options do the same.\n"
    "\n"
    "      --spec=SPEC      specification: a file or a name that `egida specs` lists (default: default)\n"
    "  -n, --ranks=N        ranks (3)\n"
    "      --nodes=K        nodes (1)\n"
    "      --spares=S       more nodes, empty at first (0)\n"
    "      --steps=M        steps of each rank's program (20)\n"
    "      --seed=S         first seed (1)\n"
    "      --runs=R         seeds to try, one after the other (1)\n"
    "      --crash=HOW      every: at every point where a crash can hit, alone and with a second one; random; none "
    "(random)\n"
    "      --kill=R@P       a crash of rank R at its crash point P; may be repeated; with --crash=none\n"
    "      --kill-node=R@P  the same, but the node of rank R dies\n"
    "      --break=RULE     leave out a rule of the protocol, to see it caught; `list` names them\n"
    "      --json           one JSON document on standard output\n"
    "  -v, --verbose        tell all that happens in a run that fails, or in the only run\n"
    "      --help           this text\n"
    "\n"
    "Exit status: 0 nothing was violated, 1 something was, or the options are wrong.\n";

struct options {
  struct egd_sim_campaign campaign;
  const char *spec;
  bool json, verbose;
};

static bool number(const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *ret_value) {
  char *end;
  unsigned long long value = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || value < least || value > most) {
    fprintf(stderr, "egida sim: --%s=%s: a number from %llu to %llu is expected\n", option, text,
            (unsigned long long)least, (unsigned long long)most);
    return false;
  }
  *ret_value = value;
  return true;
}

static bool add_crash(struct egd_sim_options *sim, const char *option, const char *text, enum egd_sim_crash_kind kind) {
  unsigned rank;
  unsigned long long point;
  int end = 0;
  if (sscanf(text, "%u@%llu%n", &rank, &point, &end) != 2 || text[end] || point == 0) {
    fprintf(stderr, "egida sim: --%s=%s: RANK@POINT is expected, e.g. 1@120\n", option, text);
    return false;
  }
  if (sim->ncrashes == EGD_SIM_MAX_CRASHES) {
    fprintf(stderr, "egida sim: --%s=%s: no more than %u crashes\n", option, text, EGD_SIM_MAX_CRASHES);
    return false;
  }
  sim->crashes[sim->ncrashes++] = (struct egd_sim_crash){.rank = rank, .point = point, .kind = kind};
  return true;
}

static bool choose_rule(struct egd_sim_options *sim, const char *name) {
  for (unsigned rule = 0; rule < EGD_RULE_COUNT; rule++)
    if (strcmp(name, egd_sim_rules[rule].name) == 0) {
      sim->broken = rule;
      return true;
    }
  fprintf(stderr, "egida sim: --break=%s: there is no such rule; `egida sim --break=list` names them\n", name);
  return false;
}

static void list_rules(void) {
  for (unsigned rule = 1; rule < EGD_RULE_COUNT; rule++)
    printf("%-18s %s\n", egd_sim_rules[rule].name, egd_sim_rules[rule].about);
}

static bool choose_crash(struct egd_sim_campaign *campaign, const char *how) {
  if (strcmp(how, "every") == 0) {
    campaign->crash = EGD_CRASH_EVERY;
  } else if (strcmp(how, "random") == 0) {
    campaign->crash = EGD_CRASH_RANDOM;
  } else if (strcmp(how, "none") == 0) {
    campaign->crash = EGD_CRASH_NEVER;
  } else {
    fprintf(stderr, "egida sim: --crash=%s: every, random or none is expected\n", how);
    return false;
  }
  return true;
}

static bool read_plan(struct options *options) {
  char path[PATH_MAX], error[PATH_MAX + 256];
  char *text;
  size_t length;
  if (egd_spec_read(options->spec, path, &text, &length, error, sizeof(error)) != EGD_OK) {
    fprintf(stderr, "egida sim: %s\n", error);
    return false;
  }
  struct egd_plan *plan = &options->campaign.options.plan;
  bool good = egd_plan_compile(text, length, path, plan, egd_print_diagnostic, NULL) == EGD_OK;
  free(text);
  if (!good) {
    fprintf(stderr, "egida sim: %s cannot be run; `egida check %s` tells more\n", path, options->spec);
    return false;
  }
  bool recovers = plan->flags & EGD_PLAN_LOG_DETERMINANTS && plan->flags & EGD_PLAN_CHECKPOINT;
  if (!recovers && (options->campaign.crash != EGD_CRASH_NEVER || options->campaign.options.ncrashes)) {
    fprintf(stderr, "egida sim: %s recovers from nothing: try it with --crash=none, or choose another one\n", path);
    return false;
  }
  return true;
}

// ---- telling ----------------------------------------------------------------------------------------------------------

// The arguments with which this very run happens again.
static char *command_of(const struct options *options, const struct egd_sim_options *run) {
  char *text = NULL;
  size_t size;
  FILE *to = open_memstream(&text, &size);
  if (!to) return NULL;
  fprintf(to, "egida sim --spec=%s --ranks=%u --nodes=%u --spares=%u --steps=%llu --seed=%llu --crash=none",
          options->spec, run->nranks, run->nnodes, run->spares, (unsigned long long)run->steps,
          (unsigned long long)run->seed);
  if (run->broken) fprintf(to, " --break=%s", egd_sim_rules[run->broken].name);
  for (uint32_t i = 0; i < run->ncrashes; i++)
    fprintf(to, " --kill%s=%u@%llu", run->crashes[i].kind == EGD_CRASH_NODE ? "-node" : "", run->crashes[i].rank,
            (unsigned long long)run->crashes[i].point);
  fclose(to);
  return text;
}

// What happened in `run`, or its last lines.
static void tell(const struct options *options, struct egd_sim_options run, FILE *to) {
  uint64_t *points = calloc(run.nranks, sizeof(*points));
  char *text = NULL;
  size_t size;
  run.trace = points ? open_memstream(&text, &size) : NULL;
  if (run.trace) {
    struct egd_sim_result result = {.points = points};
    egd_sim_run(&run, &result);
    fclose(run.trace);
    const char *from = text + size;
    for (unsigned lines = 0; from > text && (options->verbose || lines <= TAIL_LINES); from--)
      lines += from[-1] == '\n';
    if (from > text) from += 2;
    fputs(from > text ? "      step  what (the last lines; --verbose tells all)\n" : "      step  what\n", to);
    fputs(from, to);
  }
  free(text);
  free(points);
}

static json_t *whole_number(uint64_t value) {
  return json_integer((json_int_t)value);
}

static void print_json(const struct options *options, const struct egd_sim_report *report) {
  const struct egd_sim_result *sum = &report->sum;
  json_t *result = json_object();
  json_object_set_new(result, "violated", json_boolean(sum->violated));
  json_object_set_new(result, "runs", whole_number(report->runs));
  json_object_set_new(result, "steps", whole_number(sum->step));
  json_object_set_new(result, "process_deaths", whole_number(sum->process_deaths));
  json_object_set_new(result, "node_deaths", whole_number(sum->node_deaths));
  json_object_set_new(result, "recoveries", whole_number(sum->recoveries));
  json_object_set_new(result, "replayed_steps", whole_number(sum->replayed));
  json_object_set_new(result, "admissions", whole_number(sum->admissions));
  json_object_set_new(result, "outputs", whole_number(sum->outputs));
  json_object_set_new(result, "file_changes", whole_number(sum->acts));
  json_object_set_new(result, "images", whole_number(sum->images));
  json_object_set_new(result, "messages_freed", whole_number(sum->freed));
  if (sum->violated) {
    char *command = command_of(options, &report->failing);
    json_object_set_new(result, "what", json_string(sum->what));
    json_object_set_new(result, "seed", whole_number(report->failing.seed));
    json_object_set_new(result, "step", whole_number(sum->step));
    json_object_set_new(result, "command", command ? json_string(command) : json_null());
    free(command);
  }
  json_dumpf(result, stdout, JSON_INDENT(2));
  putchar('\n');
  json_decref(result);
}

static void print_text(const struct options *options, const struct egd_sim_report *report) {
  const struct egd_sim_result *sum = &report->sum;
  if (sum->violated) {
    char *command = command_of(options, &report->failing);
    printf("violated in run %llu: %s\n", (unsigned long long)report->runs, sum->what);
    printf("seed %llu, step %llu; the smallest run that still fails:\n  %s\n", (unsigned long long)report->failing.seed,
           (unsigned long long)sum->step, command ? command : "");
    free(command);
    tell(options, report->failing, stdout);
    return;
  }
  printf("%llu run%s, nothing violated: %llu processes and %llu nodes died, %llu recoveries, %llu steps replayed as "
         "before, "
         "%llu messages, %llu outputs, %llu file changes, %llu images\n",
         (unsigned long long)report->runs, report->runs == 1 ? "" : "s", (unsigned long long)sum->process_deaths,
         (unsigned long long)sum->node_deaths, (unsigned long long)sum->recoveries, (unsigned long long)sum->replayed,
         (unsigned long long)sum->admissions, (unsigned long long)sum->outputs, (unsigned long long)sum->acts,
         (unsigned long long)sum->images);
}

static void show_progress(void *arg, uint64_t runs) {
  if (runs % 256 == 0) fprintf(stderr, "\r%llu runs", (unsigned long long)runs);
}

// ---- the command --------------------------------------------------------------------------------------------------------

enum {
  OPTION_SPEC = 256,
  OPTION_NODES,
  OPTION_SPARES,
  OPTION_STEPS,
  OPTION_SEED,
  OPTION_RUNS,
  OPTION_CRASH,
  OPTION_KILL,
  OPTION_KILL_NODE,
  OPTION_BREAK,
  OPTION_JSON,
  OPTION_HELP
};

static const struct option long_options[] = {{"spec", required_argument, NULL, OPTION_SPEC},
                                             {"ranks", required_argument, NULL, 'n'},
                                             {"nodes", required_argument, NULL, OPTION_NODES},
                                             {"spares", required_argument, NULL, OPTION_SPARES},
                                             {"steps", required_argument, NULL, OPTION_STEPS},
                                             {"seed", required_argument, NULL, OPTION_SEED},
                                             {"runs", required_argument, NULL, OPTION_RUNS},
                                             {"crash", required_argument, NULL, OPTION_CRASH},
                                             {"kill", required_argument, NULL, OPTION_KILL},
                                             {"kill-node", required_argument, NULL, OPTION_KILL_NODE},
                                             {"break", required_argument, NULL, OPTION_BREAK},
                                             {"json", no_argument, NULL, OPTION_JSON},
                                             {"verbose", no_argument, NULL, 'v'},
                                             {"help", no_argument, NULL, OPTION_HELP},
                                             {0}};

static bool take_option(struct options *options, int option) {
  struct egd_sim_campaign *campaign = &options->campaign;
  struct egd_sim_options *sim = &campaign->options;
  uint64_t value;
  switch (option) {
  case OPTION_SPEC:
    options->spec = optarg;
    return true;
  case 'n':
    if (!number("ranks", optarg, 1, EGD_SIM_MAX_RANKS, &value)) return false;
    sim->nranks = (uint32_t)value;
    return true;
  case OPTION_NODES:
    if (!number("nodes", optarg, 1, EGD_SIM_MAX_NODES / 2, &value)) return false;
    sim->nnodes = (uint32_t)value;
    return true;
  case OPTION_SPARES:
    if (!number("spares", optarg, 0, EGD_SIM_MAX_NODES / 2, &value)) return false;
    sim->spares = (uint32_t)value;
    return true;
  case OPTION_STEPS:
    return number("steps", optarg, 0, 1000000, &sim->steps);
  case OPTION_SEED:
    return number("seed", optarg, 0, UINT64_MAX / 2, &sim->seed);
  case OPTION_RUNS:
    return number("runs", optarg, 1, UINT64_MAX / 2, &campaign->runs);
  case OPTION_CRASH:
    return choose_crash(campaign, optarg);
  case OPTION_KILL:
    return add_crash(sim, "kill", optarg, EGD_CRASH_PROCESS);
  case OPTION_KILL_NODE:
    return add_crash(sim, "kill-node", optarg, EGD_CRASH_NODE);
  case OPTION_BREAK:
    return choose_rule(sim, optarg);
  case OPTION_JSON:
    return options->json = true;
  case 'v':
    return options->verbose = true;
  default:
    fputs("egida sim: try `egida sim --help`\n", stderr);
    return false;
  }
}

int egida_cmd_sim(int argc, char **argv) {
  struct options options = {.spec = "default"};
  struct egd_sim_campaign *campaign = &options.campaign;
  campaign->options.nranks = 3;
  campaign->options.nnodes = 1;
  campaign->options.steps = 20;
  campaign->options.seed = 1;
  campaign->runs = 1;
  campaign->crash = EGD_CRASH_RANDOM;
  optind = 0; // argv is not the program's own
  for (int option; (option = getopt_long(argc, argv, "n:v", long_options, NULL)) != -1;) {
    if (option == OPTION_HELP) {
      fputs(usage, stdout);
      return 0;
    }
    if (option == OPTION_BREAK && strcmp(optarg, "list") == 0) {
      list_rules();
      return 0;
    }
    if (!take_option(&options, option)) return 1;
  }
  if (optind < argc) {
    fprintf(stderr, "egida sim: '%s' is no option; try `egida sim --help`\n", argv[optind]);
    return 1;
  }
  if (campaign->options.ncrashes && campaign->crash != EGD_CRASH_NEVER) {
    fputs("egida sim: --kill and --kill-node need --crash=none: the other ways choose the crashes themselves\n",
          stderr);
    return 1;
  }
  for (uint32_t i = 0; i < campaign->options.ncrashes; i++)
    if (campaign->options.crashes[i].rank >= campaign->options.nranks) {
      fprintf(stderr, "egida sim: there is no rank %u among %u; see --ranks\n", campaign->options.crashes[i].rank,
              campaign->options.nranks);
      return 1;
    }
  if (!read_plan(&options)) return 1;
  if (isatty(2)) campaign->progress = show_progress;
  struct egd_sim_report report;
  bool complete = egd_sim_campaign(campaign, &report);
  if (campaign->progress && report.runs >= 256) fputs("\r                    \r", stderr);
  if (!complete) {
    fprintf(stderr, "egida sim: no memory left for %u ranks; try fewer\n", campaign->options.nranks);
    return 1;
  }
  if (options.json)
    print_json(&options, &report);
  else
    print_text(&options, &report);
  if (options.verbose && !report.sum.violated && campaign->runs == 1 && campaign->crash == EGD_CRASH_NEVER &&
      !options.json)
    tell(&options, campaign->options, stdout);
  return report.sum.violated ? 1 : 0;
}
