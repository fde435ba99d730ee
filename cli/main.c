// egida: one program, one subcommand per file.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "cli/commands.h"
#include "common/nearest.h"
#include "config.h"

static const struct {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *about;
} commands[] = {
    {"run", egida_cmd_run, "run an MPI program so that it survives crashes and lost nodes"},
    {"steward", egida_cmd_steward, NULL}, // not for users: srun --egida-spec starts it
    {"check", egida_cmd_check, "check a protocol specification"},
    {"explain", egida_cmd_explain, "say what a specification guarantees, or what a value means"},
    {"specs", egida_cmd_specs, "list the specifications that can be named"},
    {"sim", egida_cmd_sim, "try a protocol in a virtual world of ranks, nodes and crashes"},
    {"status", egida_cmd_status, "what runs now, and the last jobs"},
    {"jobs", egida_cmd_jobs, "list jobs"},
    {"ranks", egida_cmd_ranks, "list the ranks of a job"},
    {"events", egida_cmd_events, "what happened in a job"},
    {"checkpoints", egida_cmd_checkpoints, "list the images of a job"},
    {"checkpoint", egida_cmd_checkpoint, "ask a running job for images now"},
    {"migrate", egida_cmd_migrate, "move the ranks of a node elsewhere"},
    {"config", egida_cmd_config, "the effective configuration and its origins"},
    {"doctor", egida_cmd_doctor, "can Egida work here? what is to be mended"},
    {"clean", egida_cmd_clean, "remove the files of jobs that ended"},
};
#define COUNT (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to) {
  fprintf(to, "usage: egida COMMAND [OPTIONS] …\n\n");
  for (size_t i = 0; i < COUNT; i++)
    if (commands[i].about) fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].about);
  fprintf(to, "\nBegin with: egida run -n 4 ./program\n"
              "egida COMMAND --help tells more.\n");
}

int main(int argc, char **argv) {
  if (argc < 2) {
    usage(stderr);
    return 1;
  }
  const char *name = argv[1];
  if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
    printf("egida %s\n", PACKAGE_VERSION);
    return 0;
  }
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
    usage(stdout);
    return 0;
  }
  size_t best = 0, best_distance = SIZE_MAX;
  for (size_t i = 0; i < COUNT; i++) {
    if (strcmp(name, commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    size_t d = commands[i].about ? egd_edit_distance(name, commands[i].name) : SIZE_MAX;
    if (d < best_distance) {
      best = i;
      best_distance = d;
    }
  }
  fprintf(stderr, "egida: there is no command '%s'", name);
  if (best_distance <= 2) fprintf(stderr, "; did you mean '%s'?", commands[best].name);
  fprintf(stderr, "\negida: 'egida --help' lists the commands\n");
  return 1;
}
