// For the tests of images: TAP, running programs, building the guests.
#ifndef EGIDA_TESTS_UNIT_IMAGE_TEST_H
#define EGIDA_TESTS_UNIT_IMAGE_TEST_H

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// The build says where it is.
#define RESTART IMAGE_TEST_BUILD "/egida-restart"

static int test_count, test_failures;

static __attribute__((format(printf, 2, 3))) void ok(bool holds, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("%sok %d - ", holds ? "" : "not ", ++test_count);
  vprintf(format, arguments);
  printf("\n");
  va_end(arguments);
  fflush(stdout);
  if (!holds) test_failures++;
}

static __attribute__((unused)) void skip(int count, const char *what, const char *why) {
  for (int i = 0; i < count; i++) printf("ok %d - %s # SKIP %s\n", ++test_count, what, why);
}

static int finish(void) {
  printf("1..%d\n", test_count);
  return test_failures == 0 ? 0 : 1;
}

/// Run a program with stdout and stderr to files (NULL: unchanged). Returns the exit status, or 128 + the signal, as a shell does.
static int run(const char *const *argv, const char *out, const char *err) {
  pid_t pid = fork();
  if (pid == 0) {
    personality(ADDR_NO_RANDOMIZE); // as the watchdog does
    if (out != NULL) {
      int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(fd, 1);
      close(fd);
    }
    if (err != NULL) {
      int fd = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(fd, 2);
      close(fd);
    }
    execvp(argv[0], (char *const *)(unsigned long)argv);
    _exit(127);
  }
  int status;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static __attribute__((unused)) int restart(const char *image, const char *err) {
  return run((const char *const[]){RESTART, "--job-hash=e61da", image, NULL}, NULL, err);
}

static __attribute__((format(printf, 1, 2))) bool shell(const char *format, ...) {
  char command[8192];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(command, sizeof command, format, arguments);
  va_end(arguments);
  return system(command) == 0;
}

static __attribute__((unused)) bool same_content(const char *a, const char *b) {
  return shell("cmp -s %s %s", a, b);
}

/// Build the image writer with its harness as libharness.so in the current folder.
static bool build_harness(void) {
  static const char sources[] = "buildid describe extra header memory scratch take write";
  return shell("s=%s; cd \"$s\" && set -- && for f in %s; do set -- \"$@\" runtime/checkpoint/$f.c; done && %s "
               "-std=gnu11 -D_GNU_SOURCE "
               "-O2 -g -fPIC -shared -I. -o \"$OLDPWD\"/libharness.so tests/unit/image_harness.c \"$@\" "
               "runtime/checkpoint/context.S "
               "runtime/syscall.S",
               IMAGE_TEST_SOURCE, sources, IMAGE_TEST_CC);
}

/// Build tests/unit/image_guests/SOURCE as ./NAME with `compiler` and its options.
static bool build_guest(const char *compiler, const char *source, const char *name) {
  return shell("%s -D_GNU_SOURCE -O2 -g -I%s -o %s %s/tests/unit/image_guests/%s -L. -lharness -Wl,-rpath,\"$PWD\" -lm "
               "2>build.err",
               compiler, IMAGE_TEST_SOURCE, name, IMAGE_TEST_SOURCE, source);
}

#endif
