#include "restartd/schema.h"

#include <stddef.h>

// Step i makes version i + 1 of version i. A released step never changes; a new column is a new step.
// Times are nanoseconds since 1970; _after_ns counts from detected_ns. Unknown ranks and nodes are -1.
static const char *const steps[EGD_SCHEMA_VERSION] = {
    // 1
    "CREATE TABLE jobs ("
    " id TEXT PRIMARY KEY NOT NULL, argv TEXT, spec_name TEXT, spec_hash TEXT, nranks INTEGER, nodes INTEGER,"
    " spares INTEGER, user TEXT, cwd TEXT, job_dir TEXT, begun_ns INTEGER, started_ns INTEGER, ended_ns INTEGER,"
    " outcome INTEGER, exit_code INTEGER, verdict TEXT);"
    "CREATE INDEX jobs_by_time ON jobs (begun_ns);"
    "CREATE TABLE nodes ("
    " job TEXT NOT NULL, node INTEGER NOT NULL, incarnation INTEGER NOT NULL, address TEXT, agent_pid INTEGER,"
    " spare INTEGER, up_ns INTEGER, lost_ns INTEGER, why TEXT, PRIMARY KEY (job, node, incarnation)) WITHOUT ROWID;"
    "CREATE TABLE ranks ("
    " job TEXT NOT NULL, rank INTEGER NOT NULL, birth INTEGER NOT NULL, incarnation INTEGER NOT NULL, node INTEGER,"
    " pid INTEGER, image INTEGER, started_ns INTEGER, ended_ns INTEGER, wait_status INTEGER,"
    " PRIMARY KEY (job, rank, birth, incarnation)) WITHOUT ROWID;"
    "CREATE TABLE checkpoints ("
    " job TEXT NOT NULL, rank INTEGER NOT NULL, number INTEGER NOT NULL, bytes INTEGER, stall_ns INTEGER,"
    " write_ns INTEGER, durable INTEGER, at_ns INTEGER, PRIMARY KEY (job, rank, number)) WITHOUT ROWID;"
    "CREATE TABLE logs ("
    " job TEXT NOT NULL, rank INTEGER NOT NULL, bytes INTEGER, spilled INTEGER, peak INTEGER, at_ns INTEGER,"
    " PRIMARY KEY (job, rank)) WITHOUT ROWID;"
    "CREATE TABLE failures ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, rank INTEGER, node INTEGER, incarnation INTEGER,"
    " signal INTEGER, exit_code INTEGER, injected INTEGER, cause TEXT, detected_ns INTEGER);"
    "CREATE INDEX failures_by_job ON failures (job);"
    "CREATE TABLE recoveries ("
    " job TEXT NOT NULL, rank INTEGER NOT NULL, birth INTEGER NOT NULL, incarnation INTEGER NOT NULL, failure INTEGER,"
    " from_node INTEGER, node INTEGER, image INTEGER, determinants INTEGER, detected_ns INTEGER,"
    " fenced_after_ns INTEGER, respawned_after_ns INTEGER, restored_after_ns INTEGER, replayed_after_ns INTEGER,"
    " caught_up_after_ns INTEGER, rereplicated_after_ns INTEGER,"
    " PRIMARY KEY (job, rank, birth, incarnation)) WITHOUT ROWID;"
    // AUTOINCREMENT: a sequence number is never used twice, also after rows were deleted.
    "CREATE TABLE events ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT, at_ns INTEGER, kind TEXT NOT NULL, rank INTEGER,"
    " node INTEGER, text TEXT, json TEXT);"
    "CREATE INDEX events_by_job ON events (job);",

    // 2: who runs a job (its end may be missing because it runs, or because its launcher was killed), and what clean
    // did
    "ALTER TABLE jobs ADD COLUMN launcher_pid INTEGER;"
    "ALTER TABLE jobs ADD COLUMN launcher_start INTEGER;"
    "ALTER TABLE jobs ADD COLUMN launcher_host TEXT;"
    "ALTER TABLE jobs ADD COLUMN launcher_boot TEXT;"
    "ALTER TABLE jobs ADD COLUMN resumes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE jobs ADD COLUMN cleaned_ns INTEGER;",

    // 3: the history of the cluster's service, which others send
    "CREATE TABLE journals (job TEXT PRIMARY KEY NOT NULL, uid INTEGER NOT NULL, applied INTEGER NOT NULL) WITHOUT "
    "ROWID;"
    "ALTER TABLE failures ADD COLUMN origin INTEGER;",
};

static int pragma_integer(sqlite3 *db, const char *sql, int *ret_value) {
  sqlite3_stmt *statement;
  int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  if (rc != SQLITE_OK) return rc;
  rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW) *ret_value = sqlite3_column_int(statement, 0);
  int finalized = sqlite3_finalize(statement);
  if (rc == SQLITE_ROW) return SQLITE_OK;
  return finalized == SQLITE_OK ? SQLITE_ERROR : finalized;
}

int egd_schema_version(sqlite3 *db, int *ret_version) {
  int application = 0, version = 0, objects = 0;
  int rc = pragma_integer(db, "PRAGMA application_id", &application);
  if (rc == SQLITE_OK) rc = pragma_integer(db, "PRAGMA user_version", &version);
  if (rc == SQLITE_OK) rc = pragma_integer(db, "SELECT count(*) FROM sqlite_schema", &objects);
  if (rc != SQLITE_OK) return rc;
  if (application == EGD_SCHEMA_APPLICATION_ID)
    *ret_version = version;
  else
    *ret_version = application == 0 && version == 0 && objects == 0 ? 0 : -1;
  return SQLITE_OK;
}

int egd_schema_migrate(sqlite3 *db, int version) {
  int now = 0;
  int rc = egd_schema_version(db, &now);
  if (rc != SQLITE_OK || now >= version) return rc;
  rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  // Another process may have done it while this one waited for the lock.
  if (rc == SQLITE_OK) rc = egd_schema_version(db, &now);
  for (; rc == SQLITE_OK && now >= 0 && now < version; now++) {
    rc = sqlite3_exec(db, steps[now], NULL, NULL, NULL);
    if (rc != SQLITE_OK) break;
    char pragmas[96];
    sqlite3_snprintf(sizeof pragmas, pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
                     EGD_SCHEMA_APPLICATION_ID, now + 1);
    rc = sqlite3_exec(db, pragmas, NULL, NULL, NULL);
  }
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
  if (rc != SQLITE_OK && !sqlite3_get_autocommit(db)) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return rc;
}
