#include "common/log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char prefix[64] = "egida";
static bool shows_verbose;
static int stream_fd = STDERR_FILENO, file_fd = -1;

void egd_log_set_name(const char *name) {
  snprintf(prefix, sizeof(prefix), "%s", name);
}
void egd_log_set_verbose(bool verbose) {
  shows_verbose = verbose;
}
bool egd_log_is_verbose(void) {
  return shows_verbose;
}
void egd_log_set_stream(int fd) {
  stream_fd = fd;
}
void egd_log_set_file(int fd) {
  file_fd = fd;
}

static void write_line(bool show, const char *format, va_list args) {
  int saved = errno;
  char line[2048];
  int n = snprintf(line, sizeof(line), "%s: ", prefix);
  int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
  size_t length = (size_t)n + (m < 0 ? 0 : (size_t)m);
  if (length > sizeof(line) - 2) length = sizeof(line) - 2;
  line[length++] = '\n';
  // One write per line: lines of several processes do not mix.
  if (show && write(stream_fd, line, length) < 0) show = false;
  if (file_fd >= 0 && write(file_fd, line, length) < 0) file_fd = -1;
  errno = saved;
}

void egd_log(const char *format, ...) {
  va_list args;
  va_start(args, format);
  write_line(true, format, args);
  va_end(args);
}

void egd_verbose(const char *format, ...) {
  if (!shows_verbose && file_fd < 0) return;
  va_list args;
  va_start(args, format);
  write_line(shows_verbose, format, args);
  va_end(args);
}
