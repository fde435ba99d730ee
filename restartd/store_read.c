#include "restartd/store_read.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/status.h"
#include "restartd/schema.h"
#include "restartd/store.h"
#include "restartd/store_process.h"

#define BUSY_MS 3000

struct egd_history {
  sqlite3 *db;
  char *path;
};

const char *egd_history_state_name(enum egd_history_state state) {
  static const char *const names[] = {"COMPLETED", "FAILED",  "VERDICT",     "CANCELLED", "SUSPENDED",
                                      "STARTING",  "RUNNING", "INTERRUPTED", "ELSEWHERE"};
  return (unsigned)state < sizeof names / sizeof *names ? names[state] : "UNKNOWN";
}

static int complain(const char *path, int rc, const char *reason) {
  int kind = rc & 0xff;
  if (kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB) {
    fprintf(stderr, "egida: %s is damaged (%s); the next 'egida run' moves it aside and begins a new history\n", path,
            reason);
    return EGD_ERR_CORRUPT;
  }
  if (kind == SQLITE_BUSY || kind == SQLITE_LOCKED)
    fprintf(stderr, "egida: %s is locked by another process; try again, or see who has it open (fuser)\n", path);
  else
    fprintf(stderr, "egida: %s can't be read: %s; check the folder's permissions\n", path, reason);
  return EGD_ERR_IO;
}

// Open and read something: SQLite touches the file only then.
static int open_read_only(const char *path, const char *suffix, sqlite3 **ret_db) {
  char uri[3 * PATH_MAX + 32], *at = uri;
  at = stpcpy(at, "file:");
  for (const char *byte = path; *byte && at < uri + 3 * PATH_MAX; byte++) {
    if (strchr("%?#", *byte))
      at += sprintf(at, "%%%02X", (unsigned char)*byte);
    else
      *at++ = *byte;
  }
  strcpy(at, suffix);
  int rc = sqlite3_open_v2(uri, ret_db,
                           SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc != SQLITE_OK) return rc;
  sqlite3_busy_timeout(*ret_db, BUSY_MS);
  sqlite3_db_config(*ret_db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  return sqlite3_exec(*ret_db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
}

static int open_at(const char *path, sqlite3 **ret_db) {
  int rc = open_read_only(path, "", ret_db);
  int kind = rc & 0xff;
  if (kind == SQLITE_CANTOPEN || kind == SQLITE_READONLY) {
    // In a folder that can't be written (an archive) the index of the write-ahead log can't be made. Without such a log
    // the file alone is the whole truth.
    char log[PATH_MAX];
    struct stat status;
    snprintf(log, sizeof log, "%s-wal", path);
    if (stat(log, &status) != 0 || status.st_size == 0) {
      sqlite3_close(*ret_db);
      rc = open_read_only(path, "?immutable=1", ret_db);
    }
  }
  return rc;
}

int egd_history_open(const char *dir, struct egd_history **ret_history) {
  char *directory = realpath(dir, NULL);
  char *path = NULL;
  struct stat status;
  if (!directory || asprintf(&path, "%s/history.db", directory) < 0 || lstat(path, &status) != 0) {
    int error = errno;
    fprintf(stderr, "egida: no history in %s: %s; jobs are recorded there by 'egida run', --dir names another folder\n",
            dir, error == ENOENT ? "no job ran here yet" : strerror(error));
    free(directory);
    free(path);
    return EGD_ERR_NOT_FOUND;
  }
  sqlite3 *db = NULL;
  int version = 0;
  int rc = open_at(path, &db);
  if (rc == SQLITE_OK) rc = egd_schema_version(db, &version);
  if (rc == SQLITE_OK && version >= 0 && version < EGD_SCHEMA_VERSION) {
    sqlite3_close(db);
    db = NULL;
    egd_store_close(egd_store_open(directory));
    rc = open_at(path, &db);
    if (rc == SQLITE_OK) rc = egd_schema_version(db, &version);
  }
  // One transaction for all: what is printed belongs together.
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
  int result = EGD_OK;
  if (rc != SQLITE_OK) {
    result = complain(path, rc, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
  } else if (version != EGD_SCHEMA_VERSION) {
    fprintf(stderr, "egida: %s is %s (version %d, this Egida reads %d); use --dir for another folder\n", path,
            version < 0                    ? "not a history of Egida"
            : version > EGD_SCHEMA_VERSION ? "of a newer Egida"
                                           : "of an older Egida and can't be brought up to date",
            version, EGD_SCHEMA_VERSION);
    result = EGD_ERR_VERSION;
  }
  struct egd_history *history = result == EGD_OK ? calloc(1, sizeof *history) : NULL;
  if (history) {
    history->db = db;
    history->path = path;
    *ret_history = history;
  } else {
    sqlite3_close(db);
    free(path);
  }
  free(directory);
  return result == EGD_OK && !history ? EGD_ERR_NO_MEMORY : result;
}

void egd_history_close(struct egd_history *history) {
  if (!history) return;
  sqlite3_close(history->db);
  free(history->path);
  free(history);
}

static int prepare(struct egd_history *history, const char *sql, const char *job, sqlite3_stmt **ret_statement) {
  int rc = sqlite3_prepare_v2(history->db, sql, -1, ret_statement, NULL);
  if (rc == SQLITE_OK && sqlite3_bind_parameter_count(*ret_statement) > 0)
    rc = job ? sqlite3_bind_text(*ret_statement, 1, job, -1, SQLITE_TRANSIENT) : sqlite3_bind_null(*ret_statement, 1);
  return rc == SQLITE_OK ? EGD_OK : complain(history->path, rc, sqlite3_errmsg(history->db));
}
static int finish(struct egd_history *history, sqlite3_stmt *statement, int rc) {
  int result = EGD_OK;
  if (rc != SQLITE_DONE && rc != SQLITE_ROW) result = complain(history->path, rc, sqlite3_errmsg(history->db));
  sqlite3_finalize(statement);
  return result;
}

// Columns are taken in the order of the SELECT.
struct cursor {
  sqlite3_stmt *statement;
  int column;
};
static const char *text(struct cursor *cursor) {
  return (const char *)sqlite3_column_text(cursor->statement, cursor->column++);
}
static int64_t number(struct cursor *cursor) {
  int column = cursor->column++;
  return sqlite3_column_type(cursor->statement, column) == SQLITE_NULL
             ? -1
             : sqlite3_column_int64(cursor->statement, column);
}
static uint64_t amount(struct cursor *cursor) { // 0 = not known
  return (uint64_t)sqlite3_column_int64(cursor->statement, cursor->column++);
}

int egd_history_jobs(struct egd_history *history, const char *job, unsigned limit,
                     bool (*row)(void *arg, const struct egd_history_job *job), void *arg) {
  static const char sql[] =
      "SELECT id, argv, spec_name, spec_hash, user, cwd, job_dir, verdict, launcher_host, launcher_boot, outcome,"
      " launcher_start, nranks, nodes, spares, exit_code, launcher_pid, resumes, begun_ns, started_ns, ended_ns,"
      " cleaned_ns,"
      " (SELECT count(DISTINCT rank) FROM ranks WHERE job = j.id AND ended_ns IS NULL),"
      " (SELECT count(*) FROM nodes WHERE job = j.id AND lost_ns IS NOT NULL),"
      " (SELECT count(*) FROM failures WHERE job = j.id),"
      " (SELECT count(*) FROM recoveries WHERE job = j.id AND replayed_after_ns IS NOT NULL),"
      " (SELECT count(*) FROM checkpoints WHERE job = j.id AND durable),"
      " (SELECT count(*) FROM events WHERE job = j.id),"
      " (SELECT min(newest) FROM (SELECT max(at_ns) AS newest FROM checkpoints WHERE job = j.id AND durable"
      "  GROUP BY rank)),"
      " (SELECT sum(bytes) FROM checkpoints WHERE job = j.id AND durable),"
      " (SELECT sum(bytes) FROM logs WHERE job = j.id)"
      " FROM jobs AS j WHERE ?1 IS NULL OR id = ?1 ORDER BY begun_ns DESC, id DESC LIMIT ?2";
  sqlite3_stmt *statement = NULL;
  int result = prepare(history, sql, job, &statement);
  if (result != EGD_OK) return result;
  sqlite3_bind_int64(statement, 2, limit ? (int64_t)limit : -1);
  int rc;
  while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
    struct cursor at = {statement, 0};
    struct egd_store_process launcher = {0};
    struct egd_history_job found = {0};
    found.id = text(&at);
    found.argv = text(&at);
    found.spec_name = text(&at);
    found.spec_hash = text(&at);
    found.user = text(&at);
    found.cwd = text(&at);
    found.job_dir = text(&at);
    found.verdict = text(&at);
    found.launcher_host = text(&at);
    const char *boot = text(&at);
    snprintf(launcher.host, sizeof launcher.host, "%s", found.launcher_host ? found.launcher_host : "");
    snprintf(launcher.boot, sizeof launcher.boot, "%s", boot ? boot : "");
    int64_t outcome = number(&at);
    launcher.start = number(&at);
    found.nranks = number(&at);
    found.nodes = number(&at);
    found.spares = number(&at);
    found.exit_code = number(&at);
    found.launcher_pid = launcher.pid = number(&at);
    found.resumes = number(&at);
    found.begun_ns = amount(&at);
    found.started_ns = amount(&at);
    found.ended_ns = amount(&at);
    found.cleaned_ns = amount(&at);
    found.ranks_up = number(&at);
    found.nodes_lost = number(&at);
    found.failures = number(&at);
    found.recoveries = number(&at);
    found.images = number(&at);
    found.events = number(&at);
    found.image_ns = amount(&at);
    found.image_bytes = amount(&at);
    found.log_bytes = amount(&at);
    if (outcome >= 0) {
      found.state = (enum egd_history_state)outcome;
    } else if (launcher.pid <= 0) { // recorded before launchers were
      found.state = EGD_HISTORY_INTERRUPTED;
    } else {
      enum egd_store_life life = egd_store_process_life(&launcher);
      found.state = life == EGD_STORE_ELSEWHERE ? EGD_HISTORY_ELSEWHERE
                    : life == EGD_STORE_DEAD    ? EGD_HISTORY_INTERRUPTED
                    : found.started_ns          ? EGD_HISTORY_RUNNING
                                                : EGD_HISTORY_STARTING;
    }
    found.live = found.state == EGD_HISTORY_STARTING || found.state == EGD_HISTORY_RUNNING;
    if (!found.live && found.state != EGD_HISTORY_ELSEWHERE) found.ranks_up = 0;
    if (!row(arg, &found)) break;
  }
  return finish(history, statement, rc);
}

int egd_history_find(struct egd_history *history, const char *name, char *ret_id, size_t size) {
  // An id beats a part of one, whichever is newer.
  static const char sql[] = "SELECT id, id = ?1 FROM jobs WHERE ?1 IS NULL OR id = ?1 OR substr(id, 1, length(?1)) = ?1"
                            " OR substr(id, -length(?1)) = ?1 ORDER BY id = ?1 DESC, begun_ns DESC, id DESC LIMIT 2";
  if (name && !*name) return EGD_ERR_NOT_FOUND;
  sqlite3_stmt *statement = NULL;
  int result = prepare(history, sql, name, &statement);
  if (result != EGD_OK) return result;
  int rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW) {
    snprintf(ret_id, size, "%s", (const char *)sqlite3_column_text(statement, 0));
    if (name && !sqlite3_column_int(statement, 1) && (rc = sqlite3_step(statement)) == SQLITE_ROW)
      result = EGD_ERR_EXISTS;
  } else if (rc == SQLITE_DONE) {
    result = EGD_ERR_NOT_FOUND;
  }
  int finished = finish(history, statement, rc);
  return finished == EGD_OK ? result : finished;
}

int egd_history_ranks(struct egd_history *history, const char *job, bool all,
                      bool (*row)(void *arg, const struct egd_history_rank *rank), void *arg) {
  static const char sql[] =
      "SELECT r.rank, r.birth, r.incarnation, r.node, r.pid, r.image, r.started_ns, r.ended_ns, r.wait_status,"
      " (SELECT count(*) FROM failures WHERE job = r.job AND rank = r.rank),"
      " (SELECT count(*) FROM recoveries WHERE job = r.job AND rank = r.rank AND replayed_after_ns IS NOT NULL),"
      " (SELECT count(*) FROM checkpoints WHERE job = r.job AND rank = r.rank AND durable),"
      " c.number, c.bytes, c.at_ns, l.bytes, l.spilled, l.peak, v.replayed_after_ns, v.determinants"
      " FROM ranks AS r"
      " LEFT JOIN checkpoints AS c ON c.job = r.job AND c.rank = r.rank AND c.number ="
      "  (SELECT number FROM checkpoints WHERE job = r.job AND rank = r.rank AND durable"
      "   ORDER BY at_ns DESC, number DESC LIMIT 1)"
      " LEFT JOIN logs AS l ON l.job = r.job AND l.rank = r.rank"
      " LEFT JOIN recoveries AS v ON v.job = r.job AND v.rank = r.rank AND v.birth = r.birth"
      "  AND v.incarnation = r.incarnation"
      " WHERE r.job = ?1 AND (?2 OR (r.birth, r.incarnation) = (SELECT birth, incarnation FROM ranks"
      "  WHERE job = r.job AND rank = r.rank ORDER BY birth DESC, incarnation DESC LIMIT 1))"
      " ORDER BY r.rank, r.birth, r.incarnation";
  sqlite3_stmt *statement = NULL;
  int result = prepare(history, sql, job, &statement);
  if (result != EGD_OK) return result;
  sqlite3_bind_int(statement, 2, all);
  int rc;
  while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
    struct cursor at = {statement, 0};
    struct egd_history_rank found;
    found.rank = number(&at);
    found.birth = number(&at);
    found.incarnation = number(&at);
    found.node = number(&at);
    found.pid = number(&at);
    found.image = number(&at);
    found.started_ns = amount(&at);
    found.ended_ns = amount(&at);
    found.wait_status = number(&at);
    found.failures = number(&at);
    found.recoveries = number(&at);
    found.images = number(&at);
    found.image_number = number(&at);
    found.image_bytes = number(&at);
    found.image_ns = amount(&at);
    found.log_bytes = number(&at);
    found.log_spilled = number(&at);
    found.log_peak = number(&at);
    found.recovery_ns = number(&at);
    found.determinants = number(&at);
    if (!row(arg, &found)) break;
  }
  return finish(history, statement, rc);
}

int egd_history_checkpoints(struct egd_history *history, const char *job,
                            bool (*row)(void *arg, const struct egd_history_checkpoint *checkpoint), void *arg) {
  sqlite3_stmt *statement = NULL;
  int result = prepare(history,
                       "SELECT rank, number, bytes, stall_ns, write_ns, durable, at_ns FROM checkpoints WHERE job = ?1"
                       " ORDER BY rank, number",
                       job, &statement);
  if (result != EGD_OK) return result;
  int rc;
  while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
    struct cursor at = {statement, 0};
    struct egd_history_checkpoint found;
    found.rank = number(&at);
    found.number = number(&at);
    found.bytes = number(&at);
    found.stall_ns = number(&at);
    found.write_ns = number(&at);
    found.durable = number(&at) > 0;
    found.at_ns = amount(&at);
    if (!row(arg, &found)) break;
  }
  return finish(history, statement, rc);
}

int egd_history_failures(struct egd_history *history, const char *job,
                         bool (*row)(void *arg, const struct egd_history_failure *failure), void *arg) {
  sqlite3_stmt *statement = NULL;
  int result = prepare(history,
                       "SELECT id, rank, node, incarnation, signal, exit_code, injected, cause, detected_ns"
                       " FROM failures WHERE job = ?1 ORDER BY id",
                       job, &statement);
  if (result != EGD_OK) return result;
  int rc;
  while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
    struct cursor at = {statement, 0};
    struct egd_history_failure found;
    found.id = number(&at);
    found.rank = number(&at);
    found.node = number(&at);
    found.incarnation = number(&at);
    found.signal = number(&at);
    found.exit_code = number(&at);
    found.injected = number(&at) > 0;
    found.cause = text(&at);
    found.detected_ns = amount(&at);
    if (!row(arg, &found)) break;
  }
  return finish(history, statement, rc);
}

int egd_history_recoveries(struct egd_history *history, const char *job,
                           bool (*row)(void *arg, const struct egd_history_recovery *recovery), void *arg) {
  sqlite3_stmt *statement = NULL;
  int result = prepare(history,
                       "SELECT failure, rank, birth, incarnation, from_node, node, image, determinants, detected_ns,"
                       " fenced_after_ns, respawned_after_ns, restored_after_ns, replayed_after_ns, caught_up_after_ns,"
                       " rereplicated_after_ns FROM recoveries WHERE job = ?1 ORDER BY detected_ns, rank",
                       job, &statement);
  if (result != EGD_OK) return result;
  int rc;
  while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
    struct cursor at = {statement, 0};
    struct egd_history_recovery found;
    found.failure = number(&at);
    found.rank = number(&at);
    found.birth = number(&at);
    found.incarnation = number(&at);
    found.from_node = number(&at);
    found.node = number(&at);
    found.image = number(&at);
    found.determinants = number(&at);
    found.detected_ns = amount(&at);
    found.after_ns[EGD_RECOVERY_DETECTED] = 0;
    for (unsigned i = EGD_RECOVERY_FENCED; i < EGD_RECOVERY_PHASES; i++) found.after_ns[i] = number(&at);
    if (!row(arg, &found)) break;
  }
  return finish(history, statement, rc);
}

int egd_history_events(struct egd_history *history, const struct egd_history_event_filter *filter,
                       bool (*row)(void *arg, const struct egd_history_event *event), void *arg) {
  sqlite3_stmt *statement = NULL;
  int result = prepare(history,
                       "SELECT * FROM (SELECT seq, job, kind, text, json, at_ns, rank, node FROM events"
                       " WHERE (?1 IS NULL OR job = ?1) AND seq > ?2 AND (?4 < 0 OR rank = ?4)"
                       " AND (?5 IS NULL OR kind = ?5) ORDER BY seq DESC LIMIT ?3) ORDER BY seq",
                       filter->job, &statement);
  if (result != EGD_OK) return result;
  sqlite3_bind_int64(statement, 2, filter->after);
  sqlite3_bind_int64(statement, 3, filter->last ? (int64_t)filter->last : -1);
  sqlite3_bind_int64(statement, 4, filter->rank);
  if (filter->kind) sqlite3_bind_text(statement, 5, filter->kind, -1, SQLITE_TRANSIENT);
  int rc;
  while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
    struct cursor at = {statement, 0};
    struct egd_history_event found;
    found.seq = number(&at);
    found.job = text(&at);
    found.kind = text(&at);
    found.text = text(&at);
    found.json = text(&at);
    found.at_ns = amount(&at);
    found.rank = number(&at);
    found.node = number(&at);
    if (!row(arg, &found)) break;
  }
  return finish(history, statement, rc);
}
