// One function per fact. The SQL stands beside the order in which the values are bound.
#include "restartd/store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <jansson.h>

#include "restartd/store_private.h"
#include "restartd/store_process.h"

const struct egd_fact_form egd_fact_forms[EGD_FACTS] = {
    // A job is resumed when another process begins it; the same one begins it again only after a repair.
    [EGD_FACT_JOB_BEGIN] =
        {"INSERT INTO jobs (id, argv, spec_name, spec_hash, nranks, nodes, spares, user, cwd, job_dir, begun_ns,"
         " launcher_pid, launcher_start, launcher_host, launcher_boot)"
         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
         " ON CONFLICT (id) DO UPDATE SET ended_ns = NULL, outcome = NULL, exit_code = NULL, verdict = NULL,"
         " nodes = excluded.nodes, spares = excluded.spares,"
         " resumes = resumes + (launcher_pid IS NOT excluded.launcher_pid OR launcher_start IS NOT "
         "excluded.launcher_start),"
         " launcher_pid = excluded.launcher_pid, launcher_start = excluded.launcher_start,"
         " launcher_host = excluded.launcher_host, launcher_boot = excluded.launcher_boot",
         "Ttttiiitttiiitt"},
    [EGD_FACT_JOB_STARTED] = {"UPDATE jobs SET started_ns = ?2 WHERE id = ?1", "TI"},
    [EGD_FACT_JOB_END] = {"UPDATE jobs SET ended_ns = ?2, outcome = ?3, exit_code = ?4, verdict = ?5 WHERE id = ?1",
                          "TIIit"},
    [EGD_FACT_JOB_END_RANKS] = {"UPDATE ranks SET ended_ns = ?2 WHERE job = ?1 AND ended_ns IS NULL", "TI"},
    [EGD_FACT_NODE_UP] =
        {"INSERT INTO nodes (job, node, incarnation, address, agent_pid, spare, up_ns) VALUES (?1, ?2, "
         "?3, ?4, ?5, ?6, ?7)"
         " ON CONFLICT (job, node, incarnation) DO UPDATE SET address = excluded.address, agent_pid = "
         "excluded.agent_pid,"
         " spare = excluded.spare, lost_ns = NULL, why = NULL",
         "TIItiii"},
    [EGD_FACT_NODE_LOST] =
        {"INSERT INTO nodes (job, node, incarnation, why, lost_ns) VALUES (?1, ?2, ?3, ?4, ?5)"
         " ON CONFLICT (job, node, incarnation) DO UPDATE SET why = excluded.why, lost_ns = excluded.lost_ns",
         "TIItI"},
    [EGD_FACT_RANK_START] =
        {"INSERT INTO ranks (job, rank, birth, incarnation, node, pid, image, started_ns)"
         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
         " ON CONFLICT (job, rank, birth, incarnation) DO UPDATE SET node = excluded.node, pid = excluded.pid,"
         " image = excluded.image, started_ns = excluded.started_ns, ended_ns = NULL, wait_status = NULL",
         "TIIIiiiI"},
    [EGD_FACT_RANK_END] = {"UPDATE ranks SET wait_status = ?5, ended_ns = ?6"
                           " WHERE job = ?1 AND rank = ?2 AND birth = ?3 AND incarnation = ?4",
                           "TIIIiI"},
    [EGD_FACT_CHECKPOINT] =
        {"INSERT INTO checkpoints (job, rank, number, bytes, stall_ns, write_ns, durable, at_ns)"
         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
         " ON CONFLICT (job, rank, number) DO UPDATE SET bytes = excluded.bytes, stall_ns = excluded.stall_ns,"
         " write_ns = excluded.write_ns, durable = excluded.durable, at_ns = excluded.at_ns",
         "TIIiiiiI"},
    [EGD_FACT_LOG] = {"INSERT INTO logs (job, rank, bytes, spilled, peak, at_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
                      " ON CONFLICT (job, rank) DO UPDATE SET bytes = excluded.bytes, spilled = excluded.spilled,"
                      " peak = max(peak, excluded.peak), at_ns = excluded.at_ns",
                      "TIiiiI"},
    [EGD_FACT_FAILURE] =
        {"INSERT INTO failures (job, rank, node, incarnation, signal, exit_code, injected, cause, detected_ns,"
         " origin)"
         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
         "Tiiiiiitii"},
    [EGD_FACT_RECOVERY] =
        {"INSERT OR REPLACE INTO recoveries (job, rank, birth, incarnation, failure, from_node, node, image, "
         "determinants,"
         " detected_ns, fenced_after_ns, respawned_after_ns, restored_after_ns, replayed_after_ns, caught_up_after_ns,"
         " rereplicated_after_ns) VALUES (?1, ?2, ?3, ?4,"
         " (SELECT max(id) FROM failures WHERE job = ?1 AND CASE WHEN origin IS NULL THEN id = ?5 ELSE origin = ?5 "
         "END),"
         " ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
         "TIIIiiiiiiiiiiii"},
    [EGD_FACT_EVENT] =
        {"INSERT INTO events (job, at_ns, kind, rank, node, text, json) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
         "TiTiitt"},
    [EGD_FACT_CLEANED] = {"UPDATE jobs SET cleaned_ns = ?2 WHERE id = ?1", NULL},
    [EGD_FACT_FORGET_JOB] = {"DELETE FROM jobs WHERE id = ?1", NULL},
    [EGD_FACT_FORGET_NODES] = {"DELETE FROM nodes WHERE job = ?1", NULL},
    [EGD_FACT_FORGET_RANKS] = {"DELETE FROM ranks WHERE job = ?1", NULL},
    [EGD_FACT_FORGET_CHECKPOINTS] = {"DELETE FROM checkpoints WHERE job = ?1", NULL},
    [EGD_FACT_FORGET_LOGS] = {"DELETE FROM logs WHERE job = ?1", NULL},
    [EGD_FACT_FORGET_FAILURES] = {"DELETE FROM failures WHERE job = ?1", NULL},
    [EGD_FACT_FORGET_RECOVERIES] = {"DELETE FROM recoveries WHERE job = ?1", NULL},
    [EGD_FACT_FORGET_EVENTS] = {"DELETE FROM events WHERE job = ?1", NULL},
    [EGD_FACT_JOURNAL] = {"INSERT INTO journals (job, uid, applied) VALUES (?1, ?2, ?3)"
                          " ON CONFLICT (job) DO UPDATE SET applied = excluded.applied",
                          NULL},
};

static uint64_t or_now(uint64_t at_ns) {
  return at_ns ? at_ns : egd_store_now_ns();
}

// Arguments are bytes; JSON wants UTF-8. What is not is written byte by byte as U+0080..U+00FF.
static json_t *argument(const char *text) {
  json_t *value = json_string(text);
  if (value) return value;
  size_t length = strlen(text);
  char *latin = malloc(2 * length + 1), *at = latin;
  if (!latin) return NULL;
  for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++) {
    if (*byte < 0x80) {
      *at++ = (char)*byte;
    } else {
      *at++ = (char)(0xc0 | *byte >> 6);
      *at++ = (char)(0x80 | (*byte & 0x3f));
    }
  }
  *at = '\0';
  value = json_string(latin);
  free(latin);
  return value;
}

static char *arguments_as_json(int argc, char *const *argv) {
  json_t *array = json_array();
  for (int i = 0; i < argc && argv[i]; i++) json_array_append_new(array, argument(argv[i]));
  char *text = array ? json_dumps(array, JSON_COMPACT) : NULL;
  json_decref(array);
  return text;
}

void egd_store_job_begin(struct egd_store *store, const struct egd_store_job *job) {
  if (!store) return;
  struct egd_store_process self;
  egd_store_process_self(&self);
  char *arguments = arguments_as_json(job->argc, job->argv);
  char hash[20]; // SQLite has no unsigned 64-bit integers
  for (unsigned i = 0; i < 16; i++) hash[i] = "0123456789abcdef"[job->spec_hash >> (60 - 4 * i) & 15];
  hash[16] = '\0';
  struct egd_value values[] = {
      EGD_TEXT(job->id),
      EGD_TEXT(arguments),
      EGD_TEXT(job->spec_name),
      EGD_TEXT(hash),
      EGD_INTEGER(job->nranks),
      EGD_INTEGER(job->nodes),
      EGD_INTEGER(job->spares),
      EGD_TEXT(job->user),
      EGD_TEXT(job->cwd),
      EGD_TEXT(job->job_dir),
      EGD_INTEGER(egd_store_now_ns()),
      EGD_INTEGER(self.pid),
      EGD_INTEGER(self.start),
      EGD_TEXT(self.host),
      EGD_TEXT(self.boot),
  };
  unsigned count = sizeof values / sizeof *values;
  egd_store_remember_job(store, count, values);
  egd_store_write(store, EGD_FACT_JOB_BEGIN, true, count, values);
  free(arguments);
}

void egd_store_job_started(struct egd_store *store, const char *job, uint64_t at_ns) {
  EGD_WRITE(store, EGD_FACT_JOB_STARTED, false, EGD_TEXT(job), EGD_INTEGER(or_now(at_ns)));
}

void egd_store_job_end(struct egd_store *store, const char *job, enum egd_store_outcome outcome, int exit_code,
                       const char *verdict, uint64_t at_ns) {
  at_ns = or_now(at_ns);
  egd_store_try_again(store);
  EGD_WRITE(store, EGD_FACT_JOB_END_RANKS, false, EGD_TEXT(job), EGD_INTEGER(at_ns));
  EGD_WRITE(store, EGD_FACT_JOB_END, true, EGD_TEXT(job), EGD_INTEGER(at_ns), EGD_INTEGER(outcome),
            EGD_INTEGER(exit_code), EGD_TEXT(verdict));
}

void egd_store_node_up(struct egd_store *store, const char *job, int node, uint32_t incarnation, const char *address,
                       int agent_pid, bool spare, uint64_t at_ns) {
  EGD_WRITE(store, EGD_FACT_NODE_UP, false, EGD_TEXT(job), EGD_INTEGER(node), EGD_INTEGER(incarnation),
            EGD_TEXT(address), EGD_INTEGER(agent_pid), EGD_INTEGER(spare), EGD_INTEGER(or_now(at_ns)));
}

void egd_store_node_lost(struct egd_store *store, const char *job, int node, uint32_t incarnation, const char *why,
                         uint64_t at_ns) {
  EGD_WRITE(store, EGD_FACT_NODE_LOST, true, EGD_TEXT(job), EGD_INTEGER(node), EGD_INTEGER(incarnation), EGD_TEXT(why),
            EGD_INTEGER(or_now(at_ns)));
}

void egd_store_rank_start(struct egd_store *store, const char *job, int rank, uint32_t birth, uint32_t incarnation,
                          int node, int pid, uint32_t image, uint64_t at_ns) {
  EGD_WRITE(store, EGD_FACT_RANK_START, false, EGD_TEXT(job), EGD_INTEGER(rank), EGD_INTEGER(birth),
            EGD_INTEGER(incarnation), EGD_INTEGER(node), EGD_INTEGER(pid),
            EGD_NULL_IF(image == EGD_STORE_NO_IMAGE, image), EGD_INTEGER(or_now(at_ns)));
}

void egd_store_rank_end(struct egd_store *store, const char *job, int rank, uint32_t birth, uint32_t incarnation,
                        int wait_status, uint64_t at_ns) {
  EGD_WRITE(store, EGD_FACT_RANK_END, false, EGD_TEXT(job), EGD_INTEGER(rank), EGD_INTEGER(birth),
            EGD_INTEGER(incarnation), EGD_INTEGER(wait_status), EGD_INTEGER(or_now(at_ns)));
}

void egd_store_checkpoint(struct egd_store *store, const char *job, int rank, uint32_t number, uint64_t bytes,
                          uint64_t stall_ns, uint64_t write_ns, bool durable, uint64_t at_ns) {
  EGD_WRITE(store, EGD_FACT_CHECKPOINT, false, EGD_TEXT(job), EGD_INTEGER(rank), EGD_INTEGER(number),
            EGD_INTEGER(bytes), EGD_INTEGER(stall_ns), EGD_INTEGER(write_ns), EGD_INTEGER(durable),
            EGD_INTEGER(or_now(at_ns)));
}

void egd_store_log(struct egd_store *store, const char *job, int rank, uint64_t bytes, uint64_t spilled, uint64_t peak,
                   uint64_t at_ns) {
  EGD_WRITE(store, EGD_FACT_LOG, false, EGD_TEXT(job), EGD_INTEGER(rank), EGD_INTEGER(bytes), EGD_INTEGER(spilled),
            EGD_INTEGER(peak), EGD_INTEGER(or_now(at_ns)));
}

int64_t egd_store_failure(struct egd_store *store, const struct egd_store_failure *failure) {
  return EGD_WRITE(store, EGD_FACT_FAILURE, true, EGD_TEXT(failure->job), EGD_INTEGER(failure->rank),
                   EGD_INTEGER(failure->node), EGD_INTEGER(failure->incarnation),
                   EGD_NULL_IF(failure->signal == 0, failure->signal),
                   EGD_NULL_IF(failure->exit_code < 0, failure->exit_code), EGD_INTEGER(failure->injected),
                   EGD_TEXT(failure->cause), EGD_INTEGER(or_now(failure->detected_ns)), EGD_NULL_IF(true, 0));
}

void egd_store_recovery(struct egd_store *store, const struct egd_store_recovery *recovery) {
  const struct egd_recovery_times *times = &recovery->times;
  uint64_t detected_ns = egd_store_now_ns();
  if (times->at_ns[EGD_RECOVERY_DETECTED]) { // from the monotonic clock to the calendar
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    detected_ns -= (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - times->at_ns[EGD_RECOVERY_DETECTED];
  }
  struct egd_value values[10 + EGD_RECOVERY_PHASES - 1] = {
      EGD_TEXT(recovery->job),
      EGD_INTEGER(recovery->rank),
      EGD_INTEGER(recovery->birth),
      EGD_INTEGER(recovery->incarnation),
      EGD_NULL_IF(recovery->failure == 0, recovery->failure),
      EGD_INTEGER(recovery->from_node),
      EGD_INTEGER(recovery->node),
      EGD_NULL_IF(recovery->image == EGD_STORE_NO_IMAGE, recovery->image),
      EGD_INTEGER(recovery->determinants),
      EGD_INTEGER(detected_ns),
  };
  for (unsigned i = EGD_RECOVERY_FENCED; i < EGD_RECOVERY_PHASES; i++)
    values[9 + i] = EGD_NULL_IF(times->at_ns[i] == 0, egd_recovery_since_detected(times, i));
  egd_store_write(store, EGD_FACT_RECOVERY, true, sizeof values / sizeof *values, values);
}

int64_t egd_store_event(struct egd_store *store, const char *job, const char *kind, int rank, int node,
                        const char *text, const char *json) {
  return EGD_WRITE(store, EGD_FACT_EVENT, false, EGD_TEXT(job), EGD_INTEGER(egd_store_now_ns()), EGD_TEXT(kind),
                   EGD_INTEGER(rank), EGD_INTEGER(node), EGD_TEXT(text), EGD_TEXT(json));
}

void egd_store_cleaned(struct egd_store *store, const char *job, uint64_t at_ns) {
  EGD_WRITE(store, EGD_FACT_CLEANED, true, EGD_TEXT(job), EGD_INTEGER(or_now(at_ns)));
}

void egd_store_forget(struct egd_store *store, const char *job) {
  for (int fact = EGD_FACT_FORGET_NODES; fact <= EGD_FACT_FORGET_EVENTS; fact++)
    EGD_WRITE(store, fact, false, EGD_TEXT(job));
  EGD_WRITE(store, EGD_FACT_FORGET_JOB, true, EGD_TEXT(job));
}
