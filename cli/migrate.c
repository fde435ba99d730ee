// egida migrate: move the ranks of a node elsewhere, without loss of work.
#include <stdio.h>
#include <stdlib.h>

#include "cli/ask.h"
#include "cli/commands.h"

struct move {
  const char *from, *to;
  uint64_t timeout_ns;
};

static bool own_option(void *arg, int letter, const char *value) {
  struct move *move = arg;
  if (letter == 't') return egd_cli_timeout("migrate", value, &move->timeout_ns);
  *(letter == 'f' ? &move->from : &move->to) = value;
  return true;
}

int egida_cmd_migrate(int argc, char **argv) {
  static const struct option own[] = {{"from", required_argument, NULL, 'f'},
                                      {"to", required_argument, NULL, 'T'},
                                      {"timeout", required_argument, NULL, 't'},
                                      {0}};
  static const struct egd_list_command command = {
      .name = "migrate",
      .arguments = "JOB --from=NODE [--to=NODE]",
      .about =
          "Move the ranks of a node of a running job elsewhere: images first, then the node is given up. Without --to\n"
          "they go to a spare, or to the node that has the fewest ranks. NODE is a host's name or a number of\n"
          "'egida ranks'.",
      .own_options = "  -f, --from=NODE      the node to be empty\n"
                     "  -T, --to=NODE        where its ranks go\n"
                     "  -t, --timeout=TIME   wait at most so long (default 5min)\n",
      .short_options = "f:T:t:",
      .long_options = own,
      .option = own_option,
  };
  struct egd_list_options options;
  struct move move = {.timeout_ns = 300ull * 1000000000};
  int exit_code;
  int first = egd_list_options_parse(argc, argv, &command, &move, &options, &exit_code);
  if (first < 0) return exit_code;
  if (argc - first != 1 || !move.from) {
    egd_list_complain("migrate", "JOB and --from=NODE are needed; 'egida ranks JOB' tells which rank is where");
    return 1;
  }
  char id[EGD_JOB_ID_SIZE];
  json_t *request = json_pack("{ss so}", "from", move.from, "to", move.to ? json_string(move.to) : json_null());
  bool good = egd_cli_ask("migrate", &options, argv[first], request, move.timeout_ns, id);
  if (good && !options.json) printf("the ranks of node %s of job %s go on elsewhere\n", move.from, id);
  return fflush(stdout) == 0 && good ? 0 : 1;
}
