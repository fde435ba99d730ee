// egida events: what happened, in the order in which it was recorded.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/history.h"
#include "common/status.h"

static const struct egd_column columns[] = {
    {"seq", "seq", "SEQ", true, true},     {"time", "at_ns", "TIME", false, true}, {"job", "job", "JOB", false, false},
    {"kind", "kind", "KIND", false, true}, {"rank", "rank", "RANK", true, true},   {"node", "node", "NODE", true, true},
    {"text", "text", "TEXT", false, true}, {"data", "data", "DATA", false, false}, {0},
};

struct request {
  bool every_job, follow, live;
  struct egd_history_event_filter filter;
  struct egd_table *table;
};

static bool number_of(const char *option, const char *value, long minimum, long *ret_number) {
  char *end;
  long number = strtol(value, &end, 10);
  if (*end || end == value || number < minimum || number > 1000000000) {
    egd_list_complain("events", "--%s: '%s' is not a number from %ld", option, value, minimum);
    return false;
  }
  *ret_number = number;
  return true;
}

static bool own_option(void *arg, int letter, const char *value) {
  struct request *request = arg;
  long number = 0;
  switch (letter) {
  case 'a':
    request->every_job = true;
    break;
  case 'f':
    request->follow = true;
    break;
  case 'k':
    request->filter.kind = value;
    break;
  case 'n':
    if (!number_of("last", value, 1, &number)) return false;
    request->filter.last = (unsigned)number;
    break;
  case 'r':
    if (!number_of("rank", value, 0, &number)) return false;
    request->filter.rank = number;
    break;
  }
  return true;
}

static bool row(void *arg, const struct egd_history_event *event) {
  struct request *request = arg;
  request->filter.after = event->seq;
  struct egd_table *table = request->table;
  egd_table_number(table, event->seq);
  egd_table_time(table, event->at_ns);
  egd_table_text(table, event->job);
  egd_table_text(table, event->kind);
  egd_table_number(table, event->rank);
  egd_table_number(table, event->node);
  egd_table_text(table, event->text);
  egd_table_json(table, event->json, event->json);
  return true;
}

static bool see_life(void *arg, const struct egd_history_job *job) {
  ((struct request *)arg)->live = job->live;
  return true;
}

// Print what is new, until the job has ended; of all jobs: until Ctrl-C.
static bool follow(struct request *request, struct egd_list_options *options) {
  while (request->live || request->every_job) {
    nanosleep(&(struct timespec){0, 500000000}, NULL);
    options->noheader = true;
    struct egd_history *history = NULL;
    const struct egd_history_event_filter filter = request->filter;
    request->table = egd_table_create(columns, "events", options);
    bool good =
        request->table && egd_history_open(options->dir, &history) == EGD_OK &&
        (request->every_job || egd_history_jobs(history, request->filter.job, 1, see_life, request) == EGD_OK) &&
        egd_history_events(history, &filter, row, request) == EGD_OK;
    if (good) good = options->json ? egd_table_print_lines(request->table) : egd_table_print(request->table);
    egd_history_close(history);
    egd_table_destroy(request->table);
    request->table = NULL;
    if (!good) return false;
  }
  return true;
}

int egida_cmd_events(int argc, char **argv) {
  static const struct option own[] = {
      {"all", no_argument, NULL, 'a'},        {"follow", no_argument, NULL, 'f'},
      {"kind", required_argument, NULL, 'k'}, {"last", required_argument, NULL, 'n'},
      {"rank", required_argument, NULL, 'r'}, {0},
  };
  static const struct egd_list_command command = {
      .name = "events",
      .arguments = "[JOB]",
      .about = "List the events of a job (of the newest one without JOB) in the order in which they were recorded.",
      .own_options = "  -a, --all            of all jobs\n"
                     "  -f, --follow         print new ones until the job ends (--json: one object per line)\n"
                     "  -k, --kind=KIND      only this kind\n"
                     "  -n, --last=N         only the last N\n"
                     "  -r, --rank=RANK      only of this rank\n",
      .columns = columns,
      .short_options = "afk:n:r:",
      .long_options = own,
      .option = own_option,
  };
  struct egd_list_options options;
  struct request request = {.filter = {.rank = -1}};
  int exit_code;
  int first = egd_list_options_parse(argc, argv, &command, &request, &options, &exit_code);
  if (first < 0) return exit_code;
  if (argc - first > 1 || (request.every_job && first < argc)) {
    egd_list_complain("events", "'%s': %s; see 'egida events --help'", argv[argc - 1],
                      request.every_job ? "--all takes no JOB" : "one JOB at most");
    return 1;
  }
  struct egd_history *history = NULL;
  char id[EGD_JOB_ID_SIZE] = "";
  bool filtered = request.filter.kind || request.filter.rank >= 0;
  request.table = egd_table_create(columns, "events", &options);
  bool good = request.table && egd_history_open(options.dir, &history) == EGD_OK &&
              (request.every_job || (egd_cli_find_job(history, &options, first < argc ? argv[first] : NULL, id) &&
                                     egd_history_jobs(history, id, 1, see_life, &request) == EGD_OK));
  if (!request.every_job) request.filter.job = id;
  // A copy: the rows move filter.after.
  const struct egd_history_event_filter filter = request.filter;
  good = good && egd_history_events(history, &filter, row, &request) == EGD_OK;
  request.filter.last = 0; // it meant the ones of before
  egd_history_close(history);
  if (good && egd_table_rows(request.table) == 0 && !request.follow) {
    egd_list_complain("events", "no %sevents%s%s in %s", filtered ? "such " : "", *id ? " of job " : "", id,
                      options.dir);
    if (options.json) egd_table_print(request.table);
    good = false;
  } else if (good) {
    good = options.json && request.follow ? egd_table_print_lines(request.table) : egd_table_print(request.table);
  }
  egd_table_destroy(request.table);
  request.table = NULL;
  if (good && request.follow) good = follow(&request, &options);
  return good ? 0 : 1;
}
