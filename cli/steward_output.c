// srun's --output and --error: the ranks' output comes from the steward, so it goes where the steward's streams go.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/steward.h"
#include "common/log.h"

// As Slurm has it; srun's plugin let through only what is known here.
static void expand_letter(const struct steward_step *step, char letter, int width, char *text, size_t size) {
  struct passwd *user;
  switch (letter) {
  case 'j':
    snprintf(text, size, "%0*u", width, step->job);
    break;
  case 's':
    snprintf(text, size, "%0*u", width, step->step);
    break;
  case 'J':
    snprintf(text, size, "%0*u.%u", width, step->job, step->step);
    break;
  case 'u':
    user = getpwuid(getuid());
    snprintf(text, size, "%s", user ? user->pw_name : "");
    break;
  default:
    snprintf(text, size, "%c", letter);
  }
}

static bool expand(const struct steward_step *step, const char *pattern, char path[PATH_MAX]) {
  size_t length = 0;
  for (const char *p = pattern; *p; p++) {
    char text[PATH_MAX] = {*p, 0};
    if (*p == '%') {
      char *end;
      unsigned long width = strtoul(p + 1, &end, 10);
      expand_letter(step, *end, width < 10 ? (int)width : 10, text, sizeof(text));
      p = end;
    }
    size_t more = strlen(text);
    if (length + more >= PATH_MAX) {
      egd_log("%s: the path is too long", pattern);
      return false;
    }
    memcpy(path + length, text, more + 1);
    length += more;
  }
  return length > 0;
}

// Slurm has made it, and made it empty if it should be.
static bool redirect(const struct steward_step *step, const char *pattern, int stream) {
  char path[PATH_MAX];
  if (strcasecmp(pattern, "none") == 0) pattern = "/dev/null";
  if (!expand(step, pattern, path)) return false;
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd >= 0 && dup2(fd, stream) >= 0) {
    close(fd);
    return true;
  }
  egd_log("cannot write %s: %s", path, strerror(errno));
  return false;
}

bool steward_redirect(const struct steward_step *step, const char *output, const char *error) {
  const char *errors = error ? error : output; // as in srun
  int terminal = errors ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0) : -1;
  if (output && !redirect(step, output, STDOUT_FILENO)) return false;
  if (errors && !redirect(step, errors, STDERR_FILENO)) return false;
  if (terminal >= 0) egd_log_set_stream(terminal); // what Egida says is for the user
  return true;
}
