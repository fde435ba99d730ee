// From the owner of a job (egida run, egida steward) to the cluster's service: its history, and word of lost nodes.
//
//   upstream = egd_upstream_create(config, dir, job, store);   before egd_store_job_begin()
//   egd_upstream_start(upstream, reactor);                     in the controller, when its reactor is there
//   egd_upstream_node_lost(upstream, slurm_job, "n3");
//   egd_upstream_stop(upstream);                               before the reactor goes
//   egd_upstream_finish(upstream, 2 s);                        after egd_store_job_end()
//
// Nothing here waits (but finish), fails a job or says more than a line when the service can't be reached. What the
// service has not confirmed stays in the journal (docs/formats/journal.md); the next job of the folder sends it.
// All functions accept NULL: no service is configured.
#ifndef EGIDA_RESTARTD_UPSTREAM_H
#define EGIDA_RESTARTD_UPSTREAM_H

#include <stdint.h>

struct egd_config;
struct egd_reactor;
struct egd_store;
struct egd_upstream;

/// Open the journal of `job` in `dir` and let `store` fill it. NULL if the configuration names no ControlService, or after
/// a message. `config` and `store` must outlive it.
struct egd_upstream *egd_upstream_create(const struct egd_config *config, const char *dir, const char *job,
                                         struct egd_store *store);
/// Connect in the background, again and again, and ship. Also what earlier jobs of the folder left.
void egd_upstream_start(struct egd_upstream *upstream, struct egd_reactor *reactor);
/// Ask the service to mark a node of the Slurm job DOWN, now or as soon as it can be reached.
void egd_upstream_node_lost(struct egd_upstream *upstream, uint32_t slurm_job, const char *node);
/// Leave the reactor; start() may follow.
void egd_upstream_stop(struct egd_upstream *upstream);
/// Ship what is left, for at most `timeout_ns`, and not at all while the service can't be reached; then free everything.
void egd_upstream_finish(struct egd_upstream *upstream, uint64_t timeout_ns);

#endif
