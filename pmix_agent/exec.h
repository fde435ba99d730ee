// egida-exec, the watchdog of one rank. Shared by its files.
#ifndef EGIDA_PMIX_AGENT_EXEC_H
#define EGIDA_PMIX_AGENT_EXEC_H

#include <stdbool.h>
#include <stdint.h>
#include "common/birth.h"
#include "common/link.h"
#include "common/reactor.h"
#include "common/segment.h"
#include "pmix_agent/pmi1.h"

#define EXEC_PMI_FD (EGD_SEGMENT_FD + 2) // the same number in every incarnation: it stands in images
#define EXEC_LEASE_NS 5000000000ull      // without an agent for so long, the rank is stopped
#define EXEC_QUIESCE_NS 4000000000ull

/// `birth`'s environment is without what the watchdog adds. The environment of rank `rank`; never freed. NULL: a part of the installation is missing (said in `why`).
char **exec_environment(const struct egd_birth *birth, uint32_t rank, uint32_t size, char *why, size_t why_size);

/// The highest number below `below` of the images that job_dir has of `rank`; -1 = none.
int64_t exec_newest_image(const char *job_dir, uint32_t rank, int64_t below);

// What a rank process is given. Descriptors are the child's ends.
struct exec_spawn {
  const struct egd_birth *birth;
  char *const *argv, *const *environ;
  const char *program; // path to execute
  int segment_fd, pmi_fd, in_fd, out_fd, err_fd;
};
/// Fork and execute. The pid, or -1 with errno. A failing exec ends the child with 127 after a line on its stderr.
int exec_spawn(const struct exec_spawn *spawn);

#endif
