// egida checkpoints: the images that the ranks of a job took.
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/history.h"
#include "common/status.h"

static const struct egd_column columns[] = {
    {"rank", "rank", "RANK", true, true},
    {"image", "number", "IMAGE", true, true},
    {"size", "bytes", "SIZE", true, true},
    {"stall", "stall_ns", "STALL", true, true},
    {"write", "write_ns", "WRITE", true, true},
    {"speed", "bytes_per_second", "PER-SEC", true, true},
    {"durable", "durable", "DURABLE", false, true},
    {"time", "at_ns", "TIME", false, true},
    {0},
};

struct request {
  int rank;
  struct egd_table *table;
};

static bool own_option(void *arg, int letter, const char *value) {
  char *end;
  long rank = strtol(value, &end, 10);
  if (*end || end == value || rank < 0 || rank > 1000000) {
    egd_list_complain("checkpoints", "--rank: '%s' is not a rank; e.g. --rank=2", value);
    return false;
  }
  ((struct request *)arg)->rank = (int)rank;
  return true;
}

static bool row(void *arg, const struct egd_history_checkpoint *checkpoint) {
  struct request *request = arg;
  if (request->rank >= 0 && checkpoint->rank != request->rank) return true;
  struct egd_table *table = request->table;
  egd_table_number(table, checkpoint->rank);
  egd_table_number(table, checkpoint->number);
  egd_table_size(table, checkpoint->bytes);
  egd_table_duration(table, checkpoint->stall_ns);
  egd_table_duration(table, checkpoint->write_ns);
  egd_table_size(table, checkpoint->write_ns > 0 && checkpoint->bytes > 0
                            ? (int64_t)((double)checkpoint->bytes * 1e9 / (double)checkpoint->write_ns)
                            : -1);
  egd_table_flag(table, checkpoint->durable);
  egd_table_time(table, checkpoint->at_ns);
  return true;
}

int egida_cmd_checkpoints(int argc, char **argv) {
  static const struct option own[] = {{"rank", required_argument, NULL, 'r'}, {0}};
  static const struct egd_list_command command = {
      .name = "checkpoints",
      .arguments = "[JOB]",
      .about = "List the images of a job's ranks (of the newest job without JOB).",
      .own_options = "  -r, --rank=RANK      only of this rank\n",
      .columns = columns,
      .short_options = "r:",
      .long_options = own,
      .option = own_option,
  };
  struct egd_list_options options;
  struct request request = {.rank = -1};
  int exit_code;
  int first = egd_list_options_parse(argc, argv, &command, &request, &options, &exit_code);
  if (first < 0) return exit_code;
  if (argc - first > 1) {
    egd_list_complain("checkpoints", "one JOB at most, '%s' is too many; see 'egida checkpoints --help'",
                      argv[first + 1]);
    return 1;
  }
  struct egd_history *history = NULL;
  char id[EGD_JOB_ID_SIZE];
  request.table = egd_table_create(columns, "checkpoints", &options);
  bool good = request.table && egd_history_open(options.dir, &history) == EGD_OK &&
              egd_cli_find_job(history, &options, first < argc ? argv[first] : NULL, id) &&
              egd_history_checkpoints(history, id, row, &request) == EGD_OK;
  if (good && egd_table_rows(request.table) == 0) {
    egd_list_complain("checkpoints", "job %s has no images%s; 'egida checkpoint %s' asks a running job for one", id,
                      request.rank >= 0 ? " of that rank" : "", id);
    if (options.json) egd_table_print(request.table);
    good = false;
  } else if (good) {
    good = egd_table_print(request.table);
  }
  egd_history_close(history);
  egd_table_destroy(request.table);
  return good ? 0 : 1;
}
