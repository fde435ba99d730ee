#include "common/nodedir.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "common/securepath.h"
#include "common/status.h"

int egd_node_dir(const char *job_dir, uint32_t node, char ret_path[PATH_MAX]) {
  const char *tmp = getenv("TMPDIR"), *job = strrchr(job_dir, '/');
  int n = snprintf(ret_path, PATH_MAX, "%s/egida-%u", tmp && *tmp == '/' ? tmp : "/tmp", (unsigned)geteuid());
  if (n < 0 || n >= PATH_MAX) return EGD_ERR_INVALID;
  int status = egd_secure_mkdir(ret_path);
  if (status != EGD_OK) return status;
  int m = snprintf(ret_path + n, (size_t)(PATH_MAX - n), "/%s-n%u", job ? job + 1 : job_dir, node);
  return m < 0 || m >= PATH_MAX - n ? EGD_ERR_INVALID : EGD_OK;
}

int egd_node_lock(const char *node_dir) {
  char path[2 * PATH_MAX];
  snprintf(path, sizeof(path), "%s.lock", node_dir);
  int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    fd = -1;
  }
  return fd;
}

// Between two agents nobody has the lock, but the watchdogs live.
static bool is_alive(const char *node_dir) {
  DIR *dir = opendir(node_dir);
  bool alive = false;
  for (struct dirent *entry; dir && !alive && (entry = readdir(dir));) {
    char path[2 * PATH_MAX];
    int pid = 0;
    if (strncmp(entry->d_name, "watchdog-", 9) != 0) continue;
    snprintf(path, sizeof(path), "%s/%s", node_dir, entry->d_name);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%d", &pid) == 1) alive = kill(pid, 0) == 0;
    if (file) fclose(file);
  }
  if (dir) closedir(dir);
  return alive;
}

void egd_node_sweep(const char *node_dir) {
  char parent[PATH_MAX];
  snprintf(parent, sizeof(parent), "%s", node_dir);
  char *own = strrchr(parent, '/');
  if (!own) return;
  *own++ = 0;
  DIR *dir = opendir(parent);
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    char other[PATH_MAX + NAME_MAX + 2], *end = strrchr(entry->d_name, '.');
    if (!end || strcmp(end, ".lock") != 0) continue;
    *end = 0;
    snprintf(other, sizeof(other), "%s/%s", parent, entry->d_name);
    int fd = strcmp(entry->d_name, own) != 0 ? egd_node_lock(other) : -1;
    if (fd < 0) continue;
    if (!is_alive(other)) {
      egd_remove_tree(other);
      unlinkat(dirfd(dir), strcat(entry->d_name, ".lock"), 0);
    }
    close(fd);
  }
  if (dir) closedir(dir);
}
