// What every incarnation of a rank is born with: arguments, environment, folder, limits. Files in one folder
// (docs/formats/control.md): JOB_DIR/birth for all ranks, or JOB_DIR/birth/rank-R where each has its own.
#ifndef EGIDA_COMMON_BIRTH_H
#define EGIDA_COMMON_BIRTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

struct egd_birth {
  char **argv, **environ; // NULL-terminated
  char *program, *cwd;    // absolute
  uint32_t umask;
  struct {
    int resource;
    struct rlimit limit;
  } limits[RLIM_NLIMITS];
  size_t nlimits;
};

/// Write the birth of this process's children to the folder `dir` (made if missing, its parent exists): its own
/// folder, umask and limits, and what is given. On failure a status with errno, and in `why` one sentence with the file.
int egd_birth_write(const char *dir, const char *program, char *const *argv, char *const *environ, char *why,
                    size_t why_size);
/// Read it; the strings live until the process ends. False: one sentence in `why`.
bool egd_birth_read(const char *dir, struct egd_birth *ret_birth, char *why, size_t why_size);

#endif
