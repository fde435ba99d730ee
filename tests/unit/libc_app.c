// A program whose behaviour depends on all that runtime/libc must repeat. argv[1] names the part to run.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "FAILED: %s (%s)\n", what, strerror(errno));
  exit(9);
}

static void clocks(void) {
  struct timespec t, before = {0, 0};
  struct timeval v;
  struct rusage use;
  struct tms tms;
  unsigned cpu;
  for (int i = 0; i < 5; i++) {
    clock_gettime(CLOCK_MONOTONIC, &t);
    must(t.tv_sec > before.tv_sec || (t.tv_sec == before.tv_sec && t.tv_nsec >= before.tv_nsec), "monotonic");
    before = t;
    printf("%ld.%09ld\n", (long)t.tv_sec, t.tv_nsec);
    usleep(300);
  }
  gettimeofday(&v, NULL);
  printf("%ld.%06ld %ld %ld\n", (long)v.tv_sec, (long)v.tv_usec, (long)time(NULL), (long)clock());
  timespec_get(&t, TIME_UTC);
  printf("%ld %ld\n", (long)t.tv_sec, t.tv_nsec);
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
  printf("%ld %ld\n", (long)t.tv_sec, t.tv_nsec);
  getrusage(RUSAGE_SELF, &use);
  printf("%ld %ld\n", (long)use.ru_utime.tv_usec, use.ru_minflt);
  printf("%ld %ld\n", (long)times(&tms), (long)tms.tms_utime);
  printf("%d\n", sched_getcpu());
  syscall(SYS_getcpu, &cpu, NULL, NULL);
  printf("%u\n", cpu);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  printf("%ld\n", t.tv_nsec);
  errno = 17;
  time(NULL);
  getpid();
  must(errno == 17, "errno is kept");
  must(clock_gettime(77, &t) == -1 && errno == EINVAL, "a clock that is not there");
}

static void names(void) {
  struct utsname u;
  struct stat st;
  char template[] = "temp-XXXXXX", *folder = strdup(template);
  close(mkstemp(template));
  printf("%s %s\n", template, mkdtemp(folder));
  stat(template, &st);
  printf("%ld %ld\n", (long)st.st_ino, (long)st.st_mtim.tv_nsec);
  uname(&u);
  unsigned char r[16];
  printf("%d %d %ld %ld\n", getpid(), getppid(), syscall(SYS_getpid), syscall(SYS_gettid));
  printf("%s\n", u.nodename);
  getrandom(r, sizeof r, 0);
  for (unsigned i = 0; i < sizeof r; i++) printf("%02x", r[i]);
  getentropy(r, sizeof r);
  for (unsigned i = 0; i < sizeof r; i++) printf("%02x", r[i]);
  printf(" %u\n", arc4random());
  FILE *f = fopen("/dev/urandom", "r");
  must(fread(r, 1, sizeof r, f) == sizeof r, "urandom");
  for (unsigned i = 0; i < sizeof r; i++) printf("%02x", r[i]);
  fclose(f);
  f = fopen("/proc/self/stat", "r");
  char line[512];
  must(fgets(line, sizeof line, f) != NULL, "proc");
  printf("\n%s", line);
  fclose(f);
  DIR *d = opendir("/proc/self/fd");
  for (struct dirent *e; (e = readdir(d));) printf("%s ", e->d_name);
  closedir(d);
  printf("\n%s\n", getcwd(line, sizeof line) ? "cwd" : "no cwd");
  kill(getpid(), 0);
}

static void files(void) {
  char b[256], template[] = "temp-XXXXXX";
  FILE *f = fopen("plain", "w");
  for (int i = 0; i < 2000; i++) fprintf(f, "line %d of the file\n", i);
  fclose(f);
  f = fopen("plain", "r+");
  fseek(f, 100, SEEK_SET);
  fputs("OVERWRITTEN", f);
  fseek(f, 90, SEEK_SET);
  must(fgets(b, sizeof b, f) != NULL, "fgets");
  printf("%s", b);
  fseek(f, 0, SEEK_END);
  printf("%ld\n", ftell(f));
  fclose(f);
  for (int i = 0; i < 3; i++) {
    f = fopen("appended", "a");
    fprintf(f, "round %d\n", i);
    fflush(f);
    fprintf(f, "second half %d\n", i);
    fclose(f);
  }
  int fd = mkstemp(template);
  printf("%d %.5s\n", fd, template);
  must(write(fd, "temporary", 9) == 9, "write");
  must(rename(template, "kept") == 0, "rename");
  must(write(fd, " and more", 9) == 9, "write after rename");
  must(lseek(fd, 3, SEEK_SET) == 3 && read(fd, b, 4) == 4, "read back");
  printf("%.4s\n", b);
  close(fd);
  fd = open("removed", O_RDWR | O_CREAT | O_EXCL, 0600);
  must(fd >= 0, "O_EXCL");
  must(unlink("removed") == 0, "unlink");
  must(write(fd, "0123456789", 10) == 10, "write");
  must(pwrite(fd, "ab", 2, 4) == 2, "pwrite");
  must(ftruncate(fd, 8) == 0, "ftruncate");
  must(pread(fd, b, 20, 0) == 8, "pread");
  printf("%.8s\n", b);
  close(fd);
  f = tmpfile();
  fputs("in a file without a name", f);
  rewind(f);
  must(fgets(b, sizeof b, f) != NULL, "tmpfile");
  printf("%s\n", b);
  fclose(f);
  must(mkdir("folder", 0755) == 0, "mkdir");
  must(mkdir("folder", 0755) == -1 && errno == EEXIST, "mkdir twice");
  must(symlink("kept", "folder/link") == 0, "symlink");
  must(link("kept", "folder/hard") == 0, "link");
  must(chmod("kept", 0640) == 0, "chmod");
  must(truncate("folder/hard", 12) == 0, "truncate");
  must(mkdir("folder/gone", 0755) == 0 && rmdir("folder/gone") == 0, "rmdir");
  must(unlink("folder/nothing") == -1 && errno == ENOENT, "unlink nothing");
  DIR *d = opendir("folder");
  size_t letters = 0;
  for (struct dirent *e; (e = readdir(d));) letters += strlen(e->d_name);
  closedir(d);
  struct stat st;
  stat("kept", &st);
  printf("%zu %ld %o\n", letters, (long)st.st_size, st.st_mode);
  fd = open("vector", O_RDWR | O_CREAT | O_TRUNC, 0644);
  struct iovec v[3] = {{"one ", 4}, {"two ", 4}, {"three", 5}};
  must(writev(fd, v, 3) == 13, "writev");
  char p[3][6] = {{0}};
  struct iovec w[3] = {{p[0], 5}, {p[1], 5}, {p[2], 5}};
  must(preadv(fd, w, 3, 0) == 13, "preadv");
  printf("%.5s|%.5s|%.5s\n", p[0], p[1], p[2]);
  int again = dup(fd), high = fcntl(fd, F_DUPFD, 20);
  must(dup2(fd, 17) == 17 && again > fd && high >= 20, "dup");
  must(write(17, "!", 1) == 1, "write to the copy");
  printf("%d %d %ld\n", again, high, (long)lseek(again, 0, SEEK_CUR));
  must(close_range(3, ~0u, 0) == 0, "close_range");
  size_t big = 3 << 20;
  char *m = malloc(big);
  for (size_t i = 0; i < big; i++) m[i] = (char)(i * 7 + i / 1000);
  fd = open("big", O_RDWR | O_CREAT, 0644);
  must(write(fd, m, big) == (ssize_t)big, "big write");
  memset(m, 0, big);
  must(pread(fd, m, big, 0) == (ssize_t)big, "big read");
  unsigned sum = 0;
  for (size_t i = 0; i < big; i++) sum = sum * 31 + (unsigned char)m[i];
  printf("%u\n", sum);
  close(fd);
  fd = open("../input", O_RDONLY);
  while (read(fd, b, 7) > 0) printf("%.1s", b);
  printf("\n");
  close(fd);
}

static void redirected(void) {
  int saved = dup(1);
  printf("before\n");
  fflush(stdout);
  int fd = open("redirected", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  dup2(fd, 1);
  printf("into the file\n");
  fflush(stdout);
  dup2(saved, 1);
  printf("after\n");
  fflush(stdout);
  fprintf(stderr, "to stderr\n");
  FILE *f = fopen("/dev/stdout", "w");
  fprintf(f, "by its name\n");
  fclose(f);
  dprintf(1, "numbers %d\n", 5);
}

static void *thread(void *arg) {
  struct timespec t;
  for (int i = 0; i < 100; i++) clock_gettime(CLOCK_MONOTONIC, &t);
  free(malloc(100000));
  return (char *)arg + 1;
}

static void processes(void) {
  pthread_t ids[4];
  void *r;
  for (long i = 0; i < 4; i++) pthread_create(&ids[i], NULL, thread, (void *)(i * 10));
  for (int i = 0; i < 4; i++) {
    pthread_join(ids[i], &r);
    printf("thread %ld\n", (long)r);
  }
  printf("system %d\n", system("echo child >> child; exit 4"));
  char b[100], *argv[] = {"sh", "-c", "echo spawned >> child", NULL}, *none[] = {NULL};
  int status;
  pid_t pid;
  printf("spawn %d\n", posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, none));
  must(waitpid(pid, &status, 0) == pid && status == 0, "waitpid");
  FILE *p = popen("echo a line; date +%N", "r");
  while (fgets(b, sizeof b, p)) printf("popen %s", b);
  printf("pclose %d\n", pclose(p));
  pid = fork();
  if (pid == 0) {
    FILE *f = fopen("by-child", "w");
    fprintf(f, "own number: %d\n", getpid() != getppid());
    fclose(f);
    _exit(getpid() == (pid_t)syscall(SYS_getpid) ? 3 : 4);
  }
  must(waitpid(pid, &status, 0) == pid, "waitpid");
  printf("fork %d\n", WEXITSTATUS(status));
  pid = vfork();
  if (pid == 0) _exit(5);
  must(waitpid(pid, &status, 0) == pid, "waitpid");
  printf("vfork %d\n", WEXITSTATUS(status));
}

static volatile sig_atomic_t alarms, users;
static sigjmp_buf back;
static volatile int *volatile nowhere;
static void on_alarm(int s) {
  alarms++;
  printf("alarm %d\n", alarms);
}
static void on_user(int s, siginfo_t *info, void *context) {
  users++;
  printf("user signal %d from me: %d\n", s, info->si_pid == getpid() || info->si_pid > 0);
}
static void on_jump(int s) {
  siglongjmp(back, 1);
}
static void on_fault(int s) {
  siglongjmp(back, 2);
}

static void signals(void) {
  struct itimerval timer = {{0, 20000}, {0, 20000}};
  struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART}, old;
  struct timespec t;
  sigaction(SIGALRM, &act, &old);
  sigaction(SIGALRM, NULL, &old);
  must(old.sa_handler == on_alarm, "the handler is what was installed");
  setitimer(ITIMER_REAL, &timer, NULL);
  unsigned long spins = 0;
  while (alarms < 3) {
    spins++;
    clock_gettime(CLOCK_MONOTONIC, &t);
    usleep(1000);
  }
  printf("%lu turns\n", spins);
  timer = (struct itimerval){{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &timer, NULL);
  act = (struct sigaction){.sa_sigaction = on_user, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &act, NULL);
  raise(SIGUSR1);
  must(users == 1, "raise has run the handler");
  sigset_t set;
  sigfillset(&set);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR1);
  must(users == 1, "blocked");
  printf("still alive with all signals blocked\n");
  sigemptyset(&set);
  sigprocmask(SIG_SETMASK, &set, NULL);
  must(users == 2, "unblocked");
  signal(SIGALRM, on_alarm);
  int n = alarms;
  ualarm(30000, 0);
  pause();
  must(alarms == n + 1, "pause");
  ualarm(30000, 0);
  struct timespec wait = {1, 0}, rest;
  act = (struct sigaction){.sa_handler = on_alarm};
  sigaction(SIGALRM, &act, NULL);
  must(nanosleep(&wait, &rest) == -1 && errno == EINTR && rest.tv_nsec > 500000000, "nanosleep is interrupted");
  printf("%ld left\n", rest.tv_nsec);
  // A blocked read: interrupted without SA_RESTART, restarted with it.
  int fds[2];
  char c;
  must(pipe(fds) == 0, "pipe");
  ualarm(20000, 0);
  must(read(fds[0], &c, 1) == -1 && errno == EINTR, "read is interrupted");
  printf("interrupted\n");
  signal(SIGALRM, on_jump);
  if (sigsetjmp(back, 1) == 0) {
    ualarm(20000, 0);
    must(read(fds[0], &c, 1) == 0, "unreachable");
  }
  printf("jumped out of read\n");
  stack_t alternative = {.ss_sp = malloc(65536), .ss_size = 65536}, was;
  must(sigaltstack(&alternative, NULL) == 0 && sigaltstack(NULL, &was) == 0 && was.ss_size == 65536, "sigaltstack");
  act = (struct sigaction){.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
  sigaction(SIGSEGV, &act, NULL);
  for (volatile int i = 0; i < 3; i++)
    if (sigsetjmp(back, 1) == 0) *nowhere = 1;
  printf("survived faults\n");
  act = (struct sigaction){.sa_handler = on_alarm, .sa_flags = SA_RESETHAND};
  sigaction(SIGUSR2, &act, NULL);
  raise(SIGUSR2);
  sigaction(SIGUSR2, NULL, &old);
  must(old.sa_handler == SIG_DFL, "one shot");
}

static void input(void) {
  char line[256];
  int n = 0;
  while (fgets(line, sizeof line, stdin)) printf("%d: %s", ++n, line);
  printf("%d lines\n", n);
}

static void waiting(void) {
  int fds[2];
  must(pipe(fds) == 0, "pipe");
  must(write(fds[1], "xyz", 3) == 3, "write");
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fds[0], &set);
  struct timeval t = {5, 0};
  printf("select %d", select(fds[0] + 1, &set, NULL, NULL, &t));
  printf(" %d %ld\n", FD_ISSET(fds[0], &set), (long)t.tv_sec);
  char b[3];
  must(read(fds[0], b, 3) == 3, "read");
  printf("%.3s\n", b);
  struct timespec zero = {0, 1000000};
  sigset_t all;
  sigfillset(&all);
  FD_ZERO(&set);
  FD_SET(fds[0], &set);
  printf("pselect %d\n", pselect(fds[0] + 1, &set, NULL, NULL, &zero, &all));
}

static void cost(void) {
  struct timespec a, b;
  enum { TURNS = 20000 };
  int fd = open("/dev/null", O_WRONLY);
  static const char *what[] = {"getuid()", "clock_gettime()", "write() to /dev/null", "write() to stdout"};
  for (int i = 0; i < 4; i++) {
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int n = 0; n < TURNS; n++) {
      if (i == 0) syscall(SYS_getuid);
      if (i == 1) clock_gettime(CLOCK_MONOTONIC, &b);
      if (i == 2 && write(fd, "x", 1) != 1) exit(1);
      if (i == 3 && write(1, "x", 1) != 1) exit(1);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    fprintf(stderr, "%s: %ld ns\n", what[i], ((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec) / TURNS);
  }
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*run)(void);
  } parts[] = {{"clocks", clocks},         {"names", names},         {"files", files},
               {"redirected", redirected}, {"processes", processes}, {"signals", signals},
               {"waiting", waiting},       {"input", input},         {"cost", cost}};
  for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
    if (argc > 1 && strcmp(argv[1], parts[i].name) == 0) {
      parts[i].run();
      printf("done\n");
      return 0;
    }
  return 2;
}
