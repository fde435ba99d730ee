// A world for tests of the mover: nodes with real segments and movers over loopback, all in this process, and ranks that are nothing but
// counters. What a message contains follows from (from, to, ssn), so a rank that is rolled back sends the same again.
#ifndef TESTS_UNIT_MOVER_WORLD_H
#define TESTS_UNIT_MOVER_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common/securepath.h"
#include "pmix_agent/mover_internal.h"

// Not every test uses all of it.
#pragma GCC diagnostic ignored "-Wunused-function"

#define MAX_NODES 5
#define MAX_RANKS 8

static int test_number, test_failed;
static void ok(int good, const char *what) {
  printf("%s %d - %s\n", good ? "ok" : "not ok", ++test_number, what);
  if (!good) test_failed = 1;
  fflush(stdout);
}

static uint64_t seed = 1;
static uint32_t dice(uint32_t sides) {
  seed = seed * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(seed >> 33) % sides;
}
static uint64_t mix(uint64_t x) {
  x ^= x >> 31;
  x *= 0x9E3779B97F4A7C15ull;
  x ^= x >> 29;
  x *= 0xBF58476D1CE4E5B9ull;
  return x ^ x >> 32;
}

struct node {
  bool alive;
  uint32_t incarnation;
  int fd;
  struct egd_segment *seg;
  struct egd_reactor *reactor;
  struct egd_mover *mover;
  uint64_t safe_epoch;
  uint32_t adopted;
};

struct position { // of a sender when it sent
  uint64_t determinants, polls;
};

struct rank {
  uint32_t node, incarnation;
  bool alive, waits; // waits: restored, the mirrors are not ready
  struct egd_log log;
  bool attached;
  uint64_t sent[MAX_RANKS], received[MAX_RANKS];
  struct egd_reader readers[MAX_RANKS];
  uint64_t image_sent[MAX_RANKS], image_received[MAX_RANKS], image_base[MAX_RANKS];
  uint64_t image_determinants;
  struct position *at_send[MAX_RANKS];
};

static struct node nodes[MAX_NODES];
static struct rank ranks[MAX_RANKS];
static uint32_t nnodes, nranks;
static uint64_t epoch;
static uint32_t biggest = 5u << 20;
static int wrong;     // a message that was not what it should be
static int too_early; // a message that left before its determinants were held
static int troubles;
static bool check_gate;
static char job_dir[64];
static struct egd_plan plan;
static unsigned char scratch[8u << 20], expected[8u << 20];

static void release(void *p, size_t size) {
  (void)size;
  free(p);
}
static const struct egd_log_hooks log_hooks = {malloc, release, NULL, NULL};

static void on_adopted(void *arg, uint32_t rank, enum egd_status status, uint64_t bytes, const char *why) {
  struct node *node = arg;
  (void)bytes;
  if (status == EGD_OK)
    node->adopted++;
  else
    printf("# rank %u was not adopted: %s\n", rank, why);
}
static void on_safe(void *arg, uint64_t at) {
  ((struct node *)arg)->safe_epoch = at;
}
static void on_trouble(void *arg, bool fatal, const char *what) {
  (void)arg;
  printf("# %s: %s\n", fatal ? "fatal" : "trouble", what);
  troubles += fatal;
}

static void start_node(uint32_t i, unsigned char secret) {
  struct node *node = &nodes[i];
  char why[512] = "";
  uint32_t incarnation = node->incarnation + 1;
  *node = (struct node){.alive = true, .incarnation = incarnation};
  if (egd_segment_create(nranks, i, nnodes, "test", 42, job_dir, "/nonexistent", &plan, 64u << 20, &node->fd) != EGD_OK)
    abort();
  node->seg = mmap(NULL, egd_segment_size(nranks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, node->fd, 0);
  if (node->seg == MAP_FAILED || egd_reactor_create(&node->reactor) != EGD_OK) abort();
  struct egd_mover_options options = {
      .reactor = node->reactor,
      .seg = node->seg,
      .segment_fd = node->fd,
      .incarnation = incarnation,
      .secret = {secret},
      .callbacks = {.arg = node, .adopted = on_adopted, .safe = on_safe, .trouble = on_trouble},
  };
  if (egd_mover_create(&options, &node->mover, why, sizeof why) != EGD_OK) {
    printf("# %s\n", why);
    abort();
  }
}

static void stop_node(uint32_t i) {
  struct node *node = &nodes[i];
  egd_mover_destroy(node->mover);
  egd_reactor_destroy(node->reactor);
  munmap(node->seg, egd_segment_size(nranks));
  close(node->fd);
  node->alive = false;
  node->mover = NULL;
}

static void tell_view(void) {
  struct egd_mover_node list[MAX_NODES] = {{0}};
  uint32_t home[MAX_RANKS];
  for (uint32_t i = 0; i < nnodes; i++) {
    list[i].alive = nodes[i].alive;
    list[i].incarnation = nodes[i].incarnation;
    if (nodes[i].alive) snprintf(list[i].address, sizeof list[i].address, "%s", egd_mover_address(nodes[i].mover));
  }
  for (uint32_t r = 0; r < nranks; r++) home[r] = ranks[r].node;
  struct egd_mover_view view = {.epoch = ++epoch, .nnodes = nnodes, .nranks = nranks, .nodes = list, .home = home};
  for (uint32_t i = 0; i < nnodes; i++)
    if (nodes[i].alive && egd_mover_set_view(nodes[i].mover, &view) != EGD_OK) abort();
}

// One round of everybody.
static void turn(void) {
  for (uint32_t i = 0; i < nnodes; i++) {
    if (!nodes[i].alive) continue;
    egd_mover_work(nodes[i].mover);
    egd_reactor_once(nodes[i].reactor, 0);
  }
}

static void start_rank(uint32_t r) {
  struct rank *rank = &ranks[r];
  struct egd_segment *seg = nodes[rank->node].seg;
  egd_log_attach(&rank->log, seg, r, plan.flags & EGD_PLAN_LOG_MESSAGES, 512u << 20, &log_hooks);
  rank->attached = rank->alive = true;
  for (uint32_t s = 0; s < nranks; s++) {
    egd_reader_init(&rank->readers[s], seg, s, r, rank->received[s]);
    if (!rank->at_send[s]) rank->at_send[s] = calloc(200000, sizeof **rank->at_send);
  }
}

// The world with `count` nodes; rank r lives on node r % `homes`.
static void make_world(uint32_t count, uint32_t homes, uint32_t rank_count, uint32_t store, uint32_t f) {
  nnodes = count;
  nranks = rank_count;
  epoch = 0;
  wrong = too_early = troubles = 0;
  plan = (struct egd_plan){.version = EGD_PLAN_VERSION, .determinant_store = store, .f = f, .name = "test"};
  plan.flags = EGD_PLAN_LOG_MESSAGES | (store ? EGD_PLAN_LOG_DETERMINANTS : 0);
  check_gate = store == EGD_DETERMINANT_PROCESSES && count > 1;
  snprintf(job_dir, sizeof job_dir, "/tmp/egida-mover-XXXXXX");
  if (!mkdtemp(job_dir)) abort();
  memset(ranks, 0, sizeof ranks);
  memset(nodes, 0, sizeof nodes);
  for (uint32_t i = 0; i < nnodes; i++) start_node(i, 7);
  for (uint32_t r = 0; r < nranks; r++) {
    ranks[r].node = r % homes;
    start_rank(r);
  }
  tell_view();
}

static void end_world(void) {
  for (uint32_t r = 0; r < nranks; r++) {
    if (ranks[r].attached) egd_log_detach(&ranks[r].log);
    for (uint32_t s = 0; s < nranks; s++) free(ranks[r].at_send[s]);
  }
  for (uint32_t i = 0; i < nnodes; i++)
    if (nodes[i].alive) stop_node(i);
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", job_dir);
  if (system(command) != 0) printf("# %s stays\n", job_dir);
}

// ---- ranks ------------------------------------------------------------------------------------------------------------

static uint64_t key_of(uint32_t from, uint32_t to, uint64_t ssn) {
  return mix(((uint64_t)from << 40 | to) ^ mix(ssn));
}

static uint32_t length_of(uint64_t key) {
  uint32_t kind = (uint32_t)(key % 100), any = (uint32_t)(key >> 32);
  uint32_t most = kind < 60 ? 64 : kind < 85 ? 8192 : kind < 98 ? 256u << 10 : biggest;
  return any % (most + 1);
}

static void content_of(uint64_t key, unsigned char *to, uint32_t length) {
  for (uint32_t i = 0; i < length; i += 8) {
    uint64_t word = key + i * 0x9E3779B97F4A7C15ull;
    memcpy(to + i, &word, 8); // the buffers are longer than any message
  }
}

static void determinant(uint32_t r) {
  struct egd_segment *seg = nodes[ranks[r].node].seg;
  struct egd_rank_cb *cb = egd_cb(seg, r);
  unsigned char *ring = egd_at(seg, egd_slice(seg, r) + EGD_SLICE_DETERMINANTS);
  uint64_t head = atomic_load(&cb->determinant_head), value[2] = {r, mix(head + r)};
  memcpy(ring + head % EGD_DETERMINANT_RING, value, sizeof value);
  atomic_fetch_add(&cb->polls, 1);
  atomic_store(&cb->determinant_head, head + sizeof value);
}

static bool determinants_are_right(uint32_t r) {
  struct egd_segment *seg = nodes[ranks[r].node].seg;
  struct egd_rank_cb *cb = egd_cb(seg, r);
  const unsigned char *ring = egd_at(seg, egd_slice(seg, r) + EGD_SLICE_DETERMINANTS);
  for (uint64_t at = atomic_load(&cb->determinant_tail); at < atomic_load(&cb->determinant_head); at += 16) {
    uint64_t value[2];
    memcpy(value, ring + at % EGD_DETERMINANT_RING, sizeof value);
    if (value[0] != r || value[1] != mix(at + r)) return false;
  }
  return true;
}

static void put_record(struct rank *rank, uint32_t from, uint32_t to, uint64_t ssn) {
  struct egd_segment *seg = nodes[rank->node].seg;
  uint64_t key = key_of(from, to, ssn);
  uint32_t length = length_of(key);
  struct egd_record *record = egd_log_open(&rank->log, to, EGD_RECORD_TAG, ssn, from, 0, length);
  if (!record) abort();
  content_of(key, scratch, length);
  if (length <= EGD_INLINE_MAX) {
    memcpy(record->inline_payload, scratch, length);
  } else {
    uint64_t done = 0;
    for (uint64_t at = record->payload; at;) {
      const struct egd_extent *extent = egd_at(seg, at);
      memcpy(egd_at(seg, extent->data), scratch + done, extent->length);
      done += extent->length;
      at = extent->next;
    }
  }
  egd_log_publish(&rank->log, to, record);
}

static void send_one(uint32_t r, uint32_t to) {
  struct rank *rank = &ranks[r];
  struct egd_segment *seg = nodes[rank->node].seg;
  uint64_t ssn = rank->sent[to]++;
  struct egd_rank_cb *cb = egd_cb(seg, r);
  atomic_fetch_add(&cb->polls, 1);
  if (ssn < 200000)
    rank->at_send[to][ssn] = (struct position){atomic_load(&cb->determinant_head), atomic_load(&cb->polls)};
  if (ssn < atomic_load(&egd_channel(seg, r, to)->published)) return; // replay: it is in the log
  put_record(rank, r, to, ssn);
  egd_log_collect(&rank->log, to);
  atomic_fetch_or(&egd_ready(seg, to)[r / 64], 1ull << r % 64);
}

static void check_held(uint32_t from, uint32_t to, uint64_t ssn) {
  if (!check_gate || ranks[from].node == ranks[to].node || ssn >= 200000) return;
  struct position at = ranks[from].at_send[to][ssn];
  uint32_t have = 0, alive = 0;
  for (uint32_t i = 0; i < nnodes; i++) {
    if (!nodes[i].alive || i == ranks[from].node) continue;
    alive++;
    const struct egd_replica *replica = &nodes[i].mover->replicas[from];
    have += replica->known && replica->state.head >= at.determinants && replica->state.polls >= at.polls;
  }
  if (have < (plan.f < alive ? plan.f : alive)) too_early++;
}

// Take up to `most` messages. `consume`: else they are kept.
static uint32_t receive_from(uint32_t r, uint32_t s, uint32_t most, bool consume) {
  struct rank *rank = &ranks[r];
  struct egd_segment *seg = nodes[rank->node].seg;
  uint32_t count = 0;
  const struct egd_record *record;
  while (count < most && (record = egd_reader_peek(&rank->readers[s]))) {
    uint64_t ssn = rank->received[s], key = key_of(s, r, ssn);
    uint32_t length = length_of(key);
    if (record->imm != ssn || record->length != length || record->cookie != s) {
      wrong++;
      printf("# %u -> %u: message %lu, not %lu\n", s, r, (unsigned long)record->imm, (unsigned long)ssn);
      return count;
    }
    egd_record_read(seg, record, 0, scratch, length);
    content_of(key, expected, length);
    if (memcmp(scratch, expected, length) != 0) wrong++;
    if (consume) check_held(s, r, ssn);
    egd_reader_advance(&rank->readers[s], record);
    rank->received[s]++;
    count++;
    if (consume) atomic_store(&egd_consumed(seg, r)[s], rank->received[s]);
    if (plan.determinant_store) determinant(r);
  }
  return count;
}

// An image: what is older than the one before may go.
static void take_image(uint32_t r) {
  struct rank *rank = &ranks[r];
  struct egd_segment *seg = nodes[rank->node].seg;
  struct egd_rank_cb *cb = egd_cb(seg, r);
  for (uint32_t s = 0; s < nranks; s++) {
    atomic_store(&egd_bounds(seg, r)[s], rank->image_received[s]);
    atomic_store(&egd_newest(seg, r)[s], rank->received[s]);
    rank->image_received[s] = rank->received[s];
    rank->image_sent[s] = rank->sent[s];
    rank->image_base[s] = atomic_load(&egd_bounds(seg, s)[r]);
  }
  atomic_store(&cb->determinant_tail, rank->image_determinants);
  rank->image_determinants = atomic_load(&cb->determinant_head);
  atomic_store(&cb->determinant_newest, rank->image_determinants);
}

// The rank died; a new incarnation begins at its image. On another node its log of then is written again.
static void restore(uint32_t r, bool elsewhere) {
  struct rank *rank = &ranks[r];
  struct egd_segment *seg = nodes[rank->node].seg;
  if (rank->attached) egd_log_detach(&rank->log);
  egd_log_attach(&rank->log, seg, r, plan.flags & EGD_PLAN_LOG_MESSAGES, 512u << 20, &log_hooks);
  rank->attached = true;
  for (uint32_t s = 0; s < nranks; s++) {
    rank->received[s] = rank->image_received[s];
    rank->sent[s] = rank->image_sent[s];
    egd_reader_init(&rank->readers[s], seg, s, r, rank->received[s]);
    atomic_store(&egd_consumed(seg, r)[s], rank->received[s]);
    if (!elsewhere || s == r) continue;
    egd_log_reset_channel(&rank->log, s, rank->image_base[s]);
    for (uint64_t ssn = rank->image_base[s]; ssn < rank->image_sent[s]; ssn++) put_record(rank, r, s, ssn);
  }
  struct egd_rank_cb *cb = egd_cb(seg, r);
  uint32_t incarnation = ++rank->incarnation;
  atomic_store(&cb->incarnation, incarnation);
  atomic_store(&cb->state, EGD_RANK_REPLAYING);
  atomic_store(&cb->cursors_ready, incarnation + 1);
  rank->waits = rank->alive = true;
}

static void act(uint32_t r, uint32_t sends) {
  struct rank *rank = &ranks[r];
  if (!rank->alive) return;
  struct egd_rank_cb *cb = egd_cb(nodes[rank->node].seg, r);
  if (rank->waits && atomic_load(&cb->mirrors_ready) != rank->incarnation + 1) return;
  rank->waits = false;
  for (uint32_t s = 0; s < nranks; s++)
    if (s != r) receive_from(r, s, 8, true);
  for (uint32_t i = 0; i < sends; i++) {
    uint32_t to = dice(nranks);
    if (to != r) send_one(r, to);
  }
}

static bool everything_arrived(void) {
  for (uint32_t r = 0; r < nranks; r++)
    for (uint32_t s = 0; s < nranks; s++)
      if (s != r && ranks[r].received[s] < ranks[s].sent[r]) return false;
  return true;
}

static bool settle(void) {
  uint64_t begin = egd_monotonic_ns();
  while (!everything_arrived() && egd_monotonic_ns() - begin < 20000000000) {
    for (uint32_t r = 0; r < nranks; r++) act(r, 0);
    turn();
  }
  for (uint32_t r = 0; r < nranks; r++)
    for (uint32_t s = 0; s < nranks; s++)
      if (s != r && ranks[r].received[s] < ranks[s].sent[r])
        printf("# %u -> %u: %lu of %lu messages\n", s, r, (unsigned long)ranks[r].received[s],
               (unsigned long)ranks[s].sent[r]);
  return everything_arrived();
}

#endif
