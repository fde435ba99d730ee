// Programs under runtime/libc alone (libc_preload.c stands for the rest of the rank): a second run over the log of the
// first must print the same, leave the same files and repeat nothing; a run that was killed at any event must be
// completed by the next one as if it had not been. LIBC_TEST_ALL=1 kills at every event, not at a sample.
#include <errno.h>
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
#include <time.h>
#include <unistd.h>

#define TIMEOUT_S 20
#define FLAGS " -std=gnu11 -O2 -fPIC -D_GNU_SOURCE -I" LIBC_TEST_SOURCE " "
#define UNIT LIBC_TEST_SOURCE "/tests/unit/"

static int count, failures;
static char folder[] = "/tmp/egida-libc-XXXXXX";

static __attribute__((format(printf, 2, 3))) void ok(bool holds, const char *format, ...) {
  va_list args;
  va_start(args, format);
  printf("%sok %d - ", holds ? "" : "not ", ++count);
  vprintf(format, args);
  printf("\n");
  va_end(args);
  fflush(stdout);
  failures += !holds;
}

static __attribute__((format(printf, 1, 2))) int shell(const char *format, ...) {
  char command[8192];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  fflush(stdout);
  int status = system(command);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void fresh(void) {
  shell("rm -rf run messages output log ref out && mkdir run && echo 'an old input file of the job, read again' > "
        "input && "
        "touch -d '2 hours ago' input");
}

/// One incarnation in folder `run`. Its exit status, or 128 + signal.
static int incarnation(const char *program, const char *part, int stop, bool tear) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    char number[16];
    snprintf(number, sizeof number, "%d", stop);
    setenv("EGD_TEST_STOP", number, 1);
    setenv("EGD_TEST_LOG", "../log", 1);
    setenv("EGD_TEST_OUTPUT", "../output", 1);
    setenv("EGD_TEST_FOLDER", folder, 1);
    if (tear) setenv("EGD_TEST_TEAR", "1", 1);
    char *preload = NULL;
    if (asprintf(&preload, "%s/preload.so", folder) < 0 || chdir("run") != 0) _exit(126);
    setenv("LD_PRELOAD", preload, 1);
    bool spool = strcmp(part, "input") == 0;
    if (!freopen(spool ? "../stdin" : "/dev/null", "r", stdin) || !freopen("../messages", "a", stderr) ||
        !freopen("/dev/null", "w", stdout))
      _exit(126);
    personality(ADDR_NO_RANDOMIZE);
    execl(program, program, part, NULL);
    _exit(127);
  }
  int status, waited = 0; // not by alarm: the programs have their own
  while (waitpid(pid, &status, WNOHANG) == 0) {
    usleep(2000);
    if (++waited == TIMEOUT_S * 500) kill(pid, SIGTERM);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool done(void) {
  return shell("tr -d '\\0' < output > out; grep -qx done out") == 0;
}
static void explain(void) {
  shell("(cat messages; tail -c 2M output | tr -d '\\0') | tail -n 5 | sed 's/^/# /'");
}

static void twice(const char *program, const char *part, const char *name) {
  fresh();
  int first = incarnation(program, part, 0, false);
  bool finished = done();
  shell("cp output output.1; rm -rf run.1; cp -a run run.1");
  int second = incarnation(program, part, 0, false);
  bool same = shell("cmp output output.1 && diff -r --no-dereference run run.1") == 0;
  ok(first == 0 && finished && second == 0 && same, "%s: replayed the same, nothing repeated (%d, %d)", name, first,
     second);
  if (first || second) explain();
}

static void killed(const char *program, const char *part, const char *name, int step, bool reference) {
  int points = 0, bad = 0;
  if (getenv("LIBC_TEST_ALL")) step = 1;
  for (int stop = 1;; stop += step) {
    fresh();
    if (incarnation(program, part, stop, points % 2) != 128 + SIGKILL) break;
    points++;
    int status = incarnation(program, part, 0, false);
    bool good = status == 0 && done();
    if (good && reference)
      good = shell("mkdir ref && cd ref && %s %s < /dev/null 2> /dev/null | cat > ../ref.out && cd .. && head -c 2M "
                   "output | "
                   "tr -d '\\0' | cmp - ref.out && diff -r --no-dereference run ref",
                   program, part) == 0;
    if (good) { // and a third incarnation agrees with the two before
      shell("cp output output.1; rm -rf run.1; cp -a run run.1");
      good = incarnation(program, part, 0, false) == 0 &&
             shell("cmp output output.1 && diff -r --no-dereference run run.1") == 0;
    }
    if (!good) {
      bad++;
      printf("# %s: killed at event %d: status %d\n", name, stop, status);
      explain();
    }
  }
  ok(points > 0 && bad == 0, "%s: killed at %d events, recovered each time", name, points);
}

static void input(const char *program) {
  fresh();
  shell("printf 'one\\n' > stdin; rm -f stdin.eof");
  pid_t feeder = fork();
  if (feeder == 0) {
    usleep(200000);
    shell("printf 'two\\nthr' >> stdin");
    usleep(200000);
    shell("printf 'ee\\n' >> stdin; : > stdin.eof");
    _exit(0);
  }
  int first = incarnation(program, "input", 4, false), second = incarnation(program, "input", 0, false);
  waitpid(feeder, NULL, 0);
  ok(first == 128 + SIGKILL && second == 0 && done() && shell("grep -qx '3: three' out && grep -qx '3 lines' out") == 0,
     "standard input: waited for, and read once across a failure (%d, %d)", first, second);
}

static void lost_file(const char *program) {
  fresh();
  int first = incarnation(program, "files", 0, false);
  shell("echo other content, other length >> input");
  int second = incarnation(program, "files", 0, false);
  ok(first == 0 && second == 75 && shell("grep -q 'input again, but it was changed' messages") == 0,
     "an input file that changed is refused by name (%d, %d)", first, second);
}

int main(void) {
  if (!mkdtemp(folder) || chdir(folder) != 0) return 99;
  char program[128];
  int built =
      shell("cd " LIBC_TEST_SOURCE " && for f in " LIBC_TEST_RUNTIME "; do case $f in *.c) echo $f; esac; done | "
            "xargs " LIBC_TEST_CC FLAGS "-shared -o %s/preload.so runtime/syscall.S tests/unit/libc_preload.c",
            folder);
  built |= shell(LIBC_TEST_CC FLAGS "-o app " UNIT "libc_app.c -lpthread");
  ok(built == 0, "the test programs are built");
  snprintf(program, sizeof program, "%s/app", folder);
  static const char *const parts[] = {"clocks", "names", "files", "redirected", "processes", "signals", "waiting"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) twice(program, parts[i], parts[i]);
  killed(program, "files", "files", 11, true);
  killed(program, "redirected", "redirected output", 3, true);
  killed(program, "names", "names", 7, false);
  killed(program, "waiting", "waiting", 3, false);
  killed(program, "signals", "signals", 17, false);
  input(program);
  lost_file(program);

  static const struct {
    const char *name, *compiler, *source;
  } others[] = {{"C++", "g++ -std=c++17", "libc_app.cc -lpthread"}, {"Fortran", "gfortran", "libc_app.f90"}};
  for (size_t i = 0; i < 2; i++) {
    if (shell("command -v %.8s > /dev/null", i == 0 ? "g++" : "gfortran") != 0) {
      printf("ok %d - %s # SKIP no compiler\nok %d - %s # SKIP no compiler\n", count + 1, others[i].name, count + 2,
             others[i].name);
      count += 2;
      continue;
    }
    shell("%s -O1 -o other " UNIT "%s", others[i].compiler, others[i].source);
    snprintf(program, sizeof program, "%s/other", folder);
    twice(program, "child", others[i].name);
    killed(program, "", others[i].name, 13, false);
  }
  snprintf(program, sizeof program, "%s/app", folder);
  fresh();
  if (incarnation(program, "cost", 0, false) == 0) shell("tail -c 2M output | tr -d '\\0' | sed 's/^/# cost of /'");
  printf("1..%d\n", count);
  if (failures == 0 && chdir("/") == 0) shell("rm -rf %s", folder);
  return failures != 0;
}
