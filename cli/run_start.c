// From the options of a job to its controller: the plan, the history's record, one line for the user.
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/run.h"
#include "cli/specpath.h"
#include "cli/specprint.h"
#include "common/log.h"
#include "common/status.h"
#include "protocol/synthesis.h"
#include "restartd/controller.h"
#include "restartd/store.h"
#include "restartd/upstream.h"

#define UPSTREAM_NS 2000000000ull // for the last of the history to reach the service

// Determinants go to f other nodes: as many must there be. On one node memory that outlives its ranks will do.
static bool has_holders(const struct run_options *run, const struct egd_plan *plan, const char *path) {
  uint32_t nodes = run->nodes + run->spares;
  bool elsewhere = plan->flags & EGD_PLAN_LOG_DETERMINANTS && plan->determinant_store != EGD_DETERMINANT_SHARED_DISK;
  if (nodes == 1 || !elsewhere || plan->f < nodes) return true;
  egd_log("%s keeps determinants in the memory of %u other nodes, but %u nodes are all there are: more nodes, or "
          "spares, are "
          "needed, or a specification for fewer (memory of %u processes)",
          path, plan->f, nodes, nodes - 1);
  return false;
}

bool run_compile(const struct run_options *run, struct egd_plan *ret_plan) {
  char path[PATH_MAX], error[1024], *text;
  size_t length;
  if (egd_spec_read(run->spec, path, &text, &length, error, sizeof(error)) != EGD_OK) {
    egd_log("%s", error);
    return false;
  }
  int status = egd_plan_compile(text, length, path, ret_plan, egd_print_diagnostic, NULL);
  free(text);
  if (status == EGD_ERR_UNSUPPORTED)
    egd_log("%s cannot be run by this version; 'egida specs' lists those that can", path);
  if (status == EGD_ERR_INVALID) egd_log("%s is not a specification that can recover; see above", path);
  if (status == EGD_ERR_NO_MEMORY) egd_log("out of memory");
  if (status == EGD_OK && run->interval_given) ret_plan->checkpoint_interval_ns = run->interval_ns;
  return status == EGD_OK && has_holders(run, ret_plan, path);
}

static void say_start(const struct run_options *run, const struct run_job *job, const struct egd_plan *plan,
                      const char *program) {
  char guarantees[256], nodes[64] = "";
  egd_plan_describe(plan, run->nodes + run->spares, guarantees, sizeof(guarantees));
  if (run->nodes + run->spares > 1)
    snprintf(nodes, sizeof(nodes), " on %u nodes%s", run->nodes, run->spares ? " and spares" : "");
  const char *slash = strrchr(program, '/');
  egd_log("job %s%s: %u × %s%s, protocol %s (%s), files in %s", job->id, run->resume ? " resumed" : "", run->nranks,
          slash ? slash + 1 : program, nodes, plan->name, guarantees, run->dir);
}

static void record_job(struct egd_store *store, const struct run_options *run, const struct run_job *job,
                       const struct egd_plan *plan) {
  char cwd[PATH_MAX];
  struct passwd *user = getpwuid(geteuid());
  int argc = 0;
  while (run->argv[argc]) argc++;
  struct egd_store_job row = {.id = job->id,
                              .argc = argc,
                              .argv = run->argv,
                              .spec_name = run->spec,
                              .spec_hash = plan->spec_hash,
                              .nranks = run->nranks,
                              .nodes = run->nodes,
                              .spares = run->spares,
                              .user = user ? user->pw_name : NULL,
                              .cwd = getcwd(cwd, sizeof(cwd)),
                              .job_dir = job->job_dir};
  egd_store_job_begin(store, &row);
}

int run_job_control(const struct run_options *run, const struct run_job *job, const struct egd_plan *plan,
                    const char *program, struct egd_controller_options *controller) {
  struct egd_store *store = egd_store_open(job->dir);
  if (run->argv[0]) program = run->argv[0];
  struct egd_upstream *upstream = egd_upstream_create(run_config(), job->dir, job->id, store);
  record_job(store, run, job, plan);
  say_start(run, job, plan, program);
  controller->job_id = job->id;
  controller->job_dir = job->job_dir;
  controller->plan = *plan;
  controller->nranks = run->nranks;
  controller->nodes = run->nodes;
  controller->spares = run->spares;
  controller->max_restarts = run->max_restarts;
  controller->label = run->label;
  controller->resume = run->resume != NULL;
  controller->gather = run->gather;
  controller->program = program;
  controller->store = store;
  controller->upstream = upstream;
  int exit_code = egd_controller_run(controller);
  egd_upstream_finish(upstream, UPSTREAM_NS);
  egd_store_close(store);
  return exit_code;
}
