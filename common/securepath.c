#include "common/securepath.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/status.h"

static int status_of(int error) {
  switch (error) {
  case EACCES:
  case EPERM:
  case EROFS:
  case ELOOP:
    return EGD_ERR_PERMISSION;
  case ENOSPC:
  case EDQUOT:
    return EGD_ERR_NO_SPACE;
  case ENOENT:
    return EGD_ERR_NOT_FOUND;
  case ENOMEM:
    return EGD_ERR_NO_MEMORY;
  case ENOTDIR:
    return EGD_ERR_INVALID;
  default:
    return EGD_ERR_IO;
  }
}

int egd_secure_mkdir(const char *path) {
  if (mkdir(path, 0700) != 0 && errno != EEXIST) return status_of(errno);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return status_of(errno);
  struct stat st;
  int status = EGD_OK;
  if (fstat(fd, &st) != 0) {
    status = status_of(errno);
  } else if (st.st_uid != geteuid() || (st.st_mode & 077)) {
    errno = EPERM;
    status = EGD_ERR_PERMISSION;
  }
  close(fd);
  return status;
}

int egd_secure_open(const char *path) {
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return -1;
  struct stat st;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1 && !(st.st_mode & 022))
    return fd;
  close(fd);
  errno = EPERM;
  return -1;
}

int egd_secure_read(const char *path, size_t limit, char **ret_data, size_t *ret_length) {
  int fd = egd_secure_open(path);
  if (fd < 0) return status_of(errno);
  struct stat st;
  int status = EGD_OK;
  char *data = NULL;
  size_t length = 0;
  if (fstat(fd, &st) != 0)
    status = EGD_ERR_IO;
  else if ((uint64_t)st.st_size > limit)
    status = EGD_ERR_INVALID;
  else if (!(data = malloc((size_t)st.st_size + 1)))
    status = EGD_ERR_NO_MEMORY;
  while (status == EGD_OK && length < (size_t)st.st_size) {
    ssize_t n = read(fd, data + length, (size_t)st.st_size - length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      status = EGD_ERR_IO;
    else
      length += (size_t)n;
  }
  close(fd);
  if (status != EGD_OK) {
    free(data);
    return status;
  }
  data[length] = 0;
  *ret_data = data;
  if (ret_length) *ret_length = length;
  return EGD_OK;
}

static int write_all(int fd, const char *data, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, data, length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    data += n;
    length -= (size_t)n;
  }
  return 0;
}

int egd_secure_write(const char *dir, const char *name, const void *data, size_t length, bool durable) {
  int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) return status_of(errno);
  char temporary[300];
  snprintf(temporary, sizeof(temporary), ".%s.tmp", name);
  unlinkat(dir_fd, temporary, 0);
  int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  int failed = fd < 0 || fchmod(fd, 0600) != 0 || write_all(fd, data, length) != 0 || (durable && fsync(fd) != 0);
  failed = failed || renameat(dir_fd, temporary, dir_fd, name) != 0 || (durable && fsync(dir_fd) != 0);
  int status = failed ? status_of(errno) : EGD_OK, error = errno;
  if (fd >= 0) close(fd);
  if (failed) unlinkat(dir_fd, temporary, 0);
  close(dir_fd);
  errno = error;
  return status;
}

static bool remove_at(int dir_fd, const char *name) {
  if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) return true;
  if (errno != EISDIR && errno != EPERM) return false;
  int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT;
  DIR *entries = fdopendir(fd);
  if (!entries) {
    close(fd);
    return false;
  }
  int error = 0;
  for (struct dirent *entry; (entry = readdir(entries));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (!remove_at(fd, entry->d_name) && !error) error = errno;
  }
  closedir(entries);
  if (!error && (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)) return true;
  if (error) errno = error;
  return false;
}

bool egd_remove_tree(const char *path) {
  return remove_at(AT_FDCWD, path);
}
