// Everything that the kernel keeps for a process: prints "ok" or "not ok" lines after each image.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "tests/unit/image_harness.h"

#define PAGE 4096
static int failures;
static void check(int holds, const char *what) {
  if (!holds) failures++;
  printf("%s %s\n", holds ? "ok" : "not ok", what);
}

static void on_usr1(int number) {
  (void)number;
}
static char signal_stack[64 << 10];

static struct {
  int file, file_dup, file_again, append, folder, null, pipe_read, pipe_write, half, socket, event, poll, timer, memory,
      unlinked;
  timer_t posix;
  char *shared_a, *shared_b, *anonymous_shared, *second_shared, *third_shared, *file_private, *file_shared, *gone,
      *hidden, *guard, *huge, *growing;
} have;

static void prepare(void) {
  int ends[2];
  have.file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0640);
  if (write(have.file, "0123456789", 10) != 10) _exit(4);
  lseek(have.file, 4, SEEK_SET);
  have.file_dup = dup(have.file);
  have.file_again = open("data", O_RDONLY | O_CLOEXEC);
  lseek(have.file_again, 7, SEEK_SET);
  have.append = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
  have.folder = open(".", O_RDONLY | O_DIRECTORY);
  have.null = dup2(open("/dev/null", O_RDWR), 200);
  if (pipe(ends) < 0) _exit(4);
  have.pipe_read = ends[0], have.pipe_write = ends[1];
  fcntl(have.pipe_read, F_SETFL, O_NONBLOCK);
  if (write(have.pipe_write, "in the pipe", 11) != 11) _exit(4);
  if (pipe(ends) < 0) _exit(4);
  have.half = ends[0];
  close(ends[1]);
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) _exit(4);
  have.socket = ends[0];
  close(ends[1]);
  have.event = eventfd(42, EFD_NONBLOCK);
  have.poll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1234567890ull};
  epoll_ctl(have.poll, EPOLL_CTL_ADD, have.event, &event);
  have.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct itimerspec hour = {{0, 0}, {3600, 0}};
  timerfd_settime(have.timer, 0, &hour, NULL);
  have.memory = memfd_create("named", MFD_ALLOW_SEALING);
  if (ftruncate(have.memory, 3 * PAGE) < 0 || pwrite(have.memory, "beyond", 6, 2 * PAGE) != 6) _exit(4);
  have.shared_a = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, have.memory, 0);
  have.shared_b = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, have.memory, 0);
  strcpy(have.shared_a, "through a");
  have.anonymous_shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  strcpy(have.anonymous_shared + 2 * PAGE, "shared anonymous");
  have.second_shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  strcpy(have.second_shared, "second");
  int segment = shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0600);
  have.third_shared = shmat(segment, NULL, 0);
  shmctl(segment, IPC_RMID, NULL);
  strcpy(have.third_shared + PAGE, "third");
  char name[] = "unlinked-XXXXXX";
  have.unlinked = mkstemp(name);
  unlink(name);
  if (pwrite(have.unlinked, "no name", 7, 100000) != 7) _exit(4);
  lseek(have.unlinked, 100003, SEEK_SET);

  int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
  char page[PAGE];
  for (int i = 0; i < 4; i++) {
    memset(page, 'a' + i, PAGE);
    if (write(fd, page, PAGE) != PAGE) _exit(4);
  }
  have.file_private = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  memset(have.file_private + PAGE, 0, PAGE);
  have.file_private[3 * PAGE] = 'X';
  close(fd);
  fd = open("shared-file", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (ftruncate(fd, PAGE) < 0) _exit(4);
  have.file_shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  strcpy(have.file_shared, "in the file");
  close(fd);
  fd = open("gone", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (write(fd, "gone but mapped", 15) != 15) _exit(4);
  have.gone = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  unlink("gone");
  have.hidden = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  strcpy(have.hidden + PAGE, "hidden");
  mprotect(have.hidden, 3 * PAGE, PROT_NONE);
  have.huge = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  madvise(have.huge, 8 << 20, MADV_HUGEPAGE);
  memset(have.huge + (3 << 20), 'h', 3 << 20);
  have.growing = sbrk(3 * PAGE);
  strcpy(have.growing, "break");

  struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_RESTART | SA_ONSTACK};
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGHUP);
  sigaction(SIGUSR1, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  raise(SIGUSR2);
  stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
  sigaltstack(&stack, NULL);
  struct itimerval minutes = {{60, 0}, {1800, 0}};
  setitimer(ITIMER_REAL, &minutes, NULL);
  struct sigevent notify = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77};
  timer_t dropped;
  timer_create(CLOCK_MONOTONIC, &notify, &dropped);
  timer_create(CLOCK_MONOTONIC, &notify, &have.posix);
  timer_delete(dropped);
  timer_settime(have.posix, 0, &hour, NULL);
  umask(027);
  prctl(PR_SET_NAME, "state-guest");
}

static int same_offset(int a, int b) {
  off_t of_a = lseek(a, 0, SEEK_CUR), of_b = lseek(b, 0, SEEK_CUR);
  lseek(a, of_b + 1, SEEK_SET);
  int same = lseek(b, 0, SEEK_CUR) == of_b + 1;
  lseek(a, of_a, SEEK_SET);
  return same;
}

static void check_descriptors(void) {
  char text[64] = "";
  struct stat info;
  check(lseek(have.file, 0, SEEK_CUR) == 4, "offset of a file");
  check(same_offset(have.file, have.file_dup), "duplicates share the offset");
  check(lseek(have.file_again, 0, SEEK_CUR) == 7 && !same_offset(have.file, have.file_again), "separate opens do not");
  check(fcntl(have.file_again, F_GETFD) == FD_CLOEXEC && fcntl(have.file, F_GETFD) == 0, "close-on-exec");
  check((fcntl(have.append, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_WRONLY), "append mode");
  check(fstat(have.folder, &info) == 0 && S_ISDIR(info.st_mode), "folder");
  check(fstat(200, &info) == 0 && S_ISCHR(info.st_mode), "/dev/null at its number");
  check(read(have.pipe_read, text, 64) == 11 && memcmp(text, "in the pipe", 11) == 0, "bytes in a pipe");
  check(read(have.pipe_read, text, 64) == -1 && errno == EAGAIN, "a pipe is not blocking");
  check(write(have.pipe_write, "in the pipe", 11) == 11, "a pipe can be written");
  check(read(have.half, text, 64) == 0, "half a pipe is at its end");
  check(read(have.socket, text, 64) == 0, "half a socket is at its end");
  check(write(have.socket, "x", 1) == -1 && errno == EPIPE, "half a socket cannot be written");
  struct epoll_event event;
  check(epoll_wait(have.poll, &event, 1, 0) == 1 && event.data.u64 == 0x1234567890ull, "epoll");
  uint64_t count = 0;
  check(read(have.event, &count, 8) == 8 && count == 42, "eventfd");
  check(write(have.event, &count, 8) == 8, "eventfd can be written");
  struct itimerspec timer;
  check(timerfd_gettime(have.timer, &timer) == 0 && timer.it_value.tv_sec > 3000 && timer.it_value.tv_sec <= 3600,
        "timerfd");
  check(fcntl(have.file_dup + 50, F_GETFD) == -1, "no descriptor is left over");
}

static void check_memory(void) {
  char text[64] = "";
  check(strcmp(have.shared_b, "through a") == 0, "shared memory");
  have.shared_a[20] = (char)('0' + image_generation());
  check(have.shared_b[20] == '0' + image_generation() && pread(have.memory, text, 1, 20) == 1 &&
            text[0] == have.shared_a[20],
        "both mappings and the descriptor of a memfd are one");
  check(pread(have.memory, text, 6, 2 * PAGE) == 6 && memcmp(text, "beyond", 6) == 0, "a memfd behind its mapping");
  check(strcmp(have.anonymous_shared + 2 * PAGE, "shared anonymous") == 0, "anonymous shared memory");
  check(strcmp(have.second_shared, "second") == 0, "a second piece of it");
  check(strcmp(have.third_shared + PAGE, "third") == 0, "System V shared memory");
  check(lseek(have.unlinked, 0, SEEK_CUR) == 100003 && pread(have.unlinked, text, 7, 100000) == 7 &&
            memcmp(text, "no name", 7) == 0,
        "an unlinked file");
  check(have.file_private[0] == 'a' && have.file_private[PAGE] == 0 && have.file_private[2 * PAGE] == 'c' &&
            have.file_private[3 * PAGE] == 'X' && have.file_private[3 * PAGE + 1] == 'd',
        "a private mapping of a file");
  check(strcmp(have.file_shared, "in the file") == 0, "a shared mapping of a file");
  check(memcmp(have.gone, "gone but mapped", 16) == 0, "a mapping of a deleted file");
  mprotect(have.hidden, 3 * PAGE, PROT_READ);
  check(strcmp(have.hidden + PAGE, "hidden") == 0 && have.hidden[0] == 0, "memory without access");
  mprotect(have.hidden, 3 * PAGE, PROT_NONE);
  check(have.huge[0] == 0 && have.huge[3 << 20] == 'h' && have.huge[(6 << 20) - 1] == 'h' && have.huge[6 << 20] == 0,
        "huge pages");
  check(strcmp(have.growing, "break") == 0 && (char *)sbrk(0) >= have.growing + 3 * PAGE, "the break");
  check(sbrk(PAGE) != (void *)-1 && sbrk(-PAGE) != (void *)-1, "the break moves");
  char deep[2 << 20]; // the stack still grows
  memset(deep, 1, sizeof deep);
  check(deep[image_generation()] == 1, "the stack grows");
}

static void check_process(void) {
  struct sigaction action;
  sigaction(SIGUSR1, NULL, &action);
  check(action.sa_handler == on_usr1 && (action.sa_flags & SA_ONSTACK) && sigismember(&action.sa_mask, SIGHUP) == 1,
        "signal handler");
  sigaction(SIGPIPE, NULL, &action);
  check(action.sa_handler == SIG_IGN, "ignored signal");
  sigset_t set;
  sigprocmask(SIG_BLOCK, NULL, &set);
  check(sigismember(&set, SIGUSR2) == 1 && sigismember(&set, SIGUSR1) == 0, "signal mask");
  sigpending(&set);
  check(sigismember(&set, SIGUSR2) == 1 && sigismember(&set, SIGUSR1) == 0, "pending signal");
  stack_t stack;
  sigaltstack(NULL, &stack);
  check(stack.ss_sp == signal_stack && stack.ss_size == sizeof signal_stack, "signal stack");
  check(raise(SIGUSR1) == 0, "a signal is delivered");
  struct itimerval timer;
  getitimer(ITIMER_REAL, &timer);
  check(timer.it_interval.tv_sec == 60 && timer.it_value.tv_sec > 1700 && timer.it_value.tv_sec <= 1800,
        "interval timer");
  struct itimerspec posix;
  check(timer_gettime(have.posix, &posix) == 0 && posix.it_value.tv_sec > 3000, "POSIX timer");
  mode_t mask = umask(0);
  umask(mask);
  check(mask == 027, "umask");
  char text[4096];
  check(getcwd(text, sizeof text) != NULL && strstr(text, "/inside") != NULL, "working folder");
  prctl(PR_GET_NAME, text);
  check(strcmp(text, "state-guest") == 0, "name");
  FILE *file = fopen("/proc/self/cmdline", "r");
  size_t n = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
  text[n] = '\0';
  check(n > 0 && strstr(text, "state") != NULL, "/proc/self/cmdline");
  if (file != NULL) fclose(file);
  file = fopen("/proc/self/maps", "r");
  int stack_seen = 0, heap_seen = 0, vdso_seen = 0, loader_seen = 0, reserved_seen = 0;
  while (file != NULL && fgets(text, sizeof text, file) != NULL) {
    stack_seen += strstr(text, "[stack]") != NULL;
    heap_seen += strstr(text, "[heap]") != NULL;
    vdso_seen += strstr(text, "[vdso]") != NULL;
    unsigned long begin = strtoul(text, NULL, 16);
    bool ours =
        (begin >= 0x0e0000000000 && begin < 0x0f0000000000) || (begin >= 0x3f0000000000 && begin < 0x3f8000000000);
    loader_seen += ours && strstr(text, " ---p ") == NULL;
    reserved_seen += ours;
  }
  check(stack_seen == 1 && heap_seen == 1 && vdso_seen == 1, "stack, heap and vdso have their names");
  check(loader_seen == 0, "nothing of the loader is left");
  check(reserved_seen == 2, "its addresses and the writer's stay reserved");
  if (file != NULL) fclose(file);
  struct timespec now;
  check(clock_gettime(CLOCK_MONOTONIC, &now) == 0 && now.tv_sec > 0, "the vdso's clock");
  check(environ != NULL && getenv("IMAGE_PATH") != NULL, "environment");
  pthread_mutex_t robust;
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_init(&robust, &attributes);
  check(pthread_mutex_lock(&robust) == 0 && pthread_mutex_lock(&robust) == EDEADLK &&
            pthread_mutex_unlock(&robust) == 0,
        "the thread knows its number");
  check(gettid() == getpid() && kill(getpid(), 0) == 0, "process number");
}

int main(void) {
  prepare();
  for (int round = 0; round < 4; round++) {
    image_point();
    check_descriptors();
    check_memory();
    check_process();
    fflush(stdout);
  }
  return failures == 0 ? 0 : 1;
}
