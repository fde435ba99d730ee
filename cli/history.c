#include "cli/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "common/status.h"

bool egd_cli_find_job(struct egd_history *history, const struct egd_list_options *options, const char *operand,
                      char ret_id[EGD_JOB_ID_SIZE]) {
  switch (egd_history_find(history, operand, ret_id, EGD_JOB_ID_SIZE)) {
  case EGD_OK:
    return true;
  case EGD_ERR_EXISTS:
    egd_list_complain(options->command, "job '%s': several jobs begin or end so, %s is one; give more of the id",
                      operand, ret_id);
    return false;
  case EGD_ERR_NOT_FOUND:
    if (operand)
      egd_list_complain(options->command, "job '%s' is not in the history of %s; 'egida jobs' lists what is", operand,
                        options->dir);
    else
      egd_list_complain(options->command, "no jobs in %s; 'egida run' records them", options->dir);
    return false;
  default:
    return false; // said already
  }
}

const struct egd_column egd_job_columns[] = {
    {"job", "job", "JOB", false, true},
    {"state", "state", "STATE", false, true},
    {"ranks", "ranks", "RANKS", true, true},
    {"up", "ranks_up", "UP", true, false},
    {"nodes", "nodes", "NODES", true, true},
    {"lost", "nodes_lost", "LOST", true, false},
    {"spares", "spares", "SPARES", true, false},
    {"spec", "spec", "SPEC", false, true},
    {"hash", "spec_hash", "HASH", false, false},
    {"user", "user", "USER", false, false},
    {"begun", "begun_ns", "BEGUN", false, true},
    {"started", "started_ns", "STARTED", false, false},
    {"ended", "ended_ns", "ENDED", false, false},
    {"elapsed", "elapsed_ns", "ELAPSED", true, true},
    {"failures", "failures", "FAIL", true, true},
    {"recoveries", "recoveries", "RECOV", true, true},
    {"images", "images", "IMAGES", true, false},
    {"imagesize", "image_bytes", "IMAGESIZE", true, false},
    {"imageage", "image_age_ns", "IMAGEAGE", true, false},
    {"log", "log_bytes", "LOG", true, false},
    {"events", "events", "EVENTS", true, false},
    {"resumes", "resumes", "RESUMES", true, false},
    {"cleaned", "cleaned_ns", "CLEANED", false, false},
    {"exit", "exit_code", "EXIT", true, true},
    {"verdict", "verdict", "VERDICT", false, false},
    {"cwd", "cwd", "CWD", false, false},
    {"dir", "job_dir", "DIR", false, false},
    {"program", "argv", "PROGRAM", false, true},
    {0},
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool egd_job_row(void *table, const struct egd_history_job *job) {
  uint64_t now = now_ns();
  uint64_t end = job->ended_ns ? job->ended_ns : job->live ? now : 0;
  // Only where somebody may still have to go back to an image, its age says something.
  bool may_go_back =
      !job->cleaned_ns && (job->live || job->state == EGD_HISTORY_INTERRUPTED || job->state == EGD_HISTORY_SUSPENDED);
  char *program = egd_words_of_json(job->argv);
  egd_table_text(table, job->id);
  egd_table_text(table, egd_history_state_name(job->state));
  egd_table_number(table, job->nranks);
  egd_table_number(table, job->ranks_up);
  egd_table_number(table, job->nodes);
  egd_table_number(table, job->nodes_lost);
  egd_table_number(table, job->spares);
  egd_table_text(table, job->spec_name);
  egd_table_text(table, job->spec_hash);
  egd_table_text(table, job->user);
  egd_table_time(table, job->begun_ns);
  egd_table_time(table, job->started_ns);
  egd_table_time(table, job->ended_ns);
  egd_table_duration(table, end > job->begun_ns ? (int64_t)(end - job->begun_ns) : -1);
  egd_table_number(table, job->failures);
  egd_table_number(table, job->recoveries);
  egd_table_number(table, job->images);
  egd_table_size(table, (int64_t)job->image_bytes);
  egd_table_duration(table, may_go_back && job->image_ns && now > job->image_ns ? (int64_t)(now - job->image_ns) : -1);
  egd_table_size(table, (int64_t)job->log_bytes);
  egd_table_number(table, job->events);
  egd_table_number(table, job->resumes);
  egd_table_time(table, job->cleaned_ns);
  egd_table_number(table, job->exit_code);
  egd_table_text(table, job->verdict);
  egd_table_text(table, job->cwd);
  egd_table_text(table, job->job_dir);
  egd_table_json(table, program, job->argv);
  free(program);
  return true;
}

char *egd_wait_status_format(long long wait_status, char *text) {
  int status = (int)wait_status;
  if (wait_status < 0)
    strcpy(text, "-");
  else if (WIFSIGNALED(status))
    snprintf(text, 64, "killed by signal %d (%.32s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else
    snprintf(text, 64, "exited %d", WEXITSTATUS(status));
  return text;
}
