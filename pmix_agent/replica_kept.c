#include "pmix_agent/replica_kept.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include "common/securepath.h"
#include "common/status.h"

int egd_kept_write(const char *job_dir, uint64_t job_hash, uint32_t rank, uint32_t node, uint32_t incarnation,
                   const struct egd_replica_state *state, const struct iovec data[2], char path[640]) {
  snprintf(path, 640, "%.512s/suspended", job_dir);
  int status = egd_secure_mkdir(path);
  if (status != EGD_OK) return status;
  snprintf(path, 640, "%.512s/suspended/rank-%u.%u-%u.log", job_dir, rank, node, incarnation);
  return egd_disk_write_log(path, job_hash, rank, state, data);
}

static bool is_longer(const struct egd_replica *one, const struct egd_replica *other) {
  if (!other->known) return true;
  return one->state.head > other->state.head ||
         (one->state.head == other->state.head && one->state.polls > other->state.polls);
}

int egd_kept_read(const char *job_dir, uint64_t job_hash, uint32_t rank, struct egd_replica *replica) {
  char path[1024], begin[32];
  int n = snprintf(path, sizeof path, "%.512s/suspended/", job_dir);
  size_t length = (size_t)snprintf(begin, sizeof begin, "rank-%u.", rank);
  DIR *dir = opendir(path);
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    const char *end = strrchr(entry->d_name, '.');
    if (strncmp(entry->d_name, begin, length) != 0 || strcmp(end, ".log") != 0) continue;
    snprintf(path + n, sizeof path - (size_t)n, "%s", entry->d_name);
    struct egd_replica one = {0};
    if (egd_disk_read(path, job_hash, rank, &one) == EGD_OK && is_longer(&one, replica)) {
      egd_replica_clear(replica);
      *replica = one;
    } else {
      egd_replica_clear(&one);
    }
  }
  if (dir) closedir(dir);
  return replica->known ? EGD_OK : EGD_ERR_NOT_FOUND;
}
