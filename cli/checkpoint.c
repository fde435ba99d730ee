// egida checkpoint: ask a running job for images now, and wait until they are durable.
#include <stdio.h>
#include <stdlib.h>

#include "cli/ask.h"
#include "cli/commands.h"

static bool own_option(void *arg, int letter, const char *value) {
  return egd_cli_timeout("checkpoint", value, arg);
}

int egida_cmd_checkpoint(int argc, char **argv) {
  static const struct option own[] = {{"timeout", required_argument, NULL, 't'}, {0}};
  static const struct egd_list_command command = {
      .name = "checkpoint",
      .arguments = "JOB [RANK]",
      .about = "Ask a running job for an image of all ranks, or of RANK, and wait until it is durable.",
      .own_options = "  -t, --timeout=TIME   wait at most so long (default 5min)\n",
      .short_options = "t:",
      .long_options = own,
      .option = own_option,
  };
  struct egd_list_options options;
  uint64_t timeout_ns = 300ull * 1000000000;
  int exit_code;
  int first = egd_list_options_parse(argc, argv, &command, &timeout_ns, &options, &exit_code);
  if (first < 0) return exit_code;
  if (argc - first < 1 || argc - first > 2) {
    egd_list_complain("checkpoint", "JOB [RANK] is needed; 'egida jobs --state=RUNNING' lists the jobs that run");
    return 1;
  }
  long rank = -1;
  if (argc - first == 2) {
    char *end;
    rank = strtol(argv[first + 1], &end, 10);
    if (*end || end == argv[first + 1] || rank < 0 || rank > 1000000) {
      egd_list_complain("checkpoint", "'%s' is not a rank; 'egida ranks %s' lists them", argv[first + 1], argv[first]);
      return 1;
    }
  }
  char id[EGD_JOB_ID_SIZE];
  json_t *request = json_pack("{so}", "rank", rank < 0 ? json_null() : json_integer(rank));
  bool good = egd_cli_ask("checkpoint", &options, argv[first], request, timeout_ns, id);
  if (good && !options.json && rank >= 0) printf("rank %ld of job %s has a durable image\n", rank, id);
  if (good && !options.json && rank < 0) printf("all ranks of job %s have durable images\n", id);
  return fflush(stdout) == 0 && good ? 0 : 1;
}
