// egida-exec, the watchdog of one rank. Shared by its files.
#ifndef EGIDA_PMIX_AGENT_EXEC_H
#define EGIDA_PMIX_AGENT_EXEC_H

#include <stdbool.h>
#include <stdint.h>
#include "common/birth.h"
#include "common/link.h"
#include "common/reactor.h"
#include "common/segment.h"
#include "common/tcp.h"
#include "pmix_agent/pmi1.h"

#define EXEC_PMI_FD (EGD_SEGMENT_FD + 2) // the same number in every incarnation: it stands in images
#define EXEC_LEASE_NS 5000000000ull      // without an agent for so long, the rank is stopped
#define EXEC_QUIESCE_NS 4000000000ull

/// `birth`'s environment is without what the watchdog adds. The environment of rank `rank`; never freed. NULL: a part of the installation is missing (said in `why`).
char **exec_environment(const struct egd_birth *birth, uint32_t rank, uint32_t size, char *why, size_t why_size);

/// The highest number below `below` of the images that job_dir has of `rank`; -1 = none.
int64_t exec_newest_image(const char *job_dir, uint32_t rank, int64_t below);

// exec_task.c
/// Was this process started as a task of the batch system, around a program (EGIDA_ARGV0)?
bool exec_is_task(void);
/// Write the birth of this task's rank from argv and the environment, find or start the node's agent, and put the node
/// segment on EGD_SEGMENT_FD. False after a message.
bool exec_join_node(char **argv, uint32_t *ret_rank);
struct exec_agent {
  const char *job_dir, *node_dir, *control, *ranks; // ranks: those that come by themselves, unused with `adopt`
  uint32_t node, incarnation;
  bool adopt;
};
/// Start the node's agent unless there is one. Its pid as a child, 0: there is one, -1 after a message.
int exec_start_agent(const struct exec_agent *how);

// What a rank process is given. Descriptors are the child's ends.
struct exec_spawn {
  const struct egd_birth *birth;
  char *const *argv, *const *environ;
  const char *program; // path to execute
  int segment_fd, pmi_fd, in_fd, out_fd, err_fd;
  bool ignores_term;
};
/// Fork and execute. The pid, or -1 with errno. A failing exec ends the child with 127 after a line on its stderr.
int exec_spawn(const struct exec_spawn *spawn);

#endif
