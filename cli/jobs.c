// egida jobs: all jobs of a folder, newest first.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/commands.h"
#include "cli/history.h"
#include "common/status.h"

struct request {
  const char *state;
  unsigned last;
  struct egd_table *table;
};

static bool own_option(void *arg, int letter, const char *value) {
  struct request *request = arg;
  if (letter == 's') {
    for (unsigned state = 0; state <= EGD_HISTORY_ELSEWHERE; state++)
      if (strcasecmp(value, egd_history_state_name(state)) == 0) {
        request->state = egd_history_state_name(state);
        return true;
      }
    egd_list_complain("jobs",
                      "--state: no state '%s'; there are COMPLETED, FAILED, VERDICT, CANCELLED, SUSPENDED, "
                      "STARTING, RUNNING, INTERRUPTED, ELSEWHERE",
                      value);
    return false;
  }
  char *end;
  unsigned long count = strtoul(value, &end, 10);
  if (*end || end == value || *value == '-' || count < 1 || count > 1000000000) {
    egd_list_complain("jobs", "--last: '%s' is not a number from 1; e.g. --last=10", value);
    return false;
  }
  request->last = (unsigned)count;
  return true;
}

static bool row(void *arg, const struct egd_history_job *job) {
  struct request *request = arg;
  if (request->state && strcmp(request->state, egd_history_state_name(job->state)) != 0) return true;
  egd_job_row(request->table, job);
  return !request->last || egd_table_rows(request->table) < request->last;
}

int egida_cmd_jobs(int argc, char **argv) {
  static const struct option own[] = {
      {"state", required_argument, NULL, 's'}, {"last", required_argument, NULL, 'n'}, {0}};
  static const struct egd_list_command command = {
      .name = "jobs",
      .arguments = "[JOB…]",
      .about = "List the jobs of this folder, newest first.",
      .own_options = "  -n, --last=N         only the N newest\n"
                     "  -s, --state=STATE    only jobs in this state, e.g. RUNNING, FAILED, INTERRUPTED\n",
      .columns = egd_job_columns,
      .short_options = "s:n:",
      .long_options = own,
      .option = own_option,
  };
  struct egd_list_options options;
  struct request request = {0};
  int exit_code;
  int first = egd_list_options_parse(argc, argv, &command, &request, &options, &exit_code);
  if (first < 0) return exit_code;
  struct egd_history *history = NULL;
  request.table = egd_table_create(egd_job_columns, "jobs", &options);
  bool good = request.table && egd_history_open(options.dir, &history) == EGD_OK;
  if (good && first == argc) good = egd_history_jobs(history, NULL, 0, row, &request) == EGD_OK;
  for (int i = first; good && i < argc; i++) {
    char id[EGD_JOB_ID_SIZE];
    good =
        egd_cli_find_job(history, &options, argv[i], id) && egd_history_jobs(history, id, 0, row, &request) == EGD_OK;
  }
  if (good && egd_table_rows(request.table) == 0) {
    egd_list_complain("jobs", "no %s%sjobs in %s; 'egida run' records them", request.state ? request.state : "",
                      request.state ? " " : "", options.dir);
    if (options.json) egd_table_print(request.table);
    good = false;
  } else if (good) {
    good = egd_table_print(request.table);
  }
  egd_history_close(history);
  egd_table_destroy(request.table);
  return good ? 0 : 1;
}
