// Connections between agents: dial, listen, prove the job's secret to each other, frames in and out.
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "common/tcp.h"
#include "pmix_agent/mover_internal.h"

#define HANDSHAKE_NS (5000 * MOVER_MILLISECOND)
#define BACKOFF_FIRST (5 * MOVER_MILLISECOND)
#define BACKOFF_MOST (1000 * MOVER_MILLISECOND)
#define CONTROL_MOST (64u << 20) // a peer that lets more wait than this does not read any more
#define UNKNOWN_MOST 64u         // connections that did not prove anything yet
#define READ_MOST (2u << 20)     // per round, so that other peers get their turn

static void on_event(void *arg, int fd, uint32_t events);

// ---- life -----------------------------------------------------------------------------------------------------------

void mover_link_bury(struct egd_mover *mover) {
  while (mover->dead_links) {
    struct mover_link *link = mover->dead_links;
    mover->dead_links = link->next;
    egd_frame_decoder_clear(&link->in);
    egd_frame_queue_clear(&link->out);
    free(link);
  }
}

static void dial_again(void *arg) {
  struct mover_peer *peer = arg;
  peer->dial_timer = 0;
  mover_link_want(peer);
}

void mover_link_drop(struct mover_link *link) {
  if (link->dead) return;
  struct egd_mover *mover = link->mover;
  link->dead = true;
  for (struct mover_link **at = &mover->links; *at; at = &(*at)->next)
    if (*at == link) {
      *at = link->next;
      break;
    }
  egd_reactor_cancel(mover->reactor, link->timer);
  egd_reactor_remove(mover->reactor, link->fd);
  close(link->fd);
  struct mover_peer *peer = link->peer;
  if (peer && peer->link == link) {
    peer->link = NULL;
    if (link->state == MOVER_LINK_UP) {
      peer->backoff_ns = 0;
      mover_peer_down(peer);
    }
    if (peer->alive && mover->self < peer->node && !peer->dial_timer) {
      peer->backoff_ns = peer->backoff_ns ? 2 * peer->backoff_ns : BACKOFF_FIRST;
      if (peer->backoff_ns > BACKOFF_MOST) peer->backoff_ns = BACKOFF_MOST;
      peer->dial_timer = egd_reactor_after(mover->reactor, peer->backoff_ns, dial_again, peer);
    }
  }
  // Callers up the stack may hold it: it is freed by the next tick.
  link->next = mover->dead_links;
  mover->dead_links = link;
}

static void on_deadline(void *arg) {
  struct mover_link *link = arg;
  link->timer = 0;
  mover_link_drop(link);
}

static struct mover_link *link_create(struct egd_mover *mover, int fd, enum mover_link_state state, bool dialler) {
  struct mover_link *link = calloc(1, sizeof *link);
  if (!link) {
    close(fd);
    return NULL;
  }
  int on = 1, alive_idle = 5, alive_every = 2, alive_count = 3;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &alive_idle, sizeof alive_idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &alive_every, sizeof alive_every);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &alive_count, sizeof alive_count);
  *link = (struct mover_link){.mover = mover, .fd = fd, .state = state, .dialler = dialler};
  egd_frame_decoder_init(&link->in, EGD_MOVER_HEAD + 64); // until the peer is known
  egd_frame_queue_init(&link->out, CONTROL_MOST);
  uint32_t events = state == MOVER_LINK_CONNECTING ? EPOLLOUT : EPOLLIN;
  if (egd_reactor_add(mover->reactor, fd, events, on_event, link) != EGD_OK) {
    close(fd);
    free(link);
    return NULL;
  }
  link->next = mover->links;
  mover->links = link;
  link->timer = egd_reactor_after(mover->reactor, HANDSHAKE_NS, on_deadline, link);
  return link;
}

// ---- connections ----------------------------------------------------------------------------------------------------

static void on_listen(void *arg, int fd, uint32_t events) {
  struct egd_mover *mover = arg;
  for (;;) {
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (peer < 0) return;
    uint32_t unknown = 0;
    for (struct mover_link *link = mover->links; link; link = link->next) unknown += link->state != MOVER_LINK_UP;
    if (unknown >= UNKNOWN_MOST) {
      close(peer);
      mover->counters.refused++;
      continue;
    }
    link_create(mover, peer, MOVER_LINK_HELLO, false);
  }
}

int mover_link_listen(struct egd_mover *mover, char *why, size_t why_size) {
  const char *address = mover->options.listen ? mover->options.listen : "127.0.0.1:0";
  int fd = egd_tcp_listen(address, mover->address);
  if (fd < 0 || egd_reactor_add(mover->reactor, fd, EPOLLIN, on_listen, mover) != EGD_OK) {
    bool invalid = fd < 0 && errno == EINVAL;
    snprintf(why, why_size, "cannot listen on '%s' for the other agents: %s", address,
             invalid ? "give HOST:PORT with a numeric host" : strerror(errno));
    if (fd >= 0) close(fd);
    return invalid ? EGD_ERR_INVALID : EGD_ERR_IO;
  }
  mover->listen_fd = fd;
  return EGD_OK;
}

void mover_link_close_all(struct egd_mover *mover) {
  while (mover->links) mover_link_drop(mover->links);
}

void mover_link_want(struct mover_peer *peer) {
  struct egd_mover *mover = mover_of(peer);
  if (!peer->alive || peer->link || peer->dial_timer || mover->self >= peer->node) return;
  struct addrinfo *info;
  if (egd_tcp_resolve(peer->address, false, &info) != EGD_OK) {
    mover_trouble(mover, true, "node %u has no usable address ('%s')", peer->node, peer->address);
    return;
  }
  int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  bool going = fd >= 0 && (connect(fd, info->ai_addr, info->ai_addrlen) == 0 || errno == EINPROGRESS);
  freeaddrinfo(info);
  struct mover_link *link = going ? link_create(mover, fd, MOVER_LINK_CONNECTING, true) : NULL;
  if (!going && fd >= 0) close(fd);
  if (link) {
    link->peer = peer;
    peer->link = link;
  } else {
    peer->dial_timer = egd_reactor_after(mover->reactor, BACKOFF_MOST, dial_again, peer);
  }
}

// ---- messages -------------------------------------------------------------------------------------------------------

static void link_say(struct mover_link *link, struct egd_mover_message *message, const void *data, size_t length) {
  if (link->dead) return;
  egd_mover_seal(message, data, length, link->seed);
  if (egd_frame_put2(&link->out, EGD_FRAME_BINARY, message, sizeof *message, data, length) != EGD_OK)
    mover_link_drop(link);
}

void mover_say(struct mover_peer *peer, struct egd_mover_message *message, const void *data, size_t length) {
  if (mover_up(peer)) link_say(peer->link, message, data, length);
}

static void flush(struct mover_link *link) {
  if (link->dead) return;
  if (egd_frame_flush(&link->out, link->fd) != EGD_OK) {
    mover_link_drop(link);
    return;
  }
  bool writing = egd_frame_queued(&link->out) > 0;
  if (writing != link->writing) {
    link->writing = writing;
    egd_reactor_modify(link->mover->reactor, link->fd, EPOLLIN | (writing ? EPOLLOUT : 0));
  }
}

void mover_pump(struct mover_peer *peer) {
  // Bounded: other peers and readers want their turn too.
  for (int round = 0; round < 16 && mover_up(peer); round++) {
    struct mover_link *link = peer->link;
    if (!link->writing) {
      mover_determinants_pull(peer);
      mover_stream_pull(peer);
    }
    if (link->dead || egd_frame_queued(&link->out) == 0) return;
    flush(link);
    if (link->dead || link->writing) return;
  }
  if (mover_up(peer) && !peer->link->writing) { // more to come: the socket takes it
    peer->link->writing = true;
    egd_reactor_modify(mover_of(peer)->reactor, peer->link->fd, EPOLLIN | EPOLLOUT);
  }
}

// ---- handshake ------------------------------------------------------------------------------------------------------

static void hmac(const struct mover_link *link, const char *label, unsigned char *ret_digest) {
  const unsigned char *first = link->dialler ? link->mine : link->theirs;
  const unsigned char *second = link->dialler ? link->theirs : link->mine;
  unsigned char text[16 + 2 * sizeof link->mine] = {0};
  memcpy(text, label, strlen(label));
  memcpy(text + 16, first, sizeof link->mine);
  memcpy(text + 16 + sizeof link->mine, second, sizeof link->mine);
  unsigned length = 32;
  if (!HMAC(EVP_sha256(), link->mover->options.secret, EGD_SECRET_SIZE, text, sizeof text, ret_digest, &length))
    memset(ret_digest, 0, 32);
  OPENSSL_cleanse(text, sizeof text);
}

static void say_hello(struct mover_link *link) {
  struct egd_mover *mover = link->mover;
  unsigned char nonce[32];
  if (getrandom(nonce, sizeof nonce, 0) != (ssize_t)sizeof nonce) {
    mover_link_drop(link);
    return;
  }
  struct egd_mover_message hello = {
      .kind = EGD_MOVER_HELLO,
      .id = mover->self,
      .from = mover->options.incarnation,
      .to = atomic_load(&mover->seg->birth),
      .v = {EGD_MOVER_VERSION, mover->seg->job_hash, mover->nranks},
  };
  egd_mover_seal(&hello, nonce, sizeof nonce, 0);
  memcpy(link->mine, &hello, sizeof hello);
  memcpy(link->mine + sizeof hello, nonce, sizeof nonce);
  link_say(link, &hello, nonce, sizeof nonce);
  link->state = MOVER_LINK_HELLO;
}

static void say_proof(struct mover_link *link) {
  unsigned char digest[32];
  hmac(link, link->dialler ? "egida dialler" : "egida listener", digest);
  struct egd_mover_message proof = {.kind = EGD_MOVER_PROOF};
  link_say(link, &proof, digest, sizeof digest);
}

// Everything but the secret: is it the node that the view expects there?
static bool hello_fits(struct mover_link *link, const struct egd_mover_message *hello) {
  struct egd_mover *mover = link->mover;
  if (hello->v[0] != EGD_MOVER_VERSION || hello->v[1] != mover->seg->job_hash || hello->v[2] != mover->nranks)
    return false;
  if (hello->id >= mover->nnodes || hello->id == mover->self) return false;
  struct mover_peer *peer = &mover->peers[hello->id];
  if (!peer->alive || peer->incarnation != hello->from || hello->to != atomic_load(&mover->seg->birth)) return false;
  return link->dialler ? link->peer == peer : peer->node < mover->self;
}

static int authenticated(struct mover_link *link) {
  struct egd_mover *mover = link->mover;
  struct egd_mover_message hello;
  memcpy(&hello, link->theirs, sizeof hello);
  if (!hello_fits(link, &hello)) return EGD_ERR_FOREIGN; // the view may have changed meanwhile
  struct mover_peer *peer = &mover->peers[hello.id];
  if (peer->link && peer->link != link) mover_link_drop(peer->link); // it dialled again: the old one is dead
  unsigned char digest[32];
  if (!link->dialler) say_proof(link);
  hmac(link, "egida session", digest);
  memcpy(&link->seed, digest, sizeof link->seed);
  egd_reactor_cancel(mover->reactor, link->timer);
  link->timer = 0;
  link->in.max_body = EGD_MOVER_BODY_MAX;
  link->peer = peer;
  peer->link = link;
  peer->backoff_ns = 0;
  link->state = MOVER_LINK_UP;
  mover_peer_up(peer);
  return link->dead ? EGD_ERR_IO : EGD_OK;
}

static int on_handshake(struct mover_link *link, const struct egd_mover_message *message, const unsigned char *data) {
  if (link->state == MOVER_LINK_HELLO && message->kind == EGD_MOVER_HELLO) {
    if (!hello_fits(link, message)) return EGD_ERR_FOREIGN;
    memcpy(link->theirs, message, sizeof *message);
    memcpy(link->theirs + sizeof *message, data, 32);
    if (link->dialler)
      say_proof(link);
    else
      say_hello(link);
    link->state = MOVER_LINK_PROOF;
    return EGD_OK;
  }
  if (link->state == MOVER_LINK_PROOF && message->kind == EGD_MOVER_PROOF) {
    // The dialler proves first, so that nobody gets a proof who could not give one.
    unsigned char digest[32];
    hmac(link, link->dialler ? "egida listener" : "egida dialler", digest);
    if (CRYPTO_memcmp(digest, data, sizeof digest) != 0) return EGD_ERR_PERMISSION;
    return authenticated(link);
  }
  return EGD_ERR_CORRUPT;
}

static int on_frame(void *arg, uint8_t type, const unsigned char *body, size_t size) {
  struct mover_link *link = arg;
  struct egd_mover_message message;
  const unsigned char *data;
  size_t length;
  if (type != EGD_FRAME_BINARY) return EGD_ERR_CORRUPT;
  int status = egd_mover_open(body, size, link->seed, link->mover->nranks, &message, &data, &length);
  if (status != EGD_OK) return status;
  if (link->state != MOVER_LINK_UP) return on_handshake(link, &message, data);
  status = mover_message(link->peer, &message, data, length);
  return link->dead ? EGD_ERR_IO : status;
}

// ---- events ---------------------------------------------------------------------------------------------------------

static void receive(struct mover_link *link) {
  struct egd_mover *mover = link->mover;
  for (size_t total = 0; total < READ_MOST && !link->dead;) {
    ssize_t n = recv(link->fd, mover->input, EGD_MOVER_PIECE, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    int status = n <= 0 ? EGD_ERR_IO : egd_frame_push(&link->in, mover->input, (size_t)n, on_frame, link);
    if (status != EGD_OK) {
      if (status != EGD_ERR_IO) mover->counters.refused++;
      if (status == EGD_ERR_CORRUPT && link->state == MOVER_LINK_UP)
        mover_trouble(mover, false, "node %u sent something malformed; the connection is made anew", link->peer->node);
      mover_link_drop(link);
      return;
    }
    total += (size_t)n;
    if ((size_t)n < EGD_MOVER_PIECE) return;
  }
}

static void on_event(void *arg, int fd, uint32_t events) {
  struct mover_link *link = arg;
  struct egd_mover *mover = link->mover;
  if (link->state == MOVER_LINK_CONNECTING) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error || events & (EPOLLERR | EPOLLHUP)) {
      mover_link_drop(link);
      return;
    }
    egd_reactor_modify(mover->reactor, fd, EPOLLIN);
    say_hello(link);
    flush(link);
    return;
  }
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(link);
  if (link->dead) return;
  if (events & EPOLLOUT || link->state != MOVER_LINK_UP) flush(link);
  if (!link->dead && link->state == MOVER_LINK_UP) egd_mover_work(mover);
}
