// The event reactor: one thread, epoll, one-shot timers, deferred work.
//
// Used by agent, watchdog, launcher. Nothing here is thread-safe. A callback may add, change and remove anything,
// itself included; an event of a descriptor that was removed in the same round is dropped.
#ifndef EGIDA_COMMON_REACTOR_H
#define EGIDA_COMMON_REACTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct egd_reactor;

/// `events`: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR as epoll gives them (level-triggered).
typedef void (*egd_reactor_fd_fn)(void *arg, int fd, uint32_t events);
typedef void (*egd_reactor_fn)(void *arg);
/// Runs before the reactor blocks. False: there is work, don't block (descriptors are looked at all the same).
typedef bool (*egd_reactor_before_fn)(void *arg);

/// EGD_OK or EGD_ERR_NO_MEMORY. The caller frees *ret_reactor with egd_reactor_destroy().
int egd_reactor_create(struct egd_reactor **ret_reactor);
/// Descriptors stay open: they are the callers'. NULL is allowed.
void egd_reactor_destroy(struct egd_reactor *reactor);

/// Watch `fd` (socket, pipe, pidfd, signalfd …). One watcher per descriptor. EGD_ERR_EXISTS, EGD_ERR_NO_MEMORY,
/// EGD_ERR_INVALID (the descriptor can't be watched).
int egd_reactor_add(struct egd_reactor *reactor, int fd, uint32_t events, egd_reactor_fd_fn fn, void *arg);
/// Change the events of a watched descriptor. EGD_ERR_NOT_FOUND.
int egd_reactor_modify(struct egd_reactor *reactor, int fd, uint32_t events);
/// Stop watching; call before close(). Unknown descriptors are ignored.
void egd_reactor_remove(struct egd_reactor *reactor, int fd);

/// Run `fn` once after `delay_ns`. Returns the timer's id, never 0; 0 = no memory.
uint64_t egd_reactor_after(struct egd_reactor *reactor, uint64_t delay_ns, egd_reactor_fn fn, void *arg);
/// Ids that fired already, and 0, are ignored.
void egd_reactor_cancel(struct egd_reactor *reactor, uint64_t id);
/// Run `fn` in this round after the callbacks, before blocking. Not lost when the reactor stops and runs again.
int egd_reactor_defer(struct egd_reactor *reactor, egd_reactor_fn fn, void *arg);
/// Hooks around each blocking wait; either may be NULL. One pair per reactor.
void egd_reactor_set_hooks(struct egd_reactor *reactor, egd_reactor_before_fn before, egd_reactor_fn after, void *arg);

/// One round: wait at most `timeout_ns` (UINT64_MAX = until something happens), run what is due. EGD_OK or EGD_ERR_IO.
int egd_reactor_once(struct egd_reactor *reactor, uint64_t timeout_ns);
/// Rounds until egd_reactor_stop().
int egd_reactor_run(struct egd_reactor *reactor);
void egd_reactor_stop(struct egd_reactor *reactor);

/// CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_REALTIME in nanoseconds.
uint64_t egd_monotonic_ns(void);
uint64_t egd_boottime_ns(void);
uint64_t egd_realtime_ns(void);

#endif
