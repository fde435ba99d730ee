// The controller of one job: starts agents and ranks, decides on every failure, prints the output. Runs in `egida run`.
#ifndef EGIDA_RESTARTD_CONTROLLER_H
#define EGIDA_RESTARTD_CONTROLLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/plan.h"

#define EGD_EXIT_JOB_VERDICT 75 // the job can't go on; the reason was said

struct egd_store;
struct egd_injection;
struct egd_upstream;

// Where the nodes are real ones: agents come by TCP, send heartbeats and hold leases (docs/formats/control.md).
// NULL in the options: the nodes are processes of this machine, started by the controller.
struct egd_controller_cluster {
  const char *listen;                                // "HOST:PORT", numeric host that the nodes reach; port 0 = any
  void (*listening)(void *arg, const char *address); // called once, before any agent is awaited
  const char *const *spare_hosts;                    // [spares]; they get an agent by start_agent()
  /// Start `egida-agent JOB_DIR NODE INCARNATION --control=…` on a host; its pid as a child of this process, or -1 after
  /// a message.
  int (*start_agent)(void *arg, uint32_t node, const char *host, uint32_t incarnation);
  uint32_t batch_job;              // its number in the batch system
  uint64_t heartbeat_ns, limit_ns; // between heartbeats; silence after which a node is lost
  void *arg;
};

struct egd_controller_options {
  const char *job_id, *job_dir; // job_dir is absolute and has all files that agents read
  struct egd_plan plan;
  uint32_t nranks, nodes, spares;
  uint32_t max_restarts; // of one rank
  bool label, resume;
  bool gather;                      // with resume: nothing is left but images and what is on the shared disk
  const char *program;              // for messages
  struct egd_injection *injections; // list, owned by the caller
  struct egd_store *store;          // may be NULL
  struct egd_upstream *upstream;    // may be NULL
  const struct egd_controller_cluster *cluster;
};

/// Run the job to its end. Returns the exit code of `egida run`.
int egd_controller_run(const struct egd_controller_options *options);

/// Parse one --inject: kill:RANK@TIME, kill:RANK@send#N, @recv#N, @checkpoint, @recovery, @init, @finalize, node:K@TIME,
/// agent:K@TIME, watchdog:RANK@TIME, random:MTBF=TIME[,seed=N]. Appends to *list. EGD_OK, EGD_ERR_NO_MEMORY, or
/// EGD_ERR_INVALID with one sentence in `why`.
int egd_injection_parse(const char *text, uint32_t nranks, uint32_t nnodes, struct egd_injection **list, char *why,
                        size_t why_size);
void egd_injection_free(struct egd_injection *list);

#endif
