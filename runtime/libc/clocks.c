// Time and chance. Clocks are read in the vDSO without a system call, so they are interposed as symbols; the same
// functions serve the system calls. In replay a clock answers what it answered; after that it goes on from there: a
// clock of the new process (or of another node) that is behind is moved forward by an offset.
#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include "runtime/libc/internal.h"

#define CLOCKS 16
#define NS_PER_S 1000000000ll

typedef int vdso_clock_gettime(clockid_t, struct timespec *);
static vdso_clock_gettime *vdso_clock;
static struct { int64_t last, offset; } clocks[CLOCKS];

// The dynamic section of the vDSO gives its symbols; their number comes from whichever hash table there is.
void egd_vdso_find(void) {
  const unsigned char *base = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
  vdso_clock = NULL;
  if (!base) return;
  const Elf64_Ehdr *header = (const Elf64_Ehdr *)base;
  const Elf64_Phdr *segments = (const Elf64_Phdr *)(base + header->e_phoff);
  const Elf64_Dyn *dynamic = NULL;
  uintptr_t bias = 0;
  bool loaded = false;
  for (int i = 0; i < header->e_phnum; i++) {
    if (segments[i].p_type == PT_LOAD && !loaded) {
      bias = (uintptr_t)base + segments[i].p_offset - segments[i].p_vaddr;
      loaded = true;
    } else if (segments[i].p_type == PT_DYNAMIC) {
      dynamic = (const Elf64_Dyn *)(base + segments[i].p_offset);
    }
  }
  if (!dynamic || !loaded) return;
  const Elf64_Sym *symbols = NULL;
  const char *strings = NULL;
  const uint32_t *hash = NULL, *gnu = NULL;
  for (; dynamic->d_tag != DT_NULL; dynamic++) {
    const void *at = (const void *)(bias + dynamic->d_un.d_ptr);
    if (dynamic->d_tag == DT_SYMTAB) symbols = at;
    if (dynamic->d_tag == DT_STRTAB) strings = at;
    if (dynamic->d_tag == DT_HASH) hash = at;
    if (dynamic->d_tag == DT_GNU_HASH) gnu = at;
  }
  if (!symbols || !strings) return;
  uint32_t count = 0;
  if (hash) {
    count = hash[1];
  } else if (gnu) {
    const uint32_t *buckets = gnu + 4 + 2 * gnu[2], *chain = buckets + gnu[0];
    for (uint32_t i = 0; i < gnu[0]; i++)
      if (buckets[i] > count) count = buckets[i];
    if (count >= gnu[1])
      while (!(chain[count - gnu[1]] & 1)) count++;
    count++;
  }
  for (uint32_t i = 0; i < count; i++)
    if (strcmp(strings + symbols[i].st_name, "__vdso_clock_gettime") == 0 && symbols[i].st_shndx)
      vdso_clock = (vdso_clock_gettime *)(bias + symbols[i].st_value);
}

static int raw_clock(int clock, int64_t *ret_ns) {
  struct timespec now;
  long r;
  // The other clocks (CPU time) have no fast path in the vDSO.
  bool fast = clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || (clock >= 4 && clock <= 7) || clock == CLOCK_TAI;
  if (vdso_clock && fast) {
    unsigned trapped = egd_traced(); // other threads are not, and would race for the count
    egd_libc.in_vdso += trapped;
    r = vdso_clock(clock, &now);
    egd_libc.in_vdso -= trapped;
  } else {
    r = egd_sys2(SYS_clock_gettime, clock, &now);
  }
  if (r == 0) *ret_ns = now.tv_sec * NS_PER_S + now.tv_nsec;
  return (int)r;
}

int64_t egd_libc_raw_clock_ns(int clock) {
  int64_t ns = 0;
  raw_clock(clock, &ns);
  return ns;
}

static int logged_clock(int clock, int64_t *ret_ns) {
  int64_t ns;
  bool known = clock >= 0 && clock < CLOCKS;
  if (!egd_take(EGD_EVENT_CLOCK, (uint16_t)clock, &ns, NULL, 0, NULL)) {
    if (egd_rank.replaying) egd_clocks_live(); // the log has ended, although the rank is not live yet
    int r = raw_clock(clock, &ns);
    if (r != 0) return r; // an unknown clock stays unknown: no event
    if (known) ns += clocks[clock].offset;
    egd_event_log(EGD_EVENT_CLOCK, (uint16_t)clock, ns, NULL, 0);
  }
  if (known) clocks[clock].last = ns;
  *ret_ns = ns;
  return 0;
}

/// As the application sees it. 0 or -errno.
int egd_clock_read(int clock, int64_t *ret_ns) {
  if (!egd_traced() || !egd_rank.logging) return raw_clock(clock, ret_ns);
  egd_rank.in_runtime++; // no image between reading and logging
  int r = logged_clock(clock, ret_ns);
  egd_rank.in_runtime--;
  return r;
}

void egd_clocks_live(void) {
  for (int i = 0; i < CLOCKS; i++) {
    int64_t now;
    if (clocks[i].last == 0 || raw_clock(i, &now) != 0) continue;
    clocks[i].offset = now < clocks[i].last ? clocks[i].last - now : 0;
  }
}

// ---- symbols ---------------------------------------------------------------------------------------------------------

static int fail(int error) {
  errno = -error;
  return -1;
}
// A symbol is a point of the execution as a system call is.
static void point(void) {
  if (egd_traced() && egd_libc.armed) egd_libc_event_point();
}

EGD_EXPORT int clock_gettime(clockid_t clock, struct timespec *to) {
  int64_t ns;
  point();
  int r = egd_clock_read(clock, &ns);
  if (r != 0) return fail(r);
  to->tv_sec = ns / NS_PER_S;
  to->tv_nsec = ns % NS_PER_S;
  return 0;
}

static void fill_zone(void *zone) {
  if (zone) memset(zone, 0, sizeof(struct timezone));
}

EGD_EXPORT int gettimeofday(struct timeval *restrict to, void *restrict zone) {
  int64_t ns;
  point();
  int r = egd_clock_read(CLOCK_REALTIME, &ns);
  if (r != 0) return fail(r);
  *to = (struct timeval){ns / NS_PER_S, ns % NS_PER_S / 1000};
  fill_zone(zone);
  return 0;
}

EGD_EXPORT time_t time(time_t *to) {
  int64_t ns;
  point();
  if (egd_clock_read(CLOCK_REALTIME_COARSE, &ns) != 0) return -1;
  if (to) *to = ns / NS_PER_S;
  return ns / NS_PER_S;
}

EGD_EXPORT clock_t clock(void) {
  int64_t ns;
  point();
  if (egd_clock_read(CLOCK_PROCESS_CPUTIME_ID, &ns) != 0) return -1;
  return ns / (NS_PER_S / CLOCKS_PER_SEC);
}

EGD_EXPORT int timespec_get(struct timespec *to, int base) {
  if (base != TIME_UTC || clock_gettime(CLOCK_REALTIME, to) != 0) return 0;
  return base;
}

// libstdc++ prefers the processor's own random numbers, which nothing can trap.
static unsigned random_word(void) {
  unsigned word;
  point();
  egd_random_fill(&word, sizeof word);
  return word;
}
EGD_EXPORT unsigned _ZNSt13random_device9_M_getvalEv(void *self);
EGD_EXPORT unsigned _ZNSt13random_device9_M_getvalEv(void *self) {
  return random_word();
}
EGD_EXPORT unsigned _ZNSt13random_device16_M_getval_pretr1Ev(void *self);
EGD_EXPORT unsigned _ZNSt13random_device16_M_getval_pretr1Ev(void *self) {
  return random_word();
}

// In glibc from the thread's own memory, which the kernel writes: no system call.
EGD_EXPORT int sched_getcpu(void) {
  unsigned cpu = 0;
  int64_t value;
  point();
  if (!egd_traced() || !egd_rank.logging) {
    egd_sys3(SYS_getcpu, &cpu, NULL, NULL);
    return (int)cpu;
  }
  egd_rank.in_runtime++;
  if (!egd_take(EGD_EVENT_SYSCALL, SYS_getcpu, &value, &cpu, sizeof cpu, NULL)) {
    egd_sys3(SYS_getcpu, &cpu, NULL, NULL);
    egd_event_log(EGD_EVENT_SYSCALL, SYS_getcpu, 0, &cpu, sizeof cpu);
  }
  egd_rank.in_runtime--;
  return (int)cpu;
}

// ---- system calls ----------------------------------------------------------------------------------------------------

long egd_policy_clock(struct egd_call *c, const struct egd_row *row) {
  int64_t ns;
  int r = egd_clock_read((int)c->a[0], &ns);
  struct timespec *to = (struct timespec *)c->a[1];
  if (r == 0) *to = (struct timespec){ns / NS_PER_S, ns % NS_PER_S};
  return r;
}

long egd_policy_time(struct egd_call *c, const struct egd_row *row) {
  int64_t ns = 0;
  egd_clock_read(CLOCK_REALTIME_COARSE, &ns);
  if (c->a[0]) *(time_t *)c->a[0] = ns / NS_PER_S;
  return ns / NS_PER_S;
}

long egd_policy_gettimeofday(struct egd_call *c, const struct egd_row *row) {
  int64_t ns = 0;
  egd_clock_read(CLOCK_REALTIME, &ns);
  if (c->a[0]) *(struct timeval *)c->a[0] = (struct timeval){ns / NS_PER_S, ns % NS_PER_S / 1000};
  fill_zone((void *)c->a[1]);
  return 0;
}

void egd_random_fill(void *to, size_t length) {
  if (!egd_traced() || !egd_rank.logging) {
    egd_sys3(SYS_getrandom, to, length, 0);
    return;
  }
  int64_t value;
  egd_rank.in_runtime++;
  if (!egd_take(EGD_EVENT_RANDOM, 0, &value, to, length, NULL)) {
    egd_sys3(SYS_getrandom, to, length, 0);
    egd_event_log(EGD_EVENT_RANDOM, 0, (int64_t)length, to, length);
  }
  egd_rank.in_runtime--;
}

long egd_policy_random(struct egd_call *c, const struct egd_row *row) {
  int64_t value;
  if (!egd_rank.logging) return egd_raw(c);
  if (egd_take(EGD_EVENT_RANDOM, 0, &value, (void *)c->a[0], (size_t)c->a[1], NULL)) return value;
  if (c->a[1] > 1 << 20) c->a[1] = 1 << 20; // a partial answer is legal
  long r = egd_run(c, row);
  egd_event_log(EGD_EVENT_RANDOM, 0, r, (void *)c->a[0], r > 0 ? (size_t)r : 0);
  return r;
}

// Sleeps are cut in pieces, so that an image that was asked for need not wait for their end.
long egd_policy_sleep(struct egd_call *c, const struct egd_row *row) {
  enum { PIECE_NS = 50000000 };
  int64_t value;
  bool absolute = c->nr == SYS_clock_nanosleep && (c->a[1] & TIMER_ABSTIME);
  int clock = c->nr == SYS_clock_nanosleep ? (int)c->a[0] : CLOCK_MONOTONIC;
  const struct timespec *wanted = (const struct timespec *)c->a[c->nr == SYS_clock_nanosleep ? 2 : 0];
  struct timespec *rest = (struct timespec *)c->a[c->nr == SYS_clock_nanosleep ? 3 : 1];
  if (!egd_rank.logging || !wanted || clock < 0 || clock >= CLOCKS) return egd_raw(c);
  size_t length = 0;
  struct timespec left = {0, 0};
  if (egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, &left, sizeof left, &length)) {
    if (length && rest) *rest = left;
    return value;
  }
  if (wanted->tv_nsec < 0 || wanted->tv_nsec >= NS_PER_S || wanted->tv_sec < 0) return -EINVAL;
  int64_t ns = wanted->tv_sec > 1ll << 32 ? INT64_MAX / 2 : wanted->tv_sec * NS_PER_S + wanted->tv_nsec;
  if (absolute) ns -= egd_libc_raw_clock_ns(clock) + clocks[clock].offset;
  long r = 0;
  if (egd_interrupted_before() != EGD_SIGNALS_NONE) {
    r = -EINTR;
    ns--; // it had begun
  }
  while (ns > 0 && r == 0) {
    int64_t piece = ns < PIECE_NS ? ns : PIECE_NS;
    struct timespec part = {0, piece};
    int64_t before = egd_libc_raw_clock_ns(CLOCK_MONOTONIC);
    if (egd_signals_heeded())
      r = egd_blocking_syscall6(SYS_nanosleep, (long)&part, 0, 0, 0, 0, 0);
    else
      r = egd_sys2(SYS_nanosleep, &part, NULL);
    ns -= egd_libc_raw_clock_ns(CLOCK_MONOTONIC) - before;
    if (r == -EINTR && egd_signals_interrupted() != EGD_SIGNALS_NONE) break;
    r = 0;
    egd_safe_point();
    // A new incarnation that begins at this safe point replays the end of the sleep.
    if (egd_take(EGD_EVENT_SYSCALL, (uint32_t)c->nr, &value, &left, sizeof left, &length)) {
      if (length && rest) *rest = left;
      return value;
    }
  }
  if (r == -EINTR && rest && !absolute) {
    left = (struct timespec){ns > 0 ? ns / NS_PER_S : 0, ns > 0 ? ns % NS_PER_S : 0};
    *rest = left;
    egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, r, &left, sizeof left);
    return r;
  }
  egd_event_log(EGD_EVENT_SYSCALL, (uint32_t)c->nr, r, NULL, 0);
  return r;
}
