// Makes a history with the store's own functions, for the tests of the commands that read it: history_fill DIR SCENE
//   jobs   three jobs: one completed after a recovery, one failed, one whose launcher is gone
//   live   a job that runs: prints "ready", goes on until stdin ends, then ends the job
//   write  the same, but writes events all the time
//   old    an empty history of version 1 with one job
#include "restartd/store.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "restartd/schema.h"

static struct egd_store *store;

static void begin(const char *id, uint32_t nranks, char *const argv[], const char *spec) {
  int argc = 0;
  while (argv[argc]) argc++;
  struct egd_store_job job = {
      .id = id,
      .argc = argc,
      .argv = argv,
      .spec_name = spec,
      .spec_hash = 0x0123456789abcdef,
      .nranks = nranks,
      .nodes = 2,
      .spares = 1,
      .user = "ada",
      .cwd = "/home/ada",
      .job_dir = "/nonexistent",
  };
  egd_store_job_begin(store, &job);
  egd_store_event(store, id, "job-begun", -1, -1, "the job begins", NULL);
  for (int node = 0; node < 2; node++) egd_store_node_up(store, id, node, 0, "127.0.0.1:1", 10 + node, false, 0);
  for (uint32_t rank = 0; rank < nranks; rank++)
    egd_store_rank_start(store, id, (int)rank, 0, 0, (int)rank / 2, 1000 + (int)rank, EGD_STORE_NO_IMAGE, 0);
  for (uint32_t rank = 0; rank < nranks; rank++) {
    egd_store_checkpoint(store, id, (int)rank, 1, (rank + 1) * 1500000, 2000000, 30000000, true, 0);
    egd_store_log(store, id, (int)rank, rank * 4096, 0, rank * 8192, 0);
  }
  egd_store_job_started(store, id, 0);
  egd_store_event(store, id, "job-started", -1, -1, "all images are durable", "{\"images\":4}");
}

static void fail_and_recover(const char *id) {
  struct egd_store_failure failure = {
      .job = id, .rank = 2, .node = 1, .signal = 9, .exit_code = -1, .injected = true, .cause = "kill:2@1s"};
  int64_t number = egd_store_failure(store, &failure);
  egd_store_rank_end(store, id, 2, 0, 0, 9, 0);
  egd_store_event(store, id, "rank-killed", 2, 1, "rank 2 killed (signal 9)", "{\"signal\":9}");
  egd_store_rank_start(store, id, 2, 0, 1, 1, 2002, 1, 0);
  struct egd_store_recovery recovery = {.job = id,
                                        .failure = number,
                                        .rank = 2,
                                        .incarnation = 1,
                                        .from_node = 1,
                                        .node = 1,
                                        .image = 1,
                                        .determinants = 3211};
  egd_recovery_mark(&recovery.times, EGD_RECOVERY_DETECTED, 0);
  uint64_t detected = recovery.times.at_ns[EGD_RECOVERY_DETECTED];
  egd_recovery_mark(&recovery.times, EGD_RECOVERY_RESPAWNED, detected + 12000000);
  egd_recovery_mark(&recovery.times, EGD_RECOVERY_RESTORED, detected + 100000000);
  egd_recovery_mark(&recovery.times, EGD_RECOVERY_REPLAYED, detected + 210000000);
  egd_store_recovery(store, &recovery);
  egd_store_event(store, id, "recovered", 2, 1, "rank 2 recovered in 0.21 s", NULL);
}

static char *const app[] = {"./app", "-x", "two words", NULL};

static void three_jobs(const char *dir) {
  begin("20261121-100000-aaaa", 4, app, "pessimistic.egd");
  fail_and_recover("20261121-100000-aaaa");
  egd_store_job_end(store, "20261121-100000-aaaa", EGD_STORE_COMPLETED, 0, NULL, 0);
  static char *const odd[] = {"./b\033[31m\nad\xff", NULL};
  begin("20261121-110000-bbbb", 2, odd, "none.egd");
  egd_store_job_end(store, "20261121-110000-bbbb", EGD_STORE_FAILED, 3, "exit code 3", 0);
  egd_store_flush(store);
  pid_t child = fork(); // a launcher that ends without a word
  if (child == 0) {
    store = egd_store_open(dir);
    begin("20261121-120000-cccc", 4, app, "pessimistic.egd");
    egd_store_flush(store);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

static void live_job(bool writes) {
  begin("20261121-130000-dddd", 4, app, "pessimistic.egd");
  egd_store_flush(store);
  puts("ready");
  fflush(stdout);
  struct pollfd wait = {.fd = 0, .events = POLLIN};
  for (unsigned i = 0; poll(&wait, 1, writes ? 1 : 200) == 0; i++) {
    if (writes) egd_store_event(store, "20261121-130000-dddd", "tick", (int)(i % 4), 0, "still here", NULL);
    egd_store_flush(store);
  }
  egd_store_job_end(store, "20261121-130000-dddd", EGD_STORE_CANCELLED, 130, "Ctrl-C", 0);
}

static int old_history(const char *dir) {
  char path[4096];
  snprintf(path, sizeof path, "%s/history.db", dir);
  sqlite3 *db;
  int rc = sqlite3_open(path, &db);
  if (rc == SQLITE_OK) rc = egd_schema_migrate(db, 1);
  if (rc == SQLITE_OK)
    rc = sqlite3_exec(db,
                      "INSERT INTO jobs (id, argv, nranks, begun_ns, ended_ns, outcome, exit_code)"
                      " VALUES ('20250101-000000-0000', '[\"old\"]', 2, 1, 2000000001, 0, 0)",
                      NULL, NULL, NULL);
  sqlite3_close(db);
  return rc == SQLITE_OK ? 0 : 1;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: history_fill DIR jobs|live|write|old\n");
    return 2;
  }
  if (strcmp(argv[2], "old") == 0) return old_history(argv[1]);
  store = egd_store_open(argv[1]);
  if (!egd_store_usable(store)) return 1;
  if (strcmp(argv[2], "jobs") == 0)
    three_jobs(argv[1]);
  else
    live_job(strcmp(argv[2], "write") == 0);
  egd_store_close(store);
  return 0;
}
