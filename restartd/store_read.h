// Reading the history, also while a job writes it.
//
// A history is one moment's view: what is written after the open is not seen. Rows are given to a function, newest job
// first, else in ascending order; the strings in them are valid during the call, and NULL where nothing is known. The
// function returns false to stop. Numbers that are not known are -1, times that are not known 0.
//
// All read functions return EGD_OK, or EGD_ERR_CORRUPT / EGD_ERR_IO after a message on stderr.
#ifndef EGIDA_RESTARTD_STORE_READ_H
#define EGIDA_RESTARTD_STORE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "restartd/recovery_times.h"

struct egd_history;

/// Open DIR/history.db for reading; a history of an older version is brought up to date first. EGD_ERR_NOT_FOUND: no
/// history there; other values: it can't be read. A message was written to stderr then, *ret_history is untouched.
int egd_history_open(const char *dir, struct egd_history **ret_history);
void egd_history_close(struct egd_history *history);

enum egd_history_state {
  EGD_HISTORY_COMPLETED, // the first five as enum egd_store_outcome
  EGD_HISTORY_FAILED,
  EGD_HISTORY_VERDICT,
  EGD_HISTORY_CANCELLED,
  EGD_HISTORY_SUSPENDED,
  EGD_HISTORY_STARTING,    // a launcher lives, image 1 is not durable everywhere
  EGD_HISTORY_RUNNING,     // a launcher lives
  EGD_HISTORY_INTERRUPTED, // no end, and no launcher
  EGD_HISTORY_ELSEWHERE,   // no end, and the launcher's host is another one
};
/// "COMPLETED" …; static storage.
const char *egd_history_state_name(enum egd_history_state state);

struct egd_history_job {
  const char *id;
  const char *argv; // JSON array
  const char *spec_name, *spec_hash, *user, *cwd, *job_dir, *verdict, *launcher_host;
  enum egd_history_state state;
  bool live; // STARTING or RUNNING
  int64_t nranks, nodes, spares, exit_code, launcher_pid, resumes;
  uint64_t begun_ns, started_ns, ended_ns, cleaned_ns;
  int64_t ranks_up, nodes_lost, failures, recoveries, images, events;
  uint64_t image_ns; // when the oldest of the ranks' newest images was taken: a crash of all goes back to here
  uint64_t image_bytes, log_bytes; // of all durable images; of all logs now
};
/// `job`: exact id, NULL = all. `limit`: at most so many, 0 = all.
int egd_history_jobs(struct egd_history *history, const char *job, unsigned limit,
                     bool (*row)(void *arg, const struct egd_history_job *job), void *arg);
/// The job that `text` names: an id, or a beginning or end of exactly one id; NULL = the newest job. EGD_ERR_NOT_FOUND,
/// EGD_ERR_EXISTS (several; ret_id then holds one of them).
int egd_history_find(struct egd_history *history, const char *text, char *ret_id, size_t size);

struct egd_history_rank {
  int64_t rank, birth, incarnation, node, pid;
  int64_t image; // that it started from, -1 = the program
  uint64_t started_ns, ended_ns;
  int64_t wait_status; // -1: not known
  int64_t failures, recoveries, images, image_number, image_bytes;
  uint64_t image_ns; // newest durable image
  int64_t log_bytes, log_spilled, log_peak;
  int64_t recovery_ns, determinants; // of the recovery that made this incarnation
};
/// The newest incarnation of each rank, or with `all` every one.
int egd_history_ranks(struct egd_history *history, const char *job, bool all,
                      bool (*row)(void *arg, const struct egd_history_rank *rank), void *arg);

struct egd_history_checkpoint {
  int64_t rank, number, bytes, stall_ns, write_ns;
  bool durable;
  uint64_t at_ns;
};
int egd_history_checkpoints(struct egd_history *history, const char *job,
                            bool (*row)(void *arg, const struct egd_history_checkpoint *checkpoint), void *arg);

struct egd_history_failure {
  int64_t id, rank, node, incarnation, signal, exit_code;
  bool injected;
  const char *cause;
  uint64_t detected_ns;
};
int egd_history_failures(struct egd_history *history, const char *job,
                         bool (*row)(void *arg, const struct egd_history_failure *failure), void *arg);

struct egd_history_recovery {
  int64_t failure, rank, birth, incarnation, from_node, node, image, determinants;
  uint64_t detected_ns;                  // calendar
  int64_t after_ns[EGD_RECOVERY_PHASES]; // since the detection, -1 = not reached; [DETECTED] is 0
};
int egd_history_recoveries(struct egd_history *history, const char *job,
                           bool (*row)(void *arg, const struct egd_history_recovery *recovery), void *arg);

struct egd_history_event {
  int64_t seq;
  const char *job, *kind, *text, *json;
  uint64_t at_ns;
  int64_t rank, node;
};
struct egd_history_event_filter {
  const char *job;  // NULL = of all jobs
  const char *kind; // NULL = all
  int64_t rank;     // -1 = all
  int64_t after;    // only those with a greater number
  unsigned last;    // only the last so many of what is left, 0 = all
};
int egd_history_events(struct egd_history *history, const struct egd_history_event_filter *filter,
                       bool (*row)(void *arg, const struct egd_history_event *event), void *arg);

#endif
