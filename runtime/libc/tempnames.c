// Temporary names. glibc makes them of the clock, which it reads in the vDSO by its own pointer: neither a symbol nor a
// system call to catch. So the family is replaced, with names from logged random numbers. tmpfile needs no name.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "runtime/libc/internal.h"

#define MARKS 6
#define ATTEMPTS 10000

enum what { WHAT_FILE, WHAT_FOLDER, WHAT_NAME };

/// A system call as the application makes it: trapped like any other.
static long as_application(long nr, long a, long b, long c, long d) {
  register long fourth __asm__("r10") = d;
  __asm__ volatile("syscall" : "+a"(nr) : "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
  return nr;
}

/// Descriptor (WHAT_FILE) or 0; -1 with errno.
static int make(char *template, int suffix, int flags, enum what what) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  size_t length = strlen(template);
  char *marks = template + length - suffix - MARKS;
  if (suffix < 0 || length < (size_t)suffix + MARKS || memcmp(marks, "XXXXXX", MARKS) != 0) {
    errno = EINVAL;
    return -1;
  }
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    uint64_t chance;
    struct stat st;
    if (egd_traced() && egd_libc.armed) egd_libc_event_point();
    egd_random_fill(&chance, sizeof chance);
    for (int i = 0; i < MARKS; i++, chance /= sizeof letters - 1) marks[i] = letters[chance % (sizeof letters - 1)];
    long r;
    if (what == WHAT_FILE)
      r = as_application(SYS_openat, AT_FDCWD, (long)template, (flags & ~O_ACCMODE) | O_RDWR | O_CREAT | O_EXCL, 0600);
    else if (what == WHAT_FOLDER)
      r = as_application(SYS_mkdir, (long)template, 0700, 0, 0);
    else
      r = as_application(SYS_lstat, (long)template, (long)&st, 0, 0) == -ENOENT ? 0 : -EEXIST;
    if (r >= 0) return (int)r;
    if (r != -EEXIST) {
      errno = (int)-r;
      return -1;
    }
  }
  errno = EEXIST;
  return -1;
}

EGD_EXPORT int mkostemps(char *template, int suffix, int flags) {
  return make(template, suffix, flags, WHAT_FILE);
}
EGD_EXPORT int mkstemps(char *template, int suffix) {
  return make(template, suffix, 0, WHAT_FILE);
}
EGD_EXPORT int mkostemp(char *template, int flags) {
  return make(template, 0, flags, WHAT_FILE);
}
EGD_EXPORT int mkstemp(char *template) {
  return make(template, 0, 0, WHAT_FILE);
}
EGD_EXPORT char *mkdtemp(char *template) {
  return make(template, 0, 0, WHAT_FOLDER) == 0 ? template : NULL;
}
EGD_EXPORT char *mktemp(char *template) {
  if (make(template, 0, 0, WHAT_NAME) != 0) *template = 0;
  return template;
}

EGD_EXPORT int mkostemps64(char *template, int suffix, int flags) {
  return make(template, suffix, flags, WHAT_FILE);
}
EGD_EXPORT int mkstemps64(char *template, int suffix) {
  return make(template, suffix, 0, WHAT_FILE);
}
EGD_EXPORT int mkostemp64(char *template, int flags) {
  return make(template, 0, flags, WHAT_FILE);
}
EGD_EXPORT int mkstemp64(char *template) {
  return make(template, 0, 0, WHAT_FILE);
}
