// egida ranks: the ranks of a job.
#include <stdio.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/history.h"
#include "common/status.h"

static const struct egd_column columns[] = {
    {"rank", "rank", "RANK", true, true},
    {"node", "node", "NODE", true, true},
    {"pid", "pid", "PID", true, true},
    {"birth", "birth", "BIRTH", true, false},
    {"incarnation", "incarnation", "INC", true, true},
    {"state", "state", "STATE", false, true},
    {"failures", "failures", "FAIL", true, true},
    {"recoveries", "recoveries", "RECOV", true, true},
    {"recovery", "recovery_ns", "RECOVERY", true, true},
    {"determinants", "determinants_replayed", "REPLAYED", true, false},
    {"from", "restored_image", "FROM", true, false},
    {"images", "images", "IMAGES", true, false},
    {"image", "newest_image", "IMAGE", true, true},
    {"imagesize", "image_bytes", "IMAGESIZE", true, true},
    {"imageage", "image_age_ns", "IMAGEAGE", true, true},
    {"log", "log_bytes", "LOG", true, true},
    {"spilled", "log_spilled_bytes", "SPILLED", true, false},
    {"peak", "log_peak_bytes", "LOGPEAK", true, true},
    {"started", "started_ns", "STARTED", false, false},
    {"ended", "ended_ns", "ENDED", false, false},
    {"status", "wait_status", "STATUS", true, false},
    {0},
};

struct request {
  bool all;
  struct egd_history_job job; // only numbers and the state are used
  struct egd_table *table;
};

static bool own_option(void *arg, int letter, const char *value) {
  ((struct request *)arg)->all = true;
  return true;
}

static bool keep_job(void *arg, const struct egd_history_job *job) {
  ((struct request *)arg)->job = *job;
  return true;
}

static bool row(void *arg, const struct egd_history_rank *rank) {
  struct request *request = arg;
  struct egd_table *table = request->table;
  struct timespec clock;
  clock_gettime(CLOCK_REALTIME, &clock);
  uint64_t now = (uint64_t)clock.tv_sec * 1000000000u + (uint64_t)clock.tv_nsec;
  char state[64];
  if (!rank->ended_ns)
    snprintf(state, sizeof state, "%s",
             request->job.live                             ? "running"
             : request->job.state == EGD_HISTORY_ELSEWHERE ? "unknown"
                                                           : "gone");
  else if (rank->wait_status < 0)
    snprintf(state, sizeof state, "ended");
  else
    egd_wait_status_format(rank->wait_status, state);
  egd_table_number(table, rank->rank);
  egd_table_number(table, rank->node);
  egd_table_number(table, rank->pid);
  egd_table_number(table, rank->birth);
  egd_table_number(table, rank->incarnation);
  egd_table_text(table, state);
  egd_table_number(table, rank->failures);
  egd_table_number(table, rank->recoveries);
  egd_table_duration(table, rank->recovery_ns);
  egd_table_number(table, rank->determinants);
  egd_table_number(table, rank->image);
  egd_table_number(table, rank->images);
  egd_table_number(table, rank->image_number);
  egd_table_size(table, rank->image_bytes);
  bool may_go_back = !request->job.cleaned_ns && (request->job.live || request->job.state == EGD_HISTORY_INTERRUPTED ||
                                                  request->job.state == EGD_HISTORY_SUSPENDED);
  egd_table_duration(table,
                     may_go_back && rank->image_ns && now > rank->image_ns ? (int64_t)(now - rank->image_ns) : -1);
  egd_table_size(table, rank->log_bytes);
  egd_table_size(table, rank->log_spilled);
  egd_table_size(table, rank->log_peak);
  egd_table_time(table, rank->started_ns);
  egd_table_time(table, rank->ended_ns);
  egd_table_number(table, rank->wait_status);
  return true;
}

int egida_cmd_ranks(int argc, char **argv) {
  static const struct option own[] = {{"all", no_argument, NULL, 'a'}, {0}};
  static const struct egd_list_command command = {
      .name = "ranks",
      .arguments = "[JOB]",
      .about = "List the ranks of a job (of the newest one without JOB).",
      .own_options = "  -a, --all            every incarnation, not only the newest of each rank\n",
      .columns = columns,
      .short_options = "a",
      .long_options = own,
      .option = own_option,
  };
  struct egd_list_options options;
  struct request request = {0};
  int exit_code;
  int first = egd_list_options_parse(argc, argv, &command, &request, &options, &exit_code);
  if (first < 0) return exit_code;
  if (argc - first > 1) {
    egd_list_complain("ranks", "one JOB at most, '%s' is too many; see 'egida ranks --help'", argv[first + 1]);
    return 1;
  }
  struct egd_history *history = NULL;
  char id[EGD_JOB_ID_SIZE];
  request.table = egd_table_create(columns, "ranks", &options);
  bool good = request.table && egd_history_open(options.dir, &history) == EGD_OK &&
              egd_cli_find_job(history, &options, first < argc ? argv[first] : NULL, id) &&
              egd_history_jobs(history, id, 1, keep_job, &request) == EGD_OK &&
              egd_history_ranks(history, id, request.all, row, &request) == EGD_OK;
  if (good && egd_table_rows(request.table) == 0) {
    egd_list_complain("ranks", "job %s started no ranks; 'egida events %s' tells why", id, id);
    good = false;
  }
  if (good) good = egd_table_print(request.table);
  egd_history_close(history);
  egd_table_destroy(request.table);
  return good ? 0 : 1;
}
