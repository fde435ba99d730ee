// egida status: what runs and what ran last; with JOB, that job's failures and recoveries with the time of each phase.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/commands.h"
#include "cli/history.h"
#include "common/size.h"
#include "common/status.h"

#define LAST_JOBS 5

static const char overview[] = "job,state,ranks,up,nodes,failures,recoveries,imageage,elapsed,exit,program";

static const struct egd_column failure_columns[] = {
    {"failure", "id", "FAILURE", true, true},
    {"time", "detected_ns", "TIME", false, true},
    {"rank", "rank", "RANK", true, true},
    {"node", "node", "NODE", true, true},
    {"incarnation", "incarnation", "INC", true, true},
    {"signal", "signal", "SIGNAL", true, true},
    {"exit", "exit_code", "EXIT", true, true},
    {"injected", "injected", "INJECTED", false, true},
    {"cause", "cause", "CAUSE", false, true},
    {0},
};

// The phases count from the detection.
static const struct egd_column recovery_columns[] = {
    {"failure", "failure", "FAILURE", true, true},
    {"rank", "rank", "RANK", true, true},
    {"incarnation", "incarnation", "INC", true, true},
    {"from", "from_node", "FROM", true, true},
    {"node", "node", "NODE", true, true},
    {"image", "image", "IMAGE", true, true},
    {"determinants", "determinants_replayed", "REPLAYED", true, true},
    {"time", "detected_ns", "TIME", false, false},
    {"fenced", "fenced_after_ns", "FENCED", true, true},
    {"respawned", "respawned_after_ns", "RESPAWNED", true, true},
    {"restored", "restored_after_ns", "RESTORED", true, true},
    {"live", "replayed_after_ns", "LIVE", true, true},
    {"caughtup", "caught_up_after_ns", "CAUGHT-UP", true, true},
    {"rereplicated", "rereplicated_after_ns", "REREPLICATED", true, true},
    {0},
};

struct request {
  struct egd_table *jobs;
  unsigned ended;
  struct egd_table *failures, *recoveries;
};

// All that live, and the newest of the others.
static bool overview_row(void *arg, const struct egd_history_job *job) {
  struct request *request = arg;
  if (!job->live && request->ended >= LAST_JOBS) return true;
  if (!job->live) request->ended++;
  return egd_job_row(request->jobs, job);
}

static void describe(const struct egd_history_job *job) {
  char begun[32], started[32], ended[32], text[EGD_SIZE_TEXT];
  char *program = egd_words_of_json(job->argv);
  printf("job          %s\n", job->id);
  printf("state        %s%s%s\n", egd_history_state_name(job->state), job->verdict ? ": " : "",
         job->verdict ? job->verdict : "");
  if (job->exit_code >= 0) printf("exit code    %lld\n", (long long)job->exit_code);
  printf("program      %s\n", program ? program : "-");
  printf("protocol     %s (%s)\n", job->spec_name ? job->spec_name : "-", job->spec_hash ? job->spec_hash : "-");
  printf("ranks        %lld (%lld up) on %lld nodes (%lld lost, %lld spares)\n", (long long)job->nranks,
         (long long)job->ranks_up, (long long)job->nodes, (long long)job->nodes_lost, (long long)job->spares);
  printf("begun        %s by %s in %s\n", egd_time_format(job->begun_ns, begun), job->user ? job->user : "-",
         job->cwd ? job->cwd : "-");
  if (job->started_ns) printf("started      %s\n", egd_time_format(job->started_ns, started));
  if (job->ended_ns) printf("ended        %s\n", egd_time_format(job->ended_ns, ended));
  if (job->resumes) printf("resumed      %lld times\n", (long long)job->resumes);
  printf("failures     %lld, %lld recoveries\n", (long long)job->failures, (long long)job->recoveries);
  printf("images       %lld, %s\n", (long long)job->images, egd_size_format(job->image_bytes, text));
  if (job->state == EGD_HISTORY_INTERRUPTED && !job->cleaned_ns)
    printf("next         its launcher is gone; 'egida run --resume %s' goes on with it\n", job->id);
  if (job->state == EGD_HISTORY_SUSPENDED && !job->cleaned_ns)
    printf("next         'egida run --resume %s' goes on with it\n", job->id);
  free(program);
}

static bool describe_row(void *arg, const struct egd_history_job *job) {
  struct request *request = arg;
  if (request->jobs)
    egd_job_row(request->jobs, job);
  else
    describe(job);
  return true;
}

static bool failure_row(void *arg, const struct egd_history_failure *failure) {
  struct egd_table *table = ((struct request *)arg)->failures;
  egd_table_number(table, failure->id);
  egd_table_time(table, failure->detected_ns);
  egd_table_number(table, failure->rank);
  egd_table_number(table, failure->node);
  egd_table_number(table, failure->incarnation);
  egd_table_number(table, failure->signal);
  egd_table_number(table, failure->exit_code);
  egd_table_flag(table, failure->injected);
  egd_table_text(table, failure->cause);
  return true;
}

static bool recovery_row(void *arg, const struct egd_history_recovery *recovery) {
  struct egd_table *table = ((struct request *)arg)->recoveries;
  egd_table_number(table, recovery->failure);
  egd_table_number(table, recovery->rank);
  egd_table_number(table, recovery->incarnation);
  egd_table_number(table, recovery->from_node);
  egd_table_number(table, recovery->node);
  egd_table_number(table, recovery->image);
  egd_table_number(table, recovery->determinants);
  egd_table_time(table, recovery->detected_ns);
  for (unsigned i = EGD_RECOVERY_FENCED; i < EGD_RECOVERY_PHASES; i++) egd_table_duration(table, recovery->after_ns[i]);
  return true;
}

static bool one_job(struct egd_history *history, const struct egd_list_options *options, const char *operand) {
  struct egd_list_options every = *options; // --format chooses among the columns of jobs only
  every.format = NULL;
  struct request request = {0};
  char id[EGD_JOB_ID_SIZE];
  bool good = egd_cli_find_job(history, options, operand, id);
  if (good && (options->json || options->format))
    good = (request.jobs = egd_table_create(egd_job_columns, "jobs", options));
  request.failures = egd_table_create(failure_columns, "failures", &every);
  request.recoveries = egd_table_create(recovery_columns, "recoveries", &every);
  good = good && request.failures && request.recoveries &&
         egd_history_jobs(history, id, 1, describe_row, &request) == EGD_OK &&
         egd_history_failures(history, id, failure_row, &request) == EGD_OK &&
         egd_history_recoveries(history, id, recovery_row, &request) == EGD_OK;
  if (good && options->json) {
    json_t *jobs = egd_table_rows_as_json(request.jobs);
    json_t *document =
        json_pack("{s:O, s:o, s:o}", "job", json_array_get(jobs, 0), "failures",
                  egd_table_rows_as_json(request.failures), "recoveries", egd_table_rows_as_json(request.recoveries));
    json_decref(jobs);
    json_dumpf(document, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(document);
    good = fflush(stdout) == 0;
  } else if (good && request.jobs) {
    good = egd_table_print(request.jobs);
  } else if (good) {
    if (egd_table_rows(request.failures)) {
      putchar('\n');
      good = egd_table_print(request.failures);
    }
    if (good && egd_table_rows(request.recoveries)) {
      putchar('\n');
      good = egd_table_print(request.recoveries);
    }
  }
  egd_table_destroy(request.jobs);
  egd_table_destroy(request.failures);
  egd_table_destroy(request.recoveries);
  return good;
}

int egida_cmd_status(int argc, char **argv) {
  static const struct egd_list_command command = {
      .name = "status",
      .arguments = "[JOB]",
      .about =
          "Show the jobs that run and the last ones that ended; with JOB, that job's failures and recoveries with\n"
          "the time from the detection to each phase.",
      .columns = egd_job_columns,
  };
  struct egd_list_options options;
  int exit_code;
  int first = egd_list_options_parse(argc, argv, &command, NULL, &options, &exit_code);
  if (first < 0) return exit_code;
  if (argc - first > 1) {
    egd_list_complain("status", "one JOB at most, '%s' is too many; see 'egida status --help'", argv[first + 1]);
    return 1;
  }
  struct egd_history *history = NULL;
  if (egd_history_open(options.dir, &history) != EGD_OK) return 1;
  bool good;
  if (first < argc) {
    good = one_job(history, &options, argv[first]);
  } else {
    if (!options.format && !options.json) options.format = overview;
    struct request request = {.jobs = egd_table_create(egd_job_columns, "jobs", &options)};
    good = request.jobs && egd_history_jobs(history, NULL, 0, overview_row, &request) == EGD_OK;
    if (good && egd_table_rows(request.jobs) == 0) {
      egd_list_complain("status", "no jobs in %s; 'egida run' records them", options.dir);
      if (options.json) egd_table_print(request.jobs);
      good = false;
    } else if (good) {
      good = egd_table_print(request.jobs);
    }
    egd_table_destroy(request.jobs);
  }
  egd_history_close(history);
  return good ? 0 : 1;
}
