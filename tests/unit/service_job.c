// The owner of a job without ranks: service_job DIR JOB ROUNDS PAUSE-MS [SLURM-JOB NODE] records facts of all kinds,
// ROUNDS times, and ships them as egida run does; the configuration comes from the environment. Prints a line per
// round. After the last one, or SIGTERM, the job ends: "confirmed", or "left" if the service has not confirmed all. NODE is reported as lost.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/log.h"
#include "common/reactor.h"
#include "restartd/store.h"
#include "restartd/upstream.h"

static struct egd_reactor *reactor;
static struct egd_store *store;
static struct egd_upstream *upstream;
static const char *job;
static unsigned rounds, number;
static uint64_t pause_ns;
static volatile sig_atomic_t enough;

static void on_term(int signal_number) {
  enough = 1;
}

static void record(void *arg) {
  int rank = (int)(number % 8);
  char text[64];
  egd_store_rank_start(store, job, rank, 0, number / 8, (int)(number % 2), (int)number, EGD_STORE_NO_IMAGE, 0);
  egd_store_checkpoint(store, job, rank, number, number * 10, 5, 6, true, 0);
  egd_store_log(store, job, rank, number, 0, number, 0);
  for (unsigned i = 0; i < 20; i++) {
    snprintf(text, sizeof text, "round %u, event %u", number, i);
    egd_store_event(store, job, "round", rank, -1, text, "{\"a\":1}");
  }
  if (number % 5 == 0) {
    struct egd_store_failure failure = {
        .job = job, .rank = rank, .node = 1, .signal = 9, .exit_code = -1, .cause = "it had to be"};
    struct egd_store_recovery recovery = {
        .job = job, .rank = rank, .incarnation = number / 8 + 1, .node = 1, .image = 1};
    recovery.failure = egd_store_failure(store, &failure);
    egd_store_rank_end(store, job, rank, 0, number / 8, 9, 0);
    egd_recovery_mark(&recovery.times, EGD_RECOVERY_DETECTED, 0);
    egd_store_recovery(store, &recovery);
    egd_recovery_mark(&recovery.times, EGD_RECOVERY_RESTORED, 0);
    egd_store_recovery(store, &recovery);
  }
  printf("%u\n", ++number);
  fflush(stdout);
  if (number < rounds && !enough)
    egd_reactor_after(reactor, pause_ns, record, NULL);
  else
    egd_reactor_stop(reactor);
}

static void flush(void *arg) {
  egd_store_flush(store);
  egd_reactor_after(reactor, 250000000, flush, NULL);
}

int main(int argc, char **argv) {
  struct egd_config config;
  if (argc < 5 || !egd_config_load(&config, NULL) || egd_reactor_create(&reactor) != 0) return 1;
  const char *dir = argv[1], *lost = argc > 6 ? argv[6] : NULL;
  job = argv[2];
  rounds = (unsigned)atoi(argv[3]);
  pause_ns = (uint64_t)atoi(argv[4]) * 1000000u;
  egd_log_set_name("service_job");
  egd_log_set_verbose(true);
  signal(SIGTERM, on_term);
  mkdir(dir, 0700);
  store = egd_store_open(dir);
  upstream = egd_upstream_create(&config, dir, job, store);
  struct egd_store_job row = {.id = job, .argc = argc, .argv = argv, .spec_name = "x.egd", .nranks = 8, .user = "liar"};
  egd_store_job_begin(store, &row);
  egd_upstream_start(upstream, reactor);
  if (lost) egd_upstream_node_lost(upstream, (uint32_t)atoi(argv[5]), lost);
  egd_store_node_up(store, job, 0, 0, "127.0.0.1:1", 5, false, 0);
  egd_store_node_up(store, job, 1, 0, "127.0.0.1:2", 6, false, 0);
  egd_store_node_lost(store, job, 1, 0, "it went away", 0);
  egd_store_job_started(store, job, 0);
  egd_reactor_after(reactor, 0, record, NULL);
  egd_reactor_after(reactor, 250000000, flush, NULL);
  egd_reactor_run(reactor);
  egd_upstream_stop(upstream);
  egd_reactor_destroy(reactor);
  egd_store_job_end(store, job, EGD_STORE_COMPLETED, 0, "all ended well", 0);
  egd_upstream_finish(upstream, 5000000000ull);
  egd_store_close(store);
  char path[4200];
  snprintf(path, sizeof path, "%s/journal/%s", dir, job);
  printf(access(path, F_OK) == 0 ? "left\n" : "confirmed\n");
  egd_config_clear(&config);
  return 0;
}
