// A batch job whose host was lost, that was preempted or reached a limit, and that Slurm began again with its old number: its
// script starts the same programs as before. One that an earlier start left unfinished goes on instead.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <jansson.h>
#include "cli/steward.h"
#include "common/status.h"
#include "restartd/store_read.h"

struct search {
  uint32_t slurm_job;
  json_t *argv;
  char *id;
  bool found;
};

bool steward_is_restarted(void) {
  const char *count = getenv("SLURM_RESTART_COUNT");
  return count && atoi(count) > 0;
}

static bool is_of_slurm_job(const char *job_dir, uint32_t slurm_job) {
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/job.json", job_dir);
  json_t *root = json_load_file(path, 0, NULL);
  bool same = json_integer_value(json_object_get(root, "slurm_job")) == slurm_job;
  json_decref(root);
  return same;
}

static bool on_job(void *arg, const struct egd_history_job *job) {
  struct search *search = arg;
  bool unfinished = job->state == EGD_HISTORY_CANCELLED || job->state == EGD_HISTORY_SUSPENDED ||
                    job->state == EGD_HISTORY_INTERRUPTED || job->state == EGD_HISTORY_ELSEWHERE;
  if (!unfinished || !job->job_dir || !is_of_slurm_job(job->job_dir, search->slurm_job)) return true;
  json_t *argv = job->argv ? json_loads(job->argv, 0, NULL) : NULL;
  search->found = json_equal(argv, search->argv);
  json_decref(argv);
  if (search->found) snprintf(search->id, RUN_JOB_ID_SIZE, "%s", job->id);
  return !search->found;
}

bool steward_find_lost(const char *dir, uint32_t slurm_job, char *const *argv, char id[RUN_JOB_ID_SIZE]) {
  struct search search = {.slurm_job = slurm_job, .argv = json_array(), .id = id};
  struct egd_history *history = NULL;
  char path[PATH_MAX + 16];
  snprintf(path, sizeof(path), "%s/history.db", dir);
  for (; *argv; argv++) json_array_append_new(search.argv, json_string(*argv));
  if (access(path, F_OK) == 0 && egd_history_open(dir, &history) == EGD_OK) {
    egd_history_jobs(history, NULL, 0, on_job, &search);
    egd_history_close(history);
  }
  json_decref(search.argv);
  return search.found;
}
