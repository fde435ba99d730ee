#include "common/install.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/status.h"

// Places in a build folder, relative to its top, and the file that proves them.
static const struct {
  const char *name, *build[3], *installed, *proof;
} parts[] = {
    [EGD_PART_AGENT] = {"egida-agent", {"egida-agent", ".libs/egida-agent"}, EGIDA_LIBEXECDIR, ""},
    [EGD_PART_EXEC] = {"egida-exec", {"egida-exec", ".libs/egida-exec"}, EGIDA_LIBEXECDIR, ""},
    [EGD_PART_RESTART] = {"egida-restart",
                          {"egida-restart", "runtime/checkpoint/egida-restart", ".libs/egida-restart"},
                          EGIDA_LIBEXECDIR,
                          ""},
    [EGD_PART_RUNTIME] = {"libegida.so", {".libs/libegida.so", "libegida.so"}, EGIDA_LIBDIR, ""},
    [EGD_PART_STUBS] = {"stubs", {"runtime/ucp/.libs", "stubs"}, EGIDA_LIBDIR, "/libucp.so.0"},
};

static bool there(char path[PATH_MAX], const char *dir, const char *name, const char *proof) {
  char probe[PATH_MAX + 32];
  int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);
  if (n < 0 || n >= PATH_MAX) return false;
  snprintf(probe, sizeof(probe), "%s%s", path, proof);
  return access(probe, F_OK) == 0;
}

static bool program_folder(char dir[PATH_MAX]) {
  ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);
  if (n <= 0) return false;
  dir[n] = 0;
  char *slash = strrchr(dir, '/');
  if (!slash) return false;
  *slash = 0;
  return true;
}

// The build folder of the running program: its own folder, or the one above ".libs".
static bool build_folder(char dir[PATH_MAX]) {
  if (!program_folder(dir)) return false;
  char *slash = strrchr(dir, '/');
  if (slash && strcmp(slash, "/.libs") == 0) *slash = 0;
  return true;
}

static const char *below_prefix(const char *path) {
  size_t length = strlen(EGIDA_PREFIX);
  return strncmp(path, EGIDA_PREFIX, length) == 0 && path[length] == '/' ? path + length : NULL;
}

void egd_install_folder(const char *configured, char path[PATH_MAX]) {
  static const char *const of_programs[] = {EGIDA_BINDIR, EGIDA_LIBEXECDIR};
  char dir[PATH_MAX];
  const char *wanted = below_prefix(configured);
  snprintf(path, PATH_MAX, "%s", configured);
  if (!wanted || !program_folder(dir)) return;
  // The running program's folder without what configure put below the prefix is the prefix of today.
  for (size_t i = 0; i < sizeof(of_programs) / sizeof(of_programs[0]); i++) {
    const char *own = below_prefix(of_programs[i]);
    size_t length = strlen(dir), own_length = own ? strlen(own) : 0;
    if (!own || length < own_length || strcmp(dir + length - own_length, own) != 0) continue;
    dir[length - own_length] = 0;
    int n = snprintf(path, PATH_MAX, "%s%s", dir, wanted);
    if (n < 0 || n >= PATH_MAX) snprintf(path, PATH_MAX, "%s", configured);
    return;
  }
}

int egd_install_find(enum egd_install_part part, char path[PATH_MAX]) {
  char dir[PATH_MAX];
  const char *given = getenv("EGIDA_LIBDIR");
  if (given && *given && there(path, given, parts[part].name, parts[part].proof)) return EGD_OK;
  if (build_folder(dir))
    for (size_t i = 0; i < 3 && parts[part].build[i]; i++)
      if (there(path, dir, parts[part].build[i], parts[part].proof)) return EGD_OK;
  egd_install_folder(parts[part].installed, dir);
  return there(path, dir, parts[part].name, parts[part].proof) ? EGD_OK : EGD_ERR_NOT_FOUND;
}
