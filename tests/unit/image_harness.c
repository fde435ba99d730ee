#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "runtime/checkpoint/image.h"
#include "tests/unit/image_harness.h"

#ifndef __WCLONE
#define __WCLONE 0x80000000
#endif

void image_point_(void);

static int calls, generation;
static const char *path, *points;
static enum { SYNC, ASYNC, LATE, DIE } mode;
static unsigned delay_us; // before it dies
static int writer;        // at work while the process goes on

__attribute__((constructor)) static void read_environment(void) {
  path = getenv("IMAGE_PATH");
  points = getenv("IMAGE_POINTS");
  const char *value = getenv("IMAGE_ASYNC"), *delay = getenv("IMAGE_DELAY_US");
  if (delay != NULL) delay_us = (unsigned)atoi(delay);
  if (value != NULL) mode = *value == '1' ? ASYNC : *value == 'l' ? LATE : *value == 'd' ? DIE : SYNC;
}

static void fail(const char *what, int status) {
  char line[128];
  int n = snprintf(line, sizeof line, "image_harness: %s: %d\n", what, status);
  if (write(2, line, (size_t)n) < 0) _exit(3);
  _exit(2);
}

static void await_writer(void) {
  int status;
  if (waitpid(writer, &status, __WCLONE) != writer || status != 0) fail("writer", status);
}

void image_now(void) {
  int saved_errno = errno, child = 0;
  static const char extra[] = "extra data";
  struct egd_image_extra extras[] = {{17, extra, sizeof extra}};
  static int fds[] = {960};
  struct egd_image_request request = {.path = path,
                                      .job_hash = 0xe61daull,
                                      .rank = 5,
                                      .number = (uint32_t)generation + 1,
                                      .async = mode != SYNC,
                                      .extras = extras,
                                      .nextras = 1,
                                      .excluded_fds = fds,
                                      .nexcluded_fds = 1};
  int outcome = egd_image_take(&request, &child);
  if (outcome < 0) fail("egd_image_take", outcome);
  if (outcome == EGD_IMAGE_TAKEN) {
    writer = child;
    if (mode == LATE) return;
    if (mode == ASYNC) await_writer();
    if (mode == DIE) usleep(delay_us);
    syscall(SYS_kill, getpid(), SIGKILL);
  }
  generation++;
  errno = saved_errno;
}

void image_point(void) {
  calls++;
  if (writer != 0) {
    await_writer();
    syscall(SYS_kill, getpid(), SIGKILL);
  }
  if (points == NULL || path == NULL) return;
  for (const char *at = points; *at != '\0';) {
    char *end;
    long number = strtol(at, &end, 10);
    if (number == calls) {
      image_now();
      return;
    }
    at = *end == ',' ? end + 1 : end;
    if (end == at && *at != '\0') return;
  }
}

// Fortran's name for it.
void image_point_(void) {
  image_point();
}

int image_generation(void) {
  return generation;
}
