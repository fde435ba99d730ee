// A link: one non-blocking stream with frames in both directions, on a reactor. JSON frames come and go as jansson
// values, binary ones as bytes (docs/formats/control.md).
#ifndef EGIDA_COMMON_LINK_H
#define EGIDA_COMMON_LINK_H

#include <jansson.h>
#include <stddef.h>
#include "common/reactor.h"

struct egd_link;

struct egd_link_handlers {
  void (*json)(void *arg, struct egd_link *link, json_t *message); // always an object; borrowed
  void (*binary)(void *arg, struct egd_link *link, const unsigned char *data, size_t length);
  /// The peer is gone or sent what is no frame; called once, never from within egd_link_send*(). Call
  /// egd_link_destroy() then.
  void (*closed)(void *arg, struct egd_link *link);
};

/// Takes over `fd` if EGD_OK. Bodies beyond `max_body` end the link.
int egd_link_create(struct egd_reactor *reactor, int fd, size_t max_body, const struct egd_link_handlers *handlers,
                    void *arg, struct egd_link **ret_link);
/// Sends what goes without waiting, closes the descriptor; no handler is called any more. Allowed in handlers. NULL is
/// allowed.
void egd_link_destroy(struct egd_link *link);
/// Another limit, e.g. when the peer is known; from the next frame on.
void egd_link_set_max_body(struct egd_link *link, size_t max_body);
int egd_link_fd(const struct egd_link *link);

/// Steals `message` (NULL: EGD_ERR_NO_MEMORY). Control messages always fit the queue. NULL link: dropped.
int egd_link_send(struct egd_link *link, json_t *message);
int egd_link_send_binary(struct egd_link *link, const void *head, size_t head_length, const void *body,
                         size_t body_length);
/// Bytes that the peer did not take yet.
size_t egd_link_queued(const struct egd_link *link);
/// Write until the queue is empty or `timeout_ns` is over; for the last words of a process.
void egd_link_drain(struct egd_link *link, uint64_t timeout_ns);

/// Listen on a Unix socket DIR/NAME (DIR may be longer than a socket address allows); replaces what is there. Returns a
/// non-blocking close-on-exec descriptor, or -1 with errno.
int egd_unix_listen(const char *dir, const char *name);
/// Connect to one. -1 with errno.
int egd_unix_connect(const char *dir, const char *name);
/// Accept a connection of the same user, non-blocking, close-on-exec; -1: none, or of another user (it is closed).
int egd_unix_accept(int listener);

#endif
