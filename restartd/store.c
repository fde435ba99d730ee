// The file behind the history: opening, transactions, and what is done about trouble.
#include "restartd/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "restartd/journal.h"
#include "restartd/schema.h"
#include "restartd/store_private.h"

#define BATCH_NS 250000000ull // a write commits by itself what has been open for longer
#define BATCH_FACTS 256
#define BUSY_MS 500 // the controller waits here: far below the lease of an agent
#define REMEMBERED_MAX 24
#define FAILURES_MAX 256 // whose recoveries may still be recorded

struct shipped_failure {
  int64_t row, origin; // here; in the journal
};

struct egd_store {
  char *directory; // resolved
  char *path;
  sqlite3 *db; // NULL: no history
  sqlite3_stmt *statements[EGD_FACTS];
  const char *without;         // what a history that can't be used means
  struct egd_journal *journal; // gets every fact of a job once more; NULL: none
  struct shipped_failure failures[FAILURES_MAX];
  unsigned nfailures;
  bool synced;  // every commit is
  bool open;    // a transaction is
  bool no_room; // given up for want of disk space
  bool said_busy, said_odd, said_moved;
  unsigned facts; // in the open transaction
  uint64_t opened_ns;
  unsigned remembered;
  struct egd_value job[REMEMBERED_MAX]; // texts are owned
};

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
  char line[2 * PATH_MAX];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  fprintf(stderr, "egida: %s\n", line);
}

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
uint64_t egd_store_now_ns(void) {
  return clock_ns(CLOCK_REALTIME);
}

static bool is_damage(int rc) {
  return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

static void close_database(struct egd_store *store) {
  for (unsigned i = 0; i < EGD_FACTS; i++) sqlite3_finalize(store->statements[i]);
  memset(store->statements, 0, sizeof store->statements);
  sqlite3_close(store->db);
  store->db = NULL;
  store->open = false;
}

// The job goes on without history: say why, once, and what the user can do.
static void give_up(struct egd_store *store, int rc) {
  char reason[256];
  int error = store->db ? sqlite3_system_errno(store->db) : 0;
  snprintf(reason, sizeof reason, "%s", store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(rc));
  store->no_room = (rc & 0xff) == SQLITE_FULL || (rc & 0xff) == SQLITE_IOERR;
  close_database(store);
  if (store->no_room)
    say("%s can't be written (%s%s%s): %s; free some disk space", store->path, reason, error ? ": " : "",
        error ? strerror(error) : "", store->without);
  else
    say("%s can't be used (%s%s%s): %s; check the folder's permissions", store->path, reason, error ? ": " : "",
        error ? strerror(error) : "", store->without);
}

// A damaged history is kept for whoever wants to look at it, under the first free number, with its -wal and -shm: they
// belong to it and must not be applied to a new database.
static bool move_aside(struct egd_store *store) {
  static const char *const parts[] = {"", "-wal", "-shm"};
  char from[PATH_MAX], to[PATH_MAX];
  for (unsigned number = 1; number < 10000; number++) {
    struct stat status;
    if (snprintf(to, sizeof to, "%s.damaged-%u", store->path, number) >= (int)sizeof to) return false;
    if (lstat(to, &status) == 0) continue;
    for (unsigned i = 0; i < 3; i++) {
      snprintf(from, sizeof from, "%s%s", store->path, parts[i]);
      if (snprintf(to, sizeof to, "%s.damaged-%u%s", store->path, number, parts[i]) >= (int)sizeof to) return false;
      if (rename(from, to) != 0 && errno != ENOENT) {
        say("%s is damaged and can't be moved aside: %s; %s", from, strerror(errno), store->without);
        return false;
      }
    }
    say("%s was damaged; it is now %s.damaged-%u, and a new history begins", store->path, store->path, number);
    return true;
  }
  say("%s is damaged, and there are too many older ones; remove %s.damaged-*", store->path, store->path);
  return false;
}

// SQLITE_OK if the database's own check finds nothing wrong.
static int quick_check(sqlite3 *db) {
  sqlite3_stmt *statement;
  int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &statement, NULL);
  if (rc != SQLITE_OK) return rc;
  rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW) {
    const unsigned char *text = sqlite3_column_text(statement, 0);
    rc = text && strcmp((const char *)text, "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
  } else if (rc == SQLITE_DONE) {
    rc = SQLITE_CORRUPT;
  }
  sqlite3_finalize(statement);
  return rc;
}

static int set_synchronous(struct egd_store *store, bool full) {
  return sqlite3_exec(store->db, full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
}

static int open_database(struct egd_store *store) {
  // SQLite would create the file with the umask; it gives -wal and -shm the mode of the file.
  int fd = open(store->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  int rc =
      sqlite3_open_v2(store->path, &store->db,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc != SQLITE_OK) return rc;
  sqlite3_extended_result_codes(store->db, 1);
  sqlite3_busy_timeout(store->db, BUSY_MS);
  sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  rc = quick_check(store->db);
  int version = 0;
  if (rc == SQLITE_OK) rc = egd_schema_version(store->db, &version);
  if (rc != SQLITE_OK) return rc;
  if (version < 0 || version > EGD_SCHEMA_VERSION) {
    close_database(store);
    if (version < 0)
      say("%s is a database, but not a history of Egida: %s; move that file away", store->path, store->without);
    else
      say("%s was written by a newer Egida (version %d, this one knows %d): %s; "
          "use --dir for another folder",
          store->path, version, EGD_SCHEMA_VERSION, store->without);
    return SQLITE_OK;
  }
  // NORMAL: a commit costs no fsync; what must survive a power loss is committed with FULL.
  rc = sqlite3_exec(store->db, "PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 4194304;", NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = set_synchronous(store, store->synced);
  if (rc == SQLITE_OK) rc = egd_schema_migrate(store->db, EGD_SCHEMA_VERSION);
  return rc;
}

// Open; a damaged database is moved aside and a new one begins.
static void open_or_replace(struct egd_store *store) {
  int rc = open_database(store);
  if (is_damage(rc)) {
    close_database(store);
    if (!move_aside(store)) return;
    rc = open_database(store);
  }
  if (rc != SQLITE_OK) give_up(store, rc);
}

static struct egd_store *open_with(const char *dir, const char *without, bool synced) {
  struct egd_store *store = calloc(1, sizeof *store);
  if (!store) return NULL;
  store->without = without;
  store->synced = synced;
  // Resolved here: SQLITE_OPEN_NOFOLLOW refuses links anywhere in a path, and only the last part may be hostile.
  store->directory = realpath(dir, NULL);
  int error = errno;
  if (asprintf(&store->path, "%s/history.db", store->directory ? store->directory : dir) < 0) {
    free(store->directory);
    free(store);
    return NULL;
  }
  if (!store->directory)
    say("no history in %s: %s; %s", dir, strerror(error), store->without);
  else
    open_or_replace(store);
  return store;
}

struct egd_store *egd_store_open(const char *dir) {
  return open_with(dir, "the job goes on without history", false);
}
struct egd_store *egd_store_open_for_service(const char *dir) {
  return open_with(dir, "nothing is recorded until that is mended, jobs keep what they have to say", true);
}

void egd_store_reopen(struct egd_store *store) {
  if (store->db || !store->directory) return;
  store->said_moved = store->said_busy = store->said_odd = false;
  open_or_replace(store);
}

void egd_store_set_journal(struct egd_store *store, struct egd_journal *journal) {
  if (store) store->journal = journal;
}

static void forget_job(struct egd_store *store) {
  for (unsigned i = 0; i < store->remembered; i++) free((char *)store->job[i].text);
  store->remembered = 0;
}

void egd_store_close(struct egd_store *store) {
  if (!store) return;
  egd_store_flush(store);
  close_database(store);
  forget_job(store);
  free(store->path);
  free(store->directory);
  free(store);
}

bool egd_store_usable(const struct egd_store *store) {
  return store && store->db;
}
const char *egd_store_path(const struct egd_store *store) {
  return store ? store->path : "";
}

void egd_store_remember_job(struct egd_store *store, unsigned count, const struct egd_value *values) {
  forget_job(store);
  if (count > REMEMBERED_MAX) return;
  for (unsigned i = 0; i < count; i++) {
    store->job[i] = values[i];
    if (values[i].kind == EGD_VALUE_TEXT) store->job[i] = EGD_TEXT(strdup(values[i].text));
  }
  store->remembered = count;
}

static int run(struct egd_store *store, enum egd_fact fact, unsigned count, const struct egd_value *values) {
  sqlite3_stmt **statement = &store->statements[fact];
  int rc = SQLITE_OK;
  if (!*statement)
    rc = sqlite3_prepare_v3(store->db, egd_fact_forms[fact].sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
  for (unsigned i = 0; rc == SQLITE_OK && i < count; i++) {
    const struct egd_value *value = &values[i];
    if (value->kind == EGD_VALUE_INTEGER)
      rc = sqlite3_bind_int64(*statement, (int)i + 1, value->integer);
    else if (value->kind == EGD_VALUE_TEXT)
      rc = sqlite3_bind_text(*statement, (int)i + 1, value->text, -1, SQLITE_STATIC);
    else
      rc = sqlite3_bind_null(*statement, (int)i + 1);
  }
  if (rc != SQLITE_OK) return rc;
  while ((rc = sqlite3_step(*statement)) == SQLITE_ROW) continue;
  int reset = sqlite3_reset(*statement);
  sqlite3_clear_bindings(*statement);
  return rc == SQLITE_DONE ? SQLITE_OK : reset != SQLITE_OK ? reset : rc;
}

static int commit(struct egd_store *store) {
  if (!store->open) return SQLITE_OK;
  int rc = sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
  if (rc == SQLITE_OK) store->open = false;
  return rc;
}

static int begin(struct egd_store *store) {
  if (store->open) return SQLITE_OK;
  // IMMEDIATE: another writer is met here and not in the middle of a batch.
  int rc = sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  if (rc != SQLITE_OK) return rc;
  store->open = true;
  store->facts = 0;
  store->opened_ns = clock_ns(CLOCK_MONOTONIC);
  return SQLITE_OK;
}

static int write_once(struct egd_store *store, enum egd_fact fact, bool durable, unsigned count,
                      const struct egd_value *values, int64_t *ret_row) {
  int rc = SQLITE_OK;
  if (durable) {
    // `synchronous` can't change inside a transaction. The sync of the write-ahead log covers the older commits too.
    rc = commit(store);
    if (rc == SQLITE_OK) rc = set_synchronous(store, true);
  }
  if (rc == SQLITE_OK) rc = begin(store);
  if (rc == SQLITE_OK) rc = run(store, fact, count, values);
  if (rc == SQLITE_OK) {
    *ret_row = sqlite3_last_insert_rowid(store->db);
    store->facts++;
    if (durable || store->facts >= BATCH_FACTS || clock_ns(CLOCK_MONOTONIC) - store->opened_ns > BATCH_NS)
      rc = commit(store);
  }
  if (durable && (rc == SQLITE_OK || sqlite3_get_autocommit(store->db))) set_synchronous(store, store->synced);
  return rc;
}

// What SQLite reported while it wrote. Returns true if the write is worth another try.
static bool handle_trouble(struct egd_store *store, int rc) {
  if (is_damage(rc)) {
    close_database(store);
    if (store->said_moved) { // twice in one job: the disk is at fault
      say("%s was damaged again: %s; check the disk", store->path, store->without);
      return false;
    }
    store->said_moved = true;
    if (!move_aside(store)) return false;
    rc = open_database(store);
    int64_t row;
    if (rc == SQLITE_OK && store->db && store->remembered)
      rc = write_once(store, EGD_FACT_JOB_BEGIN, true, store->remembered, store->job, &row);
    if (rc != SQLITE_OK) give_up(store, rc);
    return store->db != NULL;
  }
  if (sqlite3_get_autocommit(store->db)) store->open = false; // SQLite rolled back by itself
  switch (rc & 0xff) {
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    if (!store->said_busy)
      say("%s is locked by another process: some facts are missing in the history; see who has it open (fuser)",
          store->path);
    store->said_busy = true;
    break;
  case SQLITE_FULL:
  case SQLITE_IOERR:
  case SQLITE_CANTOPEN:
  case SQLITE_READONLY:
  case SQLITE_PERM:
  case SQLITE_NOMEM:
    give_up(store, rc);
    return false;
  default:
    if (!store->said_odd) say("%s: a fact could not be recorded: %s", store->path, sqlite3_errmsg(store->db));
    store->said_odd = true;
    break;
  }
  set_synchronous(store, store->synced);
  return false;
}

static int64_t write_own(struct egd_store *store, enum egd_fact fact, bool durable, unsigned count,
                         const struct egd_value *values) {
  for (unsigned attempt = 0; attempt < 2; attempt++) {
    if (!egd_store_usable(store)) return 0;
    int64_t row = 0;
    int rc = write_once(store, fact, durable, count, values, &row);
    if (rc == SQLITE_OK) return row;
    if (!handle_trouble(store, rc)) return 0;
  }
  return 0;
}

// Into the journal, where failures go by the numbers of their records. Returns such a number.
static int64_t ship(struct egd_store *store, enum egd_fact fact, bool durable, unsigned count,
                    const struct egd_value *values) {
  struct egd_value shipped[REMEMBERED_MAX];
  if (!egd_fact_forms[fact].values || values[0].kind != EGD_VALUE_TEXT) return 0;
  memcpy(shipped, values, count * sizeof *values);
  int64_t number = (int64_t)egd_journal_next(store->journal);
  if (fact == EGD_FACT_FAILURE) shipped[EGD_FAILURE_ORIGIN] = EGD_INTEGER(number);
  if (fact == EGD_FACT_RECOVERY) {
    shipped[EGD_RECOVERY_FAILURE] = EGD_NULL_IF(true, 0);
    for (unsigned i = 0; i < FAILURES_MAX; i++)
      if (store->failures[i].row && store->failures[i].row == values[EGD_RECOVERY_FAILURE].integer)
        shipped[EGD_RECOVERY_FAILURE] = EGD_INTEGER(store->failures[i].origin);
  }
  egd_journal_append(store->journal, fact, durable, count, shipped);
  return number;
}

int64_t egd_store_write(struct egd_store *store, enum egd_fact fact, bool durable, unsigned count,
                        const struct egd_value *values) {
  if (!store) return 0;
  // The journal first: what a killed owner has in its history, the service gets too.
  int64_t origin = store->journal ? ship(store, fact, durable, count, values) : 0;
  int64_t row = write_own(store, fact, durable, count, values);
  if (origin && fact == EGD_FACT_FAILURE) {
    struct shipped_failure *failure = &store->failures[store->nfailures++ % FAILURES_MAX];
    *failure = (struct shipped_failure){row, origin};
  }
  return row;
}

sqlite3 *egd_store_database(const struct egd_store *store) {
  return store ? store->db : NULL;
}

int egd_store_run(struct egd_store *store, enum egd_fact fact, unsigned count, const struct egd_value *values) {
  int rc = begin(store);
  return rc == SQLITE_OK ? run(store, fact, count, values) : rc;
}

void egd_store_abandon(struct egd_store *store, int rc) {
  handle_trouble(store, rc);
  if (store->db && !sqlite3_get_autocommit(store->db)) sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
  store->open = false;
}

int egd_store_commit(struct egd_store *store) {
  int rc = commit(store);
  if (rc != SQLITE_OK) egd_store_abandon(store, rc);
  return rc;
}

void egd_store_flush(struct egd_store *store) {
  if (!egd_store_usable(store)) return;
  int rc = commit(store);
  if (rc != SQLITE_OK) handle_trouble(store, rc);
}

void egd_store_try_again(struct egd_store *store) {
  if (!store || store->db || !store->no_room) return;
  store->no_room = false;
  int rc = open_database(store);
  int64_t row;
  if (rc == SQLITE_OK && store->db && store->remembered)
    rc = write_once(store, EGD_FACT_JOB_BEGIN, true, store->remembered, store->job, &row);
  if (rc != SQLITE_OK) { // said already
    store->no_room = true;
    close_database(store);
  }
}
