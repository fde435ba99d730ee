#include "cli/specpath.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/install.h"
#include "common/nearest.h"
#include "common/status.h"

#define EXTENSION ".egd"
// More than the parser takes, so that it is the one to refuse what is too long.
#define MAX_BYTES (128u * 1024)

static bool installed_folder(char path[PATH_MAX]) {
  char datadir[PATH_MAX];
  egd_install_folder(EGIDA_DATADIR, datadir);
  int n = snprintf(path, PATH_MAX, "%s/specs", datadir);
  return n > 0 && n < PATH_MAX;
}

// The n-th folder of the search, or false. Folders of $EGIDA_SPEC_PATH may be missing.
static bool folder(unsigned n, char path[PATH_MAX]) {
  if (n == 0) return snprintf(path, PATH_MAX, ".") > 0;
  const char *given = getenv("EGIDA_SPEC_PATH");
  for (const char *p = given; p && *p;) {
    size_t length = strcspn(p, ":");
    if (length > 0 && length < PATH_MAX && --n == 0) return snprintf(path, PATH_MAX, "%.*s", (int)length, p) > 0;
    p += length + (p[length] == ':');
  }
  // A build folder lies in the source folder, or is it.
  static const char *const beside[] = {"../specs", "specs"};
  for (unsigned i = 0; i < 2; i++) {
    if (--n > 0) continue;
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (length <= 0) return installed_folder(path);
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    *slash = '\0';
    if ((slash = strrchr(program, '/')) && strcmp(slash, "/.libs") == 0) *slash = '\0';
    char joined[PATH_MAX + 16];
    snprintf(joined, sizeof(joined), "%s/%s", program, beside[i]);
    if (!realpath(joined, path)) snprintf(path, PATH_MAX, "/nonexistent");
    return true;
  }
  return --n == 0 && installed_folder(path);
}

static bool ends_with_extension(const char *name) {
  size_t length = strlen(name);
  return length > strlen(EXTENSION) && strcmp(name + length - strlen(EXTENSION), EXTENSION) == 0;
}

static bool join(char path[PATH_MAX], const char *dir, const char *name, const char *extension) {
  int n = strcmp(dir, ".") == 0 ? snprintf(path, PATH_MAX, "%s%s", name, extension)
                                : snprintf(path, PATH_MAX, "%s/%s%s", dir, name, extension);
  return n > 0 && n < PATH_MAX;
}

static bool is_file(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool find(const char *name, char path[PATH_MAX]) {
  char dir[PATH_MAX];
  for (unsigned n = 0; folder(n, dir); n++) {
    if (!ends_with_extension(name) && join(path, dir, name, EXTENSION) && is_file(path)) return true;
    // Without the extension only here: elsewhere other files may lie about.
    if ((n == 0 || ends_with_extension(name)) && join(path, dir, name, "") && is_file(path)) return true;
  }
  return false;
}

static int read_all(int fd, char **ret_text, size_t *ret_length) {
  char *text = malloc(MAX_BYTES);
  if (!text) return EGD_ERR_NO_MEMORY;
  size_t length = 0;
  while (length < MAX_BYTES) {
    ssize_t n = read(fd, text + length, MAX_BYTES - length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      int saved = errno;
      free(text);
      errno = saved;
      return EGD_ERR_IO;
    }
    if (n == 0) break;
    length += (size_t)n;
  }
  *ret_text = text;
  *ret_length = length;
  return EGD_OK;
}

// ---- "did you mean" -----------------------------------------------------------------------------------------------------

struct similar {
  const char *wanted;
  char best[NAME_MAX + 1];
  size_t distance;
};

static bool compare(void *context, const char *name, const char *path, bool hidden) {
  (void)path;
  (void)hidden;
  struct similar *similar = context;
  size_t distance = egd_edit_distance(similar->wanted, name);
  if (distance < similar->distance) {
    similar->distance = distance;
    snprintf(similar->best, sizeof(similar->best), "%s", name);
  }
  return true;
}

static int not_found(const char *name, char *error, size_t size) {
  char wanted[NAME_MAX + 1];
  snprintf(wanted, sizeof(wanted), "%s", name);
  if (ends_with_extension(wanted)) wanted[strlen(wanted) - strlen(EXTENSION)] = '\0';
  struct similar similar = {.wanted = wanted, .distance = strlen(wanted) / 3 + 2};
  egd_spec_list(compare, &similar);
  if (similar.best[0])
    snprintf(error, size, "no specification is called '%s'; did you mean '%s'? `egida specs` lists all", name,
             similar.best);
  else
    snprintf(error, size,
             "no specification is called '%s' in this folder, in $EGIDA_SPEC_PATH or in %s/specs; `egida specs` lists "
             "those there are",
             name, EGIDA_DATADIR);
  return EGD_ERR_NOT_FOUND;
}

int egd_spec_read(const char *name, char path[PATH_MAX], char **ret_text, size_t *ret_length, char *error,
                  size_t error_size) {
  if (strcmp(name, "-") == 0) {
    snprintf(path, PATH_MAX, "standard input");
    int status = read_all(STDIN_FILENO, ret_text, ret_length);
    if (status != EGD_OK) snprintf(error, error_size, "cannot read standard input: %s", strerror(errno));
    return status;
  }
  if (!*name || strlen(name) >= PATH_MAX) {
    snprintf(error, error_size,
             "the name of a specification is empty or too long; `egida specs` lists those there are");
    return EGD_ERR_INVALID;
  }
  if (strchr(name, '/'))
    snprintf(path, PATH_MAX, "%s", name);
  else if (!find(name, path))
    return not_found(name, error, error_size);
  // O_NONBLOCK: a pipe without a writer must not hang us before it is refused.
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    int cause = errno;
    snprintf(error, error_size, "cannot open the specification %s: %s%s", path, strerror(cause),
             cause == ENOENT ? "; check the path, or give a name that `egida specs` lists" : "");
    return cause == ENOENT || cause == ENOTDIR ? EGD_ERR_NOT_FOUND : cause == EACCES ? EGD_ERR_PERMISSION : EGD_ERR_IO;
  }
  struct stat st;
  int status = EGD_ERR_INVALID;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    snprintf(error, error_size, "%s is not a regular file; a specification is a text file (%s)", path, EXTENSION);
  } else {
    status = read_all(fd, ret_text, ret_length);
    if (status == EGD_ERR_IO)
      snprintf(error, error_size, "cannot read the specification %s: %s", path, strerror(errno));
    if (status == EGD_ERR_NO_MEMORY) snprintf(error, error_size, "no memory to read the specification %s", path);
  }
  close(fd);
  return status;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}
static int is_spec(const struct dirent *entry) {
  return ends_with_extension(entry->d_name);
}

void egd_spec_list(bool (*found)(void *context, const char *name, const char *path, bool hidden), void *context) {
  char dir[PATH_MAX], path[PATH_MAX], first[PATH_MAX], seen[16][PATH_MAX];
  unsigned nseen = 0;
  bool go_on = true;
  for (unsigned n = 0; go_on && folder(n, dir); n++) {
    // The working folder may also be one of the others.
    char *real = seen[nseen < 16 ? nseen : 15];
    if (!realpath(dir, real)) continue;
    bool again = false;
    for (unsigned i = 0; i < nseen; i++) again |= strcmp(seen[i], real) == 0;
    if (again) continue;
    if (nseen < 15) nseen++;
    struct dirent **entries;
    int count = scandir(dir, &entries, is_spec, by_name);
    for (int i = 0; i < count; i++) {
      char name[NAME_MAX + 1];
      snprintf(name, sizeof(name), "%.*s", (int)(strlen(entries[i]->d_name) - strlen(EXTENSION)), entries[i]->d_name);
      if (go_on && join(path, dir, name, EXTENSION) && is_file(path))
        go_on = found(context, name, path, find(name, first) && strcmp(first, path) != 0);
      free(entries[i]);
    }
    if (count >= 0) free(entries);
  }
}
