// Removing the files of a job: a walk by directory descriptors that follows no link and leaves the file system never.
#ifndef EGIDA_CLI_CLEAN_FILES_H
#define EGIDA_CLI_CLEAN_FILES_H

#include <stdbool.h>
#include <stdint.h>

struct egd_clean_sum {
  uint64_t files; // folders not counted
  uint64_t bytes; // on the disk; what has another name elsewhere is not counted, it stays
  unsigned errors;
};

/// Remove `name` (a file, a link or a folder with all in it) in the folder `dirfd`; `dry`: only count. `shown`: its path in
/// messages. Adds to *sum; what can't be removed is said on stderr and counted in sum->errors.
void egd_clean_remove(int dirfd, const char *name, const char *shown, bool dry, struct egd_clean_sum *sum);

#endif
