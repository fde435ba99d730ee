#include "cli/clean_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 64 // each level holds a descriptor

static void complain(const char *shown, const char *what, struct egd_clean_sum *sum) {
  if (sum->errors++ < 10)
    fprintf(stderr, "egida clean: %s: %s; remove it by hand\n", shown, what);
  else if (sum->errors == 11)
    fprintf(stderr, "egida clean: and more that can't be removed\n");
}

static void remove_at(int dirfd, const char *name, const char *shown, bool dry, dev_t device, unsigned depth,
                      struct egd_clean_sum *sum) {
  struct stat status;
  if (fstatat(dirfd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) complain(shown, strerror(errno), sum);
    return;
  }
  if (!S_ISDIR(status.st_mode)) {
    if (!dry && unlinkat(dirfd, name, 0) != 0) {
      if (errno != ENOENT) complain(shown, strerror(errno), sum);
      return;
    }
    sum->files++;
    if (status.st_nlink <= 1) sum->bytes += (uint64_t)status.st_blocks * 512;
    return;
  }
  if (device && status.st_dev != device) {
    complain(shown, "another file system is mounted here", sum);
    return;
  }
  if (depth >= MAX_DEPTH) {
    complain(shown, "too deep", sum);
    return;
  }
  int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
  if (!dir) {
    complain(shown, strerror(errno), sum);
    if (fd >= 0) close(fd);
    return;
  }
  for (struct dirent *entry; (entry = readdir(dir));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", shown, entry->d_name); // cut at worst: it is only shown
    remove_at(fd, entry->d_name, path, dry, status.st_dev, depth + 1, sum);
  }
  closedir(dir);
  sum->bytes += (uint64_t)status.st_blocks * 512;
  if (!dry && unlinkat(dirfd, name, AT_REMOVEDIR) != 0 && errno != ENOENT) {
    sum->bytes -= (uint64_t)status.st_blocks * 512;
    // Something inside was said already.
    if (errno != ENOTEMPTY && errno != EEXIST) complain(shown, strerror(errno), sum);
  }
}

void egd_clean_remove(int dirfd, const char *name, const char *shown, bool dry, struct egd_clean_sum *sum) {
  struct stat status;
  dev_t device = fstat(dirfd, &status) == 0 ? status.st_dev : 0;
  remove_at(dirfd, name, shown, dry, device, 0, sum);
}
