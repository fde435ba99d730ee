// The history store: facts, trouble, crashes, migrations.
#include "restartd/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "restartd/schema.h"
#include "tests/unit/tap_store.h"

static char folder[PATH_MAX], errors[PATH_MAX + 16];
static int real_stderr;

// What the store says goes to a file, so that the tests can read it.
static void catch_stderr(void) {
  int fd = open(errors, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
  dup2(fd, 2);
  close(fd);
}
static unsigned said(const char *text) {
  static char all[65536];
  FILE *file = fopen(errors, "r");
  size_t length = file ? fread(all, 1, sizeof all - 1, file) : 0;
  if (file) fclose(file);
  all[length] = '\0';
  unsigned count = 0;
  for (const char *at = all; (at = strstr(at, text)); at++) count++;
  return count;
}
static void forget_stderr(void) {
  ok(truncate(errors, 0) == 0, "(messages forgotten)");
}

static void empty_folder(void) {
  DIR *dir = opendir(folder);
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (entry->d_name[0] != '.' && strcmp(entry->d_name, "errors") != 0) unlink(path);
  }
  closedir(dir);
  truncate(errors, 0) == 0 ? (void)0 : (void)perror(errors);
}
static char *in_folder(const char *name) {
  static char path[2 * PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}
static bool exists(const char *name) {
  return access(in_folder(name), F_OK) == 0;
}

static int64_t ask(const char *sql) {
  sqlite3 *db;
  sqlite3_stmt *statement = NULL;
  int64_t value = -99;
  if (sqlite3_open_v2(in_folder("history.db"), &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK) {
    sqlite3_busy_timeout(db, 3000);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
      value = sqlite3_column_int64(statement, 0);
    else
      printf("# %s: %s\n", sql, sqlite3_errmsg(db));
    sqlite3_finalize(statement);
  }
  sqlite3_close(db);
  return value;
}

static char *const arguments[] = {"./app", "-x", "a \"b\"", "\xff\n", NULL};
static struct egd_store_job job = {
    .id = "20261121-120102-abcd",
    .argc = 4,
    .argv = arguments,
    .spec_name = "pessimistic.egd",
    .spec_hash = 0xfedcba9876543210,
    .nranks = 4,
    .nodes = 2,
    .spares = 1,
    .user = "ada",
    .cwd = "/home/ada",
    .job_dir = "/home/ada/.egida/jobs/20261121-120102-abcd",
};

static void test_facts(void) {
  struct egd_store *store = egd_store_open(folder);
  ok(egd_store_usable(store), "a new history is usable");
  struct stat status;
  ok(stat(egd_store_path(store), &status) == 0 && (status.st_mode & 0777) == 0600, "the file is private");
  egd_store_job_begin(store, &job);
  ok(ask("SELECT count(*) FROM jobs") == 1, "the begin of a job is visible at once");
  ok(ask("SELECT argv = '[\"./app\",\"-x\",\"a \\\"b\\\"\",\"\xc3\xbf\\n\"]' FROM jobs") == 1, "arguments are JSON");
  ok(ask("SELECT spec_hash = 'fedcba9876543210' FROM jobs") == 1, "all bits of the hash are kept");
  ok(ask("SELECT launcher_pid FROM jobs") == getpid(), "the launcher is recorded");
  egd_store_node_up(store, job.id, 0, 0, "127.0.0.1:4711", 99, false, 0);
  for (int rank = 0; rank < 4; rank++)
    egd_store_rank_start(store, job.id, rank, 0, 0, rank / 2, 100 + rank, EGD_STORE_NO_IMAGE, 5);
  egd_store_job_started(store, job.id, 0);
  egd_store_checkpoint(store, job.id, 2, 1, 5000, 100, 200, false, 0);
  egd_store_checkpoint(store, job.id, 2, 1, 5000, 100, 300, true, 0);
  egd_store_log(store, job.id, 2, 10, 0, 50, 0);
  egd_store_log(store, job.id, 2, 8, 0, 20, 0);
  int64_t one = egd_store_event(store, job.id, "job-started", -1, -1, "4 ranks", NULL);
  int64_t two = egd_store_event(store, job.id, "rank-killed", 2, 1, "rank 2 killed", "{\"signal\":9}");
  ok(one > 0 && two == one + 1, "events are numbered (%lld, %lld)", (long long)one, (long long)two);
  ok(ask("SELECT count(*) FROM events") == 0, "facts wait in the batch");
  egd_store_flush(store);
  ok(ask("SELECT count(*) FROM events") == 2, "a flush shows them");
  ok(ask("SELECT write_ns FROM checkpoints WHERE durable") == 300, "a checkpoint has one row");
  ok(ask("SELECT peak * 100 + bytes FROM logs") == 5008, "the log's peak stays");
  ok(ask("SELECT count(*) FROM ranks WHERE image IS NULL AND ended_ns IS NULL") == 4, "ranks run, from no image");

  egd_store_event(store, job.id, "before", -1, -1, NULL, NULL);
  struct egd_store_failure failure = {
      .job = job.id, .rank = 2, .node = 1, .signal = 9, .exit_code = -1, .injected = true};
  int64_t number = egd_store_failure(store, &failure);
  ok(number > 0 && ask("SELECT signal FROM failures WHERE exit_code IS NULL") == 9, "a failure is durable at once");
  ok(ask("SELECT count(*) FROM events") == 3, "and what was said before it");
  egd_store_rank_end(store, job.id, 2, 0, 0, 9, 0);
  egd_store_rank_start(store, job.id, 2, 0, 1, 1, 222, 1, 0);
  struct egd_store_recovery recovery = {.job = job.id,
                                        .failure = number,
                                        .rank = 2,
                                        .incarnation = 1,
                                        .from_node = 1,
                                        .node = 1,
                                        .image = 1,
                                        .determinants = 3211};
  egd_recovery_mark(&recovery.times, EGD_RECOVERY_DETECTED, 0);
  uint64_t detected = recovery.times.at_ns[EGD_RECOVERY_DETECTED];
  egd_recovery_mark(&recovery.times, EGD_RECOVERY_RESPAWNED, detected + 10);
  egd_store_recovery(store, &recovery);
  egd_recovery_mark(&recovery.times, EGD_RECOVERY_RESTORED, detected + 100);
  egd_recovery_mark(&recovery.times, EGD_RECOVERY_REPLAYED, detected + 1000);
  egd_store_recovery(store, &recovery);
  ok(ask("SELECT count(*) FROM recoveries") == 1, "a recovery that is told again stays one");
  ok(ask("SELECT respawned_after_ns + restored_after_ns + replayed_after_ns FROM recoveries WHERE fenced_after_ns IS "
         "NULL AND caught_up_after_ns IS NULL") == 1110,
     "its phases count from the detection");
  ok(ask("SELECT abs(detected_ns / 1000000000 - strftime('%s', 'now')) < 5 FROM recoveries") == 1,
     "its time is the calendar's");
  egd_store_node_lost(store, job.id, 1, 0, "heartbeats stopped", 0);
  ok(ask("SELECT count(*) FROM nodes WHERE lost_ns IS NOT NULL") == 1, "a lost node that never came up is recorded");
  egd_store_job_end(store, job.id, EGD_STORE_SUSPENDED, 0, NULL, 0);
  ok(ask("SELECT outcome FROM jobs WHERE ended_ns > begun_ns") == EGD_STORE_SUSPENDED, "the job ended");
  ok(ask("SELECT count(*) FROM ranks WHERE ended_ns IS NULL") == 0, "and its ranks");
  egd_store_close(store);

  store = egd_store_open(folder);
  egd_store_job_begin(store, &job);
  ok(ask("SELECT resumes FROM jobs WHERE ended_ns IS NULL") == 0, "begun again by the same process: no resume");
  pid_t child = fork();
  if (child == 0) {
    egd_store_job_begin(egd_store_open(folder), &job);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  ok(ask("SELECT resumes FROM jobs WHERE outcome IS NULL") == 1, "begun again by another process: a resume");
  egd_store_cleaned(store, job.id, 7);
  ok(ask("SELECT cleaned_ns FROM jobs") == 7, "cleaning is recorded");
  egd_store_forget(store, job.id);
  ok(ask("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM events) + (SELECT count(*) FROM ranks) + (SELECT "
         "count(*) FROM recoveries) + (SELECT count(*) FROM nodes) + (SELECT count(*) FROM failures)") == 0,
     "a forgotten job leaves nothing");
  int64_t later = egd_store_event(store, NULL, "odd", -1, -1, NULL, NULL);
  ok(later > two, "event numbers are not used again");
  egd_store_close(store);
  ok(said("egida:") == 0, "nothing was said");
}

static void test_nothing(void) {
  egd_store_job_begin(NULL, &job);
  egd_store_flush(NULL);
  struct egd_store_failure failure = {.job = job.id};
  ok(egd_store_failure(NULL, &failure) == 0 && egd_store_event(NULL, "j", "k", 0, 0, NULL, NULL) == 0,
     "a NULL store does nothing");
  egd_store_job_end(NULL, job.id, EGD_STORE_COMPLETED, 0, NULL, 0);
  egd_store_close(NULL);
  struct egd_store *store = egd_store_open("/nonexistent/folder");
  ok(store && !egd_store_usable(store) && said("/nonexistent/folder") == 1, "a missing folder is said");
  egd_store_job_begin(store, &job);
  egd_store_job_end(store, job.id, EGD_STORE_COMPLETED, 0, NULL, 0);
  egd_store_close(store);
}

static void overwrite(const char *name, off_t offset, size_t length) {
  int fd = open(in_folder(name), O_WRONLY);
  for (size_t i = 0; i < length; i++)
    if (pwrite(fd, "\xa5", 1, offset + (off_t)i) != 1) perror(name);
  close(fd);
}

static void fill(unsigned events) {
  struct egd_store *store = egd_store_open(folder);
  egd_store_job_begin(store, &job);
  for (unsigned i = 0; i < events; i++)
    egd_store_event(store, job.id, "tick", (int)i, 0, "some text that fills pages", NULL);
  egd_store_close(store);
}

static void test_damage(void) {
  static const char *const names[] = {"a header of garbage", "a damaged page", "a file cut short", "text instead"};
  for (unsigned kind = 0; kind < 4; kind++) {
    empty_folder();
    fill(2000);
    if (kind == 0) overwrite("history.db", 0, 100);
    if (kind == 1) overwrite("history.db", 4096 * 5, 4096 * 3);
    if (kind == 2 && truncate(in_folder("history.db"), 4096 * 3 + 100)) perror("truncate");
    if (kind == 3) {
      FILE *file = fopen(in_folder("history.db"), "w");
      fputs("hello\n", file);
      fclose(file);
    }
    fill(3);
    ok(exists("history.db.damaged-1") && said("history.db.damaged-1") == 1, "%s: moved aside and said", names[kind]);
    ok(ask("SELECT count(*) FROM events") == 3, "%s: a new history holds the new facts", names[kind]);
  }
  overwrite("history.db", 0, 100);
  fill(1);
  ok(exists("history.db.damaged-2") && exists("history.db.damaged-1"), "the second damaged one gets the next number");

  empty_folder();
  fill(2000);
  struct egd_store *store = egd_store_open(folder);
  egd_store_job_begin(store, &job);
  sqlite3 *other; // put all in the file, so that the next writes need pages that are not in the log
  sqlite3_open(in_folder("history.db"), &other);
  sqlite3_exec(other, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
  sqlite3_close(other);
  off_t size = lseek(open(in_folder("history.db"), O_RDONLY), 0, SEEK_END);
  overwrite("history.db", 4096, (size_t)size - 4096);
  struct egd_store_failure failure = {.job = job.id, .rank = 1, .signal = 11};
  int64_t number = 0;
  for (unsigned i = 0; i < 10; i++) {
    number = egd_store_failure(store, &failure);
    egd_store_event(store, job.id, "tick", 0, 0, "x", NULL);
    egd_store_flush(store);
  }
  ok(number > 0 && exists("history.db.damaged-1"), "damage in the middle of a job: moved aside");
  ok(ask("SELECT count(*) FROM jobs") == 1, "the new history has the job's begin");
  egd_store_job_end(store, job.id, EGD_STORE_COMPLETED, 0, NULL, 0);
  ok(ask("SELECT count(*) FROM jobs WHERE outcome = 0") == 1, "and its end");
  egd_store_close(store);
}

static void test_others(void) {
  empty_folder();
  sqlite3 *db;
  sqlite3_open(in_folder("history.db"), &db);
  sqlite3_exec(db, "CREATE TABLE precious (x); INSERT INTO precious VALUES (42);", NULL, NULL, NULL);
  sqlite3_close(db);
  struct egd_store *store = egd_store_open(folder);
  egd_store_job_begin(store, &job);
  ok(!egd_store_usable(store) && said("not a history of Egida") == 1, "another program's database is not used");
  egd_store_close(store);
  ok(ask("SELECT x FROM precious") == 42, "and not touched");

  empty_folder();
  fill(1);
  sqlite3_open(in_folder("history.db"), &db);
  sqlite3_exec(db, "PRAGMA user_version = 1000", NULL, NULL, NULL);
  sqlite3_close(db);
  store = egd_store_open(folder);
  ok(!egd_store_usable(store) && said("newer Egida") == 1, "a newer history is not used");
  egd_store_close(store);
  ok(ask("SELECT count(*) FROM events") == 1, "and not touched");

  empty_folder();
  char target[2 * PATH_MAX];
  snprintf(target, sizeof target, "%s", in_folder("target"));
  if (symlink(target, in_folder("history.db"))) perror("symlink");
  store = egd_store_open(folder);
  ok(!egd_store_usable(store) && !exists("target"), "a link in place of the file is refused");
  egd_store_close(store);

  empty_folder();
  mkdir(in_folder("history.db"), 0700);
  store = egd_store_open(folder);
  ok(!egd_store_usable(store) && said("without history") == 1, "a folder in place of the file is said");
  egd_store_close(store);
  rmdir(in_folder("history.db"));
}

static void test_migration(void) {
  empty_folder();
  sqlite3 *db;
  sqlite3_open(in_folder("history.db"), &db);
  ok(egd_schema_migrate(db, 1) == SQLITE_OK, "a history of version 1 can be made");
  int version = 0;
  ok(egd_schema_version(db, &version) == SQLITE_OK && version == 1, "it says so");
  int rc = sqlite3_exec(
      db,
      "INSERT INTO jobs (id, argv, nranks, begun_ns, ended_ns, outcome) VALUES ('old', '[\"a\"]', 2, 10, 20, 0);"
      "INSERT INTO events (job, at_ns, kind) VALUES ('old', 15, 'recovered');",
      NULL, NULL, NULL);
  ok(rc == SQLITE_OK, "it holds a job");
  sqlite3_close(db);
  fill(2);
  ok(ask("PRAGMA user_version") == EGD_SCHEMA_VERSION, "opening brings it to version %d", EGD_SCHEMA_VERSION);
  ok(ask("SELECT nranks * 100 + ended_ns FROM jobs WHERE id = 'old' AND launcher_pid IS NULL AND resumes = 0") == 220,
     "the old job is kept");
  ok(ask("SELECT count(*) FROM events") == 3 && ask("SELECT max(seq) FROM events") == 3,
     "old and new events stand in one sequence");
  ok(said("egida:") == 0, "nothing was said");

  // A step that fails leaves the version before it.
  empty_folder();
  sqlite3_open(in_folder("history.db"), &db);
  egd_schema_migrate(db, 1);
  sqlite3_exec(db, "ALTER TABLE jobs ADD COLUMN cleaned_ns INTEGER", NULL, NULL, NULL);
  ok(egd_schema_migrate(db, 2) != SQLITE_OK && egd_schema_version(db, &version) == SQLITE_OK && version == 1,
     "a failed step is undone");
  ok(sqlite3_get_autocommit(db), "and no transaction stays open");
  sqlite3_close(db);
}

static void test_readers(void) {
  empty_folder();
  fill(1);
  pid_t writer = fork();
  if (writer == 0) {
    struct egd_store *store = egd_store_open(folder);
    for (unsigned i = 0; i < 3000; i++) {
      egd_store_event(store, job.id, "tick", 0, 0, "text", NULL);
      if (i % 7 == 0) egd_store_flush(store);
    }
    egd_store_close(store);
    _exit(0);
  }
  sqlite3 *db;
  sqlite3_stmt *statement;
  sqlite3_open_v2(in_folder("history.db"), &db, SQLITE_OPEN_READONLY, NULL);
  sqlite3_busy_timeout(db, 3000);
  sqlite3_prepare_v2(db, "SELECT count(*), max(seq) FROM events", -1, &statement, NULL);
  unsigned bad = 0, reads = 0;
  int64_t before = 0;
  while (waitpid(writer, NULL, WNOHANG) == 0) {
    if (sqlite3_step(statement) != SQLITE_ROW) bad++;
    int64_t count = sqlite3_column_int64(statement, 0);
    if (count < before || count != sqlite3_column_int64(statement, 1)) bad++;
    before = count;
    sqlite3_reset(statement);
    reads++;
    usleep(500);
  }
  ok(bad == 0 && reads > 0, "a reader beside the writer saw a consistent history (%u reads)", reads);
  sqlite3_step(statement);
  ok(sqlite3_column_int64(statement, 0) == 3001, "and in the end all of it");
  sqlite3_finalize(statement);
  ok(said("egida:") == 0, "nobody was locked out");

  // Another writer holds the lock: the facts are lost, the job is not.
  sqlite3_close(db);
  sqlite3_open(in_folder("history.db"), &db);
  sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  struct egd_store *store = egd_store_open(folder);
  for (unsigned i = 0; i < 2; i++) egd_store_event(store, job.id, "lost", 0, 0, NULL, NULL);
  ok(egd_store_usable(store) && said("locked by another process") == 1, "a lock is said once");
  sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  sqlite3_close(db);
  ok(egd_store_event(store, job.id, "kept", 0, 0, NULL, NULL) > 0, "after it the history goes on");
  egd_store_close(store);
}

// The writer is killed at a random moment, again and again: what it was told to be durable or committed is there.
static void test_kills(void) {
  empty_folder();
  fill(0);
  srand(7);
  int64_t failures = 0, committed = 0;
  unsigned wrong = 0;
  for (unsigned round = 0; round < 50; round++) {
    int ends[2];
    if (pipe(ends)) return;
    pid_t writer = fork();
    if (writer == 0) {
      close(ends[0]);
      struct egd_store *store = egd_store_open(folder);
      for (int64_t i = 0;; i++) {
        egd_store_event(store, job.id, "tick", (int)round, 0, "text", NULL);
        int64_t told[2] = {0, egd_store_event(store, job.id, "tock", (int)round, 0, "text", NULL)};
        if (i % 3 == 0) {
          struct egd_store_failure failure = {.job = job.id, .rank = (int)round, .signal = 9};
          told[0] = egd_store_failure(store, &failure);
        } else {
          egd_store_flush(store);
        }
        if (write(ends[1], told, sizeof told) < 0) _exit(1);
      }
    }
    close(ends[1]);
    int64_t told[2];
    // At least one fact, then death at any moment.
    bool any = false;
    if (read(ends[0], told, sizeof told) == (ssize_t)sizeof told) any = true;
    usleep((unsigned)rand() % 12000);
    kill(writer, SIGKILL);
    do {
      if (any && told[0] > failures) failures = told[0];
      if (any && told[1] > committed) committed = told[1];
    } while (any && read(ends[0], told, sizeof told) == (ssize_t)sizeof told);
    close(ends[0]);
    waitpid(writer, NULL, 0);
    if (!any || ask("SELECT max(id) = count(*) FROM failures") != 1 || ask("SELECT max(id) FROM failures") < failures ||
        ask("SELECT max(seq) FROM events") < committed)
      wrong++;
  }
  ok(wrong == 0, "50 kills: every fact that was committed is there (%lld failures, %lld events)", (long long)failures,
     (long long)committed);
  ok(ask("SELECT quick_check = 'ok' FROM pragma_quick_check") == 1, "and the database is in order");
  ok(said("damaged") == 0, "no kill damaged it");
}

static void test_full_disk(void) {
  empty_folder();
  fill(10);
  truncate(errors, 0) == 0 ? (void)0 : (void)perror(errors);
  pid_t writer = fork();
  if (writer == 0) {
    signal(SIGXFSZ, SIG_IGN);
    struct egd_store *store = egd_store_open(folder);
    egd_store_job_begin(store, &job);
    // A file-size limit looks like a full disk; the messages' file stays below it.
    struct rlimit limit = {200000, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &limit);
    for (unsigned i = 0; i < 20000; i++) {
      egd_store_event(store, job.id, "tick", 0, 0, "a text of some length that fills the pages of the log", NULL);
      if (i % 50 == 0) egd_store_flush(store);
    }
    bool given_up = !egd_store_usable(store);
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    egd_store_job_end(store, job.id, EGD_STORE_FAILED, 3, NULL, 0);
    egd_store_close(store);
    _exit(given_up ? 0 : 1);
  }
  int status;
  waitpid(writer, &status, 0);
  ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "no room: the history is given up, the process is not");
  ok(said("goes on without history") == 1, "it is said once");
  ok(ask("SELECT exit_code FROM jobs") == 3, "room again at the end: the job's end is recorded");
}

int main(void) {
  const char *base = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/egida-test-store-XXXXXX", base ? base : "/tmp");
  if (!mkdtemp(folder)) return 99;
  snprintf(errors, sizeof errors, "%s/errors", folder);
  real_stderr = dup(2);
  catch_stderr();
  test_facts();
  forget_stderr();
  test_nothing();
  test_damage();
  test_others();
  test_migration();
  test_readers();
  test_kills();
  test_full_disk();
  int result = done();
  dup2(real_stderr, 2);
  empty_folder();
  unlink(errors);
  rmdir(folder);
  return result;
}
