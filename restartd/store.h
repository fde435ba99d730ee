// The history of a folder of jobs: DIR/history.db, SQLite in WAL mode, described in docs/formats/store.md.
//
// The history never fails a job. No function here returns an error: a damaged database is moved aside
// (history.db.damaged-N), a full disk or a lost folder is said once on stderr, and the job goes on without history.
// All functions accept a NULL store and do nothing then. Strings are copied; a NULL string is stored as NULL.
//
// One thread. Facts are collected in an open transaction that egd_store_flush commits: call it from a timer, every 250
// ms or so (a write commits by itself what is older than that). Facts marked DURABLE below are on the disk when the
// function returns, and with them everything that was said before.
//
// Times named at_ns are CLOCK_REALTIME; 0 = now. Unknown ranks and nodes are -1.
#ifndef EGIDA_RESTARTD_STORE_H
#define EGIDA_RESTARTD_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "restartd/recovery_times.h"

struct egd_store;

/// Open or create DIR/history.db for writing; DIR exists. NULL only without memory: a database that can't be used gives
/// a store that writes nothing (egd_store_usable is false then). The caller closes it.
struct egd_store *egd_store_open(const char *dir);
/// The history of the cluster's service, which goes on trying where a job would give up: see store_private.h.
struct egd_store *egd_store_open_for_service(const char *dir);
/// From now on every fact of a job is appended to `journal` too; NULL ends that. The journal stays the caller's.
struct egd_journal;
void egd_store_set_journal(struct egd_store *store, struct egd_journal *journal);
/// Commit what is open and close. NULL is fine.
void egd_store_close(struct egd_store *store);
/// Commit the collected facts.
void egd_store_flush(struct egd_store *store);
/// False once the history was given up (or could not be opened).
bool egd_store_usable(const struct egd_store *store);
/// DIR/history.db; owned by the store.
const char *egd_store_path(const struct egd_store *store);

// ---------------------------------------------------------------------------------------------------- jobs
struct egd_store_job {
  const char *id;
  int argc; // argv[0..argc) is the program with its arguments
  char *const *argv;
  const char *spec_name; // "pessimistic.egd" or the file's path
  uint64_t spec_hash;    // XXH3 of the specification's text
  uint32_t nranks, nodes, spares;
  const char *user;
  const char *cwd;
  const char *job_dir;
};
/// DURABLE. Also records this process (pid, start time, host) as the job's launcher, so that a reader knows whether a
/// job without an end still runs. The same id again = the job is resumed: its rows stay, it is running again.
void egd_store_job_begin(struct egd_store *store, const struct egd_store_job *job);
/// Start-up is over: image 1 of all ranks is durable (or all have initialised, without checkpoints).
void egd_store_job_started(struct egd_store *store, const char *job, uint64_t at_ns);

enum egd_store_outcome {
  EGD_STORE_COMPLETED, // the program's own exit code 0
  EGD_STORE_FAILED,    // the program's own exit code, or a signal, ended it
  EGD_STORE_VERDICT,   // Egida ended it: it can't be recovered
  EGD_STORE_CANCELLED, // Ctrl-C or a signal to the launcher
  EGD_STORE_SUSPENDED, // all ranks wrote an image and left: --resume goes on
};
/// DURABLE. `verdict`: one line for people, NULL = nothing to say. Ranks without an end get this one.
void egd_store_job_end(struct egd_store *store, const char *job, enum egd_store_outcome outcome, int exit_code,
                       const char *verdict, uint64_t at_ns);

// ---------------------------------------------------------------------------------------------------- nodes
/// `address` e.g. host name or "127.0.0.1:4711"; `spare`: it holds no ranks yet. The same (job, node, incarnation)
/// again updates it.
void egd_store_node_up(struct egd_store *store, const char *job, int node, uint32_t incarnation, const char *address,
                       int agent_pid, bool spare, uint64_t at_ns);
/// DURABLE.
void egd_store_node_lost(struct egd_store *store, const char *job, int node, uint32_t incarnation, const char *why,
                         uint64_t at_ns);

// ---------------------------------------------------------------------------------------------------- ranks
#define EGD_STORE_NO_IMAGE UINT32_MAX
/// A process of the rank exists. `birth`: how often the job started up anew (egd_segment.birth); `image`: the one that
/// it starts from, EGD_STORE_NO_IMAGE = from the program.
void egd_store_rank_start(struct egd_store *store, const char *job, int rank, uint32_t birth, uint32_t incarnation,
                          int node, int pid, uint32_t image, uint64_t at_ns);
/// It ended: `wait_status` as of waitpid.
void egd_store_rank_end(struct egd_store *store, const char *job, int rank, uint32_t birth, uint32_t incarnation,
                        int wait_status, uint64_t at_ns);

// ---------------------------------------------------------------------------------------------------- images and logs
void egd_store_checkpoint(struct egd_store *store, const char *job, int rank, uint32_t number, uint64_t bytes,
                          uint64_t stall_ns, uint64_t write_ns, bool durable, uint64_t at_ns);
/// Sizes of the rank's log of sent messages now; one row per rank is kept, with the highest peak.
void egd_store_log(struct egd_store *store, const char *job, int rank, uint64_t bytes, uint64_t spilled, uint64_t peak,
                   uint64_t at_ns);

// ---------------------------------------------------------------------------------------------------- failures
struct egd_store_failure {
  const char *job;
  int rank; // -1: the whole node
  int node;
  uint32_t incarnation; // of the rank, or of the node
  int signal;           // 0 = none or unknown
  int exit_code;        // -1 = none
  bool injected;        // by --inject
  const char *cause;    // one line, may be NULL
  uint64_t detected_ns; // CLOCK_REALTIME, 0 = now
};
/// DURABLE. Returns the failure's number for egd_store_recovery, 0 without history.
int64_t egd_store_failure(struct egd_store *store, const struct egd_store_failure *failure);

struct egd_store_recovery {
  const char *job;
  int64_t failure; // of egd_store_failure; 0 = unknown
  int rank;
  uint32_t birth, incarnation; // the new one
  int from_node, node;
  uint32_t image; // EGD_STORE_NO_IMAGE = anew from the program
  uint64_t determinants;
  struct egd_recovery_times times;
};
/// DURABLE. May be called again for the same (job, rank, birth, incarnation) as more phases are reached.
void egd_store_recovery(struct egd_store *store, const struct egd_store_recovery *recovery);

// ---------------------------------------------------------------------------------------------------- events
/// `kind`: a short word ("job-started", "rank-killed", "recovered", "image", "node-lost" …); `text`: one line for
/// people; `json`: an object as text, or NULL. Returns the event's sequence number: it grows, without reuse; 0 without
/// history.
int64_t egd_store_event(struct egd_store *store, const char *job, const char *kind, int rank, int node,
                        const char *text, const char *json);

// ---------------------------------------------------------------------------------------------------- cleaning
/// DURABLE. The files of the job were removed: it can't be resumed.
void egd_store_cleaned(struct egd_store *store, const char *job, uint64_t at_ns);
/// DURABLE. Remove all that is recorded of the job.
void egd_store_forget(struct egd_store *store, const char *job);

#endif
