#include "common/reactor.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "common/status.h"

#define EVENTS_PER_ROUND 64

struct watch {
  egd_reactor_fd_fn fn; // NULL: not watched
  void *arg;
  uint32_t generation; // tells an event of this watch from one of an earlier watch of the same number
};

struct timer {
  uint64_t due_ns, id;
  egd_reactor_fn fn;
  void *arg;
};

struct deferred {
  egd_reactor_fn fn;
  void *arg;
};

struct egd_reactor {
  int epoll_fd;
  bool stopped;
  uint32_t generation;
  struct watch *watches; // by descriptor
  size_t nwatches;
  struct timer *timers; // binary heap by due time
  size_t ntimers, timers_size;
  uint64_t next_timer;
  struct deferred *deferred;
  size_t ndeferred, deferred_size;
  egd_reactor_before_fn before;
  egd_reactor_fn after;
  void *hook_arg;
};

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t egd_monotonic_ns(void) {
  return clock_ns(CLOCK_MONOTONIC);
}
uint64_t egd_boottime_ns(void) {
  return clock_ns(CLOCK_BOOTTIME);
}
uint64_t egd_realtime_ns(void) {
  return clock_ns(CLOCK_REALTIME);
}

int egd_reactor_create(struct egd_reactor **ret_reactor) {
  struct egd_reactor *reactor = calloc(1, sizeof(*reactor));
  if (!reactor) return EGD_ERR_NO_MEMORY;
  reactor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (reactor->epoll_fd < 0) {
    free(reactor);
    return EGD_ERR_NO_MEMORY;
  }
  *ret_reactor = reactor;
  return EGD_OK;
}

void egd_reactor_destroy(struct egd_reactor *reactor) {
  if (!reactor) return;
  close(reactor->epoll_fd);
  free(reactor->watches);
  free(reactor->timers);
  free(reactor->deferred);
  free(reactor);
}

static struct watch *watch_of(struct egd_reactor *reactor, int fd) {
  if (fd < 0 || (size_t)fd >= reactor->nwatches || !reactor->watches[fd].fn) return NULL;
  return &reactor->watches[fd];
}

static uint64_t event_key(int fd, uint32_t generation) {
  return (uint64_t)generation << 32 | (uint32_t)fd;
}

int egd_reactor_add(struct egd_reactor *reactor, int fd, uint32_t events, egd_reactor_fd_fn fn, void *arg) {
  if (fd < 0) return EGD_ERR_INVALID;
  if (watch_of(reactor, fd)) return EGD_ERR_EXISTS;
  if ((size_t)fd >= reactor->nwatches) {
    size_t count = (size_t)fd + 32;
    struct watch *watches = realloc(reactor->watches, count * sizeof(*watches));
    if (!watches) return EGD_ERR_NO_MEMORY;
    memset(watches + reactor->nwatches, 0, (count - reactor->nwatches) * sizeof(*watches));
    reactor->watches = watches;
    reactor->nwatches = count;
  }
  uint32_t generation = ++reactor->generation;
  struct epoll_event event = {.events = events, .data.u64 = event_key(fd, generation)};
  if (epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
    return errno == ENOMEM || errno == ENOSPC ? EGD_ERR_NO_MEMORY : EGD_ERR_INVALID;
  reactor->watches[fd] = (struct watch){.fn = fn, .arg = arg, .generation = generation};
  return EGD_OK;
}

int egd_reactor_modify(struct egd_reactor *reactor, int fd, uint32_t events) {
  struct watch *watch = watch_of(reactor, fd);
  if (!watch) return EGD_ERR_NOT_FOUND;
  struct epoll_event event = {.events = events, .data.u64 = event_key(fd, watch->generation)};
  return epoll_ctl(reactor->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0 ? EGD_OK : EGD_ERR_NOT_FOUND;
}

void egd_reactor_remove(struct egd_reactor *reactor, int fd) {
  struct watch *watch = watch_of(reactor, fd);
  if (!watch) return;
  watch->fn = NULL;
  epoll_ctl(reactor->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void swap_timers(struct timer *a, struct timer *b) {
  struct timer copy = *a;
  *a = *b;
  *b = copy;
}

static bool fires_before(const struct timer *a, const struct timer *b) {
  return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->id < b->id);
}

static void timer_up(struct egd_reactor *reactor, size_t at) {
  struct timer *heap = reactor->timers;
  for (; at > 0 && fires_before(&heap[at], &heap[(at - 1) / 2]); at = (at - 1) / 2)
    swap_timers(&heap[at], &heap[(at - 1) / 2]);
}

static void timer_down(struct egd_reactor *reactor, size_t at) {
  struct timer *heap = reactor->timers;
  for (;;) {
    size_t first = at, child = 2 * at + 1;
    if (child < reactor->ntimers && fires_before(&heap[child], &heap[first])) first = child;
    if (child + 1 < reactor->ntimers && fires_before(&heap[child + 1], &heap[first])) first = child + 1;
    if (first == at) return;
    swap_timers(&heap[at], &heap[first]);
    at = first;
  }
}

static void timer_drop(struct egd_reactor *reactor, size_t at) {
  reactor->timers[at] = reactor->timers[--reactor->ntimers];
  if (at == reactor->ntimers) return;
  timer_up(reactor, at);
  timer_down(reactor, at);
}

uint64_t egd_reactor_after(struct egd_reactor *reactor, uint64_t delay_ns, egd_reactor_fn fn, void *arg) {
  if (reactor->ntimers == reactor->timers_size) {
    size_t size = reactor->timers_size ? 2 * reactor->timers_size : 16;
    struct timer *timers = realloc(reactor->timers, size * sizeof(*timers));
    if (!timers) return 0;
    reactor->timers = timers;
    reactor->timers_size = size;
  }
  uint64_t id = ++reactor->next_timer;
  reactor->timers[reactor->ntimers] =
      (struct timer){.due_ns = egd_monotonic_ns() + delay_ns, .id = id, .fn = fn, .arg = arg};
  timer_up(reactor, reactor->ntimers++);
  return id;
}

void egd_reactor_cancel(struct egd_reactor *reactor, uint64_t id) {
  if (id == 0) return;
  for (size_t i = 0; i < reactor->ntimers; i++)
    if (reactor->timers[i].id == id) {
      timer_drop(reactor, i);
      return;
    }
}

int egd_reactor_defer(struct egd_reactor *reactor, egd_reactor_fn fn, void *arg) {
  if (reactor->ndeferred == reactor->deferred_size) {
    size_t size = reactor->deferred_size ? 2 * reactor->deferred_size : 16;
    struct deferred *deferred = realloc(reactor->deferred, size * sizeof(*deferred));
    if (!deferred) return EGD_ERR_NO_MEMORY;
    reactor->deferred = deferred;
    reactor->deferred_size = size;
  }
  reactor->deferred[reactor->ndeferred++] = (struct deferred){fn, arg};
  return EGD_OK;
}

void egd_reactor_set_hooks(struct egd_reactor *reactor, egd_reactor_before_fn before, egd_reactor_fn after, void *arg) {
  reactor->before = before;
  reactor->after = after;
  reactor->hook_arg = arg;
}

static void run_deferred(struct egd_reactor *reactor) {
  // Work that is deferred by deferred work waits for the next round, so that descriptors are not starved.
  size_t count = reactor->ndeferred;
  if (count == 0) return;
  for (size_t i = 0; i < count; i++) {
    struct deferred work = reactor->deferred[i];
    work.fn(work.arg);
  }
  reactor->ndeferred -= count;
  memmove(reactor->deferred, reactor->deferred + count, reactor->ndeferred * sizeof(*reactor->deferred));
}

static void run_timers(struct egd_reactor *reactor) {
  uint64_t now_ns = egd_monotonic_ns();
  uint64_t newest = reactor->next_timer; // timers made by these callbacks wait for the next round
  while (reactor->ntimers > 0 && reactor->timers[0].due_ns <= now_ns && reactor->timers[0].id <= newest) {
    struct timer timer = reactor->timers[0];
    timer_drop(reactor, 0);
    timer.fn(timer.arg);
  }
}

static int wait_ms(struct egd_reactor *reactor, uint64_t timeout_ns) {
  if (reactor->ndeferred > 0) return 0;
  if (reactor->ntimers > 0) {
    uint64_t now_ns = egd_monotonic_ns(), due_ns = reactor->timers[0].due_ns;
    uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    if (left_ns < timeout_ns) timeout_ns = left_ns;
  }
  if (timeout_ns == UINT64_MAX) return -1;
  uint64_t ms = timeout_ns / 1000000u + (timeout_ns % 1000000u != 0);
  return ms > 3600000u ? 3600000 : (int)ms;
}

int egd_reactor_once(struct egd_reactor *reactor, uint64_t timeout_ns) {
  int timeout_ms = wait_ms(reactor, timeout_ns);
  bool blocks = timeout_ms != 0;
  if (blocks && reactor->before && !reactor->before(reactor->hook_arg)) timeout_ms = 0;
  struct epoll_event events[EVENTS_PER_ROUND];
  int count = epoll_wait(reactor->epoll_fd, events, EVENTS_PER_ROUND, timeout_ms);
  int error = errno;
  if (blocks && reactor->after) reactor->after(reactor->hook_arg);
  if (count < 0 && error != EINTR) return EGD_ERR_IO;
  for (int i = 0; i < count; i++) {
    int fd = (int)(uint32_t)events[i].data.u64;
    struct watch *watch = watch_of(reactor, fd);
    if (!watch || event_key(fd, watch->generation) != events[i].data.u64) continue;
    watch->fn(watch->arg, fd, events[i].events);
  }
  run_timers(reactor);
  run_deferred(reactor);
  return EGD_OK;
}

int egd_reactor_run(struct egd_reactor *reactor) {
  reactor->stopped = false;
  while (!reactor->stopped) {
    int status = egd_reactor_once(reactor, UINT64_MAX);
    if (status != EGD_OK) return status;
  }
  return EGD_OK;
}

void egd_reactor_stop(struct egd_reactor *reactor) {
  reactor->stopped = true;
}
