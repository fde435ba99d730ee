// The reactor, frames and links.
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/frame.h"
#include "common/link.h"
#include "common/reactor.h"
#include "common/status.h"
#include "tests/unit/tap_store.h"

// ---- reactor ------------------------------------------------------------------------------------------------------------

static struct egd_reactor *reactor;
static char order[64];

static void note(void *arg) {
  strcat(order, arg);
}
static void stop(void *arg) {
  egd_reactor_stop(reactor);
}
static void again(void *arg) {
  strcat(order, "d");
  if (strlen(order) < 3) egd_reactor_defer(reactor, again, NULL);
}

static void test_timers(void) {
  order[0] = 0;
  egd_reactor_after(reactor, 30000000, note, "3");
  egd_reactor_after(reactor, 10000000, note, "1");
  uint64_t never = egd_reactor_after(reactor, 15000000, note, "x");
  egd_reactor_after(reactor, 20000000, note, "2");
  egd_reactor_after(reactor, 40000000, stop, NULL);
  egd_reactor_cancel(reactor, never);
  egd_reactor_cancel(reactor, 0);
  uint64_t begin_ns = egd_monotonic_ns();
  egd_reactor_run(reactor);
  ok(strcmp(order, "123") == 0, "timers fire in order, a cancelled one does not (%s)", order);
  ok(egd_monotonic_ns() - begin_ns >= 40000000, "not too early");
  egd_reactor_cancel(reactor, never);
  order[0] = 0;
  for (int i = 0; i < 40; i++) egd_reactor_after(reactor, (uint64_t)(i * 7919 % 40) * 100000, note, i % 2 ? "a" : "b");
  egd_reactor_after(reactor, 10000000, stop, NULL);
  egd_reactor_run(reactor);
  ok(strlen(order) == 40, "many timers all fire (%zu)", strlen(order));
  order[0] = 0;
  egd_reactor_defer(reactor, again, NULL);
  for (int i = 0; i < 5; i++) egd_reactor_once(reactor, 0);
  ok(strcmp(order, "ddd") == 0, "deferred work may defer more (%s)", order);
}

static int pipes[2][2], calls;

// Both ends are ready in one round; the first callback closes the other and reuses its number.
static void remove_other(void *arg, int fd, uint32_t events) {
  int mine = fd == pipes[0][0] ? 0 : 1;
  calls++;
  egd_reactor_remove(reactor, pipes[!mine][0]);
  close(pipes[!mine][0]);
  int again = dup(pipes[mine][1]); // takes the lowest number: the closed one
  egd_reactor_add(reactor, again, EPOLLIN, remove_other, NULL);
  egd_reactor_remove(reactor, fd);
  egd_reactor_remove(reactor, again);
  close(again);
}

static void test_stale_events(void) {
  for (int i = 0; i < 2; i++) {
    if (pipe(pipes[i]) != 0 || write(pipes[i][1], "x", 1) != 1) exit(1);
    egd_reactor_add(reactor, pipes[i][0], EPOLLIN, remove_other, NULL);
  }
  ok(egd_reactor_add(reactor, pipes[0][0], EPOLLIN, remove_other, NULL) == EGD_ERR_EXISTS,
     "one watcher per descriptor");
  egd_reactor_once(reactor, 1000000000);
  egd_reactor_once(reactor, 0);
  ok(calls == 1, "the event of a removed descriptor is dropped (%d calls)", calls);
  ok(egd_reactor_modify(reactor, pipes[0][0], EPOLLIN) == EGD_ERR_NOT_FOUND, "modify of an unwatched one is an error");
}

static int looks;
static bool before(void *arg) {
  return ++looks > 3;
}
static void after(void *arg) {
  looks += 100;
}

static void test_hooks(void) {
  egd_reactor_set_hooks(reactor, before, after, NULL);
  uint64_t begin_ns = egd_monotonic_ns();
  egd_reactor_once(reactor, 2000000000);
  ok(looks == 101 && egd_monotonic_ns() - begin_ns < 1000000000,
     "a hook that sees work keeps the reactor from blocking");
  egd_reactor_once(reactor, 0);
  ok(looks == 101, "hooks run only around a wait");
  egd_reactor_set_hooks(reactor, NULL, NULL, NULL);
}

// ---- frames -------------------------------------------------------------------------------------------------------------

static size_t frames, bytes;
static unsigned char last_type;

static int count(void *arg, uint8_t type, const unsigned char *body, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (body[i] != (unsigned char)(length + i)) return EGD_ERR_CORRUPT;
  frames++;
  bytes += length;
  last_type = type;
  return EGD_OK;
}

static void test_frames(void) {
  struct egd_frame_queue queue;
  struct egd_frame_decoder decoder;
  unsigned char body[5000], stream[70000];
  size_t lengths[] = {0, 1, 7, 8, 9, 100, 4096, 5000, 0, 3}, total = 0, wanted = 0;
  egd_frame_queue_init(&queue, SIZE_MAX);
  for (size_t i = 0; i < 10; i++) {
    for (size_t j = 0; j < lengths[i]; j++) body[j] = (unsigned char)(lengths[i] + j);
    egd_frame_put2(&queue, EGD_FRAME_BINARY, body, lengths[i] / 3, body + lengths[i] / 3, lengths[i] - lengths[i] / 3);
    wanted += lengths[i];
  }
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) exit(1);
  ok(egd_frame_flush(&queue, pair[0]) == EGD_OK && egd_frame_queued(&queue) == 0, "a queue is written");
  while (total < wanted + 10 * EGD_FRAME_HEADER) total += (size_t)read(pair[1], stream + total, sizeof(stream) - total);
  for (size_t piece = 1; piece < 6000; piece = piece * 2 + 1) {
    egd_frame_decoder_init(&decoder, 5000);
    frames = bytes = 0;
    int status = EGD_OK;
    for (size_t at = 0; at < total && status == EGD_OK; at += piece)
      status = egd_frame_push(&decoder, stream + at, piece < total - at ? piece : total - at, count, NULL);
    ok(status == EGD_OK && frames == 10 && bytes == wanted && last_type == EGD_FRAME_BINARY, "in pieces of %zu bytes",
       piece);
    egd_frame_decoder_clear(&decoder);
  }
  static const unsigned char bad[][8] = {
      {0xff, 0xff, 0xff, 0x7f, 1}, {1, 0, 0, 0, 0}, {1, 0, 0, 0, 1, 1}, {0, 0, 0, 0, 2, 0, 0, 9}};
  for (size_t i = 0; i < 4; i++) {
    egd_frame_decoder_init(&decoder, 5000);
    int whole = egd_frame_push(&decoder, bad[i], 8, count, NULL);
    egd_frame_decoder_clear(&decoder);
    int split = egd_frame_push(&decoder, bad[i], 3, count, NULL);
    if (split == EGD_OK) split = egd_frame_push(&decoder, bad[i] + 3, 5, count, NULL);
    ok(whole == EGD_ERR_CORRUPT && split == EGD_ERR_CORRUPT, "header %zu is refused", i);
    egd_frame_decoder_clear(&decoder);
  }
  unsigned char promise[8] = {0xff, 0xff, 0xff, 0x0f, 1};
  egd_frame_decoder_init(&decoder, 1u << 30);
  egd_frame_push(&decoder, promise, 8, count, NULL);
  ok(decoder.size <= 4096, "a header alone takes no memory (%zu)", decoder.size);
  egd_frame_decoder_clear(&decoder);
  egd_frame_queue_clear(&queue);
  egd_frame_queue_init(&queue, 100);
  ok(egd_frame_put(&queue, 1, body, 5000) == EGD_OK, "a frame always fits an empty queue");
  ok(egd_frame_put(&queue, 1, body, 1) == EGD_ERR_NO_SPACE, "then it is full");
  close(pair[1]);
  ok(egd_frame_flush(&queue, pair[0]) == EGD_ERR_IO, "the peer is gone: an error, no signal");
  close(pair[0]);
  egd_frame_queue_clear(&queue);
}

// ---- links --------------------------------------------------------------------------------------------------------------

static int pings, closed;
static size_t got;

static void on_json(void *arg, struct egd_link *link, json_t *message) {
  json_int_t n = json_integer_value(json_object_get(message, "n"));
  pings++;
  if (n == 7) {
    egd_link_destroy(link); // in its own handler
    return;
  }
  egd_link_send(link, json_pack("{sI}", "n", n + 1));
}
static void on_binary(void *arg, struct egd_link *link, const unsigned char *data, size_t length) {
  got += length;
}
static void on_closed(void *arg, struct egd_link *link) {
  closed++;
  egd_link_destroy(link);
  egd_reactor_stop(reactor);
}

static void test_links(void) {
  static const struct egd_link_handlers handlers = {.json = on_json, .binary = on_binary, .closed = on_closed};
  struct egd_link *a, *b;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) exit(1);
  egd_link_create(reactor, pair[0], 8 << 20, &handlers, NULL, &a);
  egd_link_create(reactor, pair[1], 8 << 20, &handlers, NULL, &b);
  size_t size = 5u << 20;
  char *large = calloc(1, size);
  ok(egd_link_send_binary(a, "head", 4, large, size) == EGD_OK && egd_link_queued(a) > 0,
     "more than a socket takes waits");
  for (int i = 0; i < 1000 && got < size + 4; i++) egd_reactor_once(reactor, 100000000);
  ok(got == size + 4 && egd_link_queued(a) == 0, "and comes (%zu bytes)", got);
  free(large);
  egd_link_send(a, json_pack("{si}", "n", 0));
  egd_reactor_run(reactor);
  ok(pings == 8 && closed == 1, "to and fro, then one end closes (%d, %d)", pings, closed);
  ok(egd_link_send(NULL, json_pack("{si}", "n", 0)) != EGD_OK, "sending to nobody is refused");
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) exit(1);
  egd_link_create(reactor, pair[0], 1000, &handlers, NULL, &a);
  static const unsigned char nonsense[] = {3, 0, 0, 0, 1, 0, 0, 0, '[', '1', ']'};
  closed = 0;
  if (write(pair[1], nonsense, sizeof(nonsense)) < 0) exit(1);
  egd_reactor_run(reactor);
  ok(closed == 1, "JSON that is no object ends the link");
  close(pair[1]);
  egd_link_destroy(NULL);
}

int main(void) {
  if (egd_reactor_create(&reactor) != EGD_OK) return 1;
  test_timers();
  test_stale_events();
  test_hooks();
  test_frames();
  test_links();
  egd_reactor_destroy(reactor);
  return done();
}
