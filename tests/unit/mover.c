// The mover among real segments over loopback: traffic, cut connections, restarted ranks, lost nodes.
#include "tests/unit/mover_world.h"

static void cut_a_connection(void) {
  uint32_t a = dice(nnodes), b = dice(nnodes);
  if (a == b || !nodes[a].alive || !mover_up(&nodes[a].mover->peers[b])) return;
  mover_link_drop(nodes[a].mover->peers[b].link);
}

static void traffic(uint32_t turns, bool cuts) {
  for (uint32_t i = 0; i < turns; i++) {
    for (uint32_t r = 0; r < nranks; r++) {
      act(r, dice(3));
      if (dice(60) == 0 && ranks[r].alive && !ranks[r].waits) take_image(r);
    }
    turn();
    if (cuts && dice(40) == 0) cut_a_connection();
  }
}

static bool wait_safe(uint32_t turns) {
  for (uint32_t i = 0; i < turns; i++) {
    bool safe = true;
    for (uint32_t n = 0; n < nnodes; n++) safe &= !nodes[n].alive || nodes[n].safe_epoch == epoch;
    if (safe) return true;
    turn();
    usleep(100);
  }
  return false;
}

static void test_traffic(uint32_t store, uint32_t f, const char *name) {
  char line[160];
  make_world(3, 3, 6, store, f);
  traffic(300, false);
  snprintf(line, sizeof line, "%s: messages arrive whole and in order", name);
  ok(settle() && !wrong && !troubles, line);
  traffic(400, true);
  snprintf(line, sizeof line, "%s: also when connections break", name);
  ok(settle() && !wrong && !troubles, line);
  struct egd_mover_counters counters;
  egd_mover_get_counters(nodes[1].mover, &counters);
  printf("# node 1: %lu records out, %lu in, %lu bytes in, %lu cuts, %lu subscriptions\n",
         (unsigned long)counters.records_sent, (unsigned long)counters.records_received,
         (unsigned long)counters.bytes_received, (unsigned long)counters.cuts, (unsigned long)counters.resubscriptions);
  snprintf(line, sizeof line, "%s: nothing left before its determinants were held", name);
  if (store == EGD_DETERMINANT_PROCESSES) ok(!too_early, line);
  end_world();
}

static void test_bounds(void) {
  make_world(2, 2, 2, EGD_DETERMINANT_PROCESSES, 1);
  for (int i = 0; i < 50; i++) send_one(0, 1);
  settle();
  take_image(1);
  take_image(1);
  uint64_t begin = egd_monotonic_ns();
  while (atomic_load(&egd_bounds(nodes[0].seg, 1)[0]) < 50 && egd_monotonic_ns() - begin < 2000000000) turn();
  ok(atomic_load(&egd_bounds(nodes[0].seg, 1)[0]) == 50 && atomic_load(&egd_newest(nodes[0].seg, 1)[0]) == 50,
     "garbage-collection bounds come back to the sender's node");
  atomic_fetch_add(&egd_cb(nodes[0].seg, 1)->image_request, 1);
  begin = egd_monotonic_ns();
  while (!atomic_load(&egd_cb(nodes[1].seg, 1)->image_request) && egd_monotonic_ns() - begin < 2000000000) turn();
  ok(atomic_load(&egd_cb(nodes[1].seg, 1)->image_request) == 1 && atomic_load(&egd_cb(nodes[1].seg, 1)->attention),
     "a sender's wish for an image reaches the receiver's node, once");
  uint64_t used = egd_log_used(nodes[1].mover->logs[0]);
  printf("# mirror: %lu bytes\n", (unsigned long)used);
  ok(used <= 600u << 10, "a mirror is freed when it was read");
  end_world();
}

static void test_window(void) {
  make_world(2, 2, 2, EGD_DETERMINANT_NONE, 1);
  biggest = 6u << 20;
  for (int i = 0; i < 400; i++) send_one(0, 1);
  // Nothing is taken: the window holds the sender back.
  struct egd_mover_counters counters = {0};
  uint64_t begin = egd_monotonic_ns();
  while (counters.bytes_received == 0 && egd_monotonic_ns() - begin < 5000000000) {
    turn();
    egd_mover_get_counters(nodes[1].mover, &counters);
  }
  begin = egd_monotonic_ns();
  while (egd_monotonic_ns() - begin < 8000000) turn();
  egd_mover_get_counters(nodes[1].mover, &counters);
  ok(counters.bytes_received > 0 && counters.bytes_received < (16u << 20),
     "a receiver that does not read is not flooded");
  // Everything is admitted but kept: the later messages must come all the same.
  begin = egd_monotonic_ns();
  while (ranks[1].received[0] < 400 && egd_monotonic_ns() - begin < 10000000000) {
    receive_from(1, 0, 100, false);
    turn();
  }
  ok(ranks[1].received[0] == 400 && !wrong, "a receiver that keeps all messages gets the last one");
  biggest = 5u << 20;
  end_world();
}

static void test_restart(void) {
  make_world(2, 2, 4, EGD_DETERMINANT_PROCESSES, 1);
  bool good = true;
  for (int round = 0; round < 12; round++) {
    traffic(60, round & 1);
    uint32_t r = dice(nranks);
    ranks[r].alive = false;
    traffic(dice(5), false);
    restore(r, false);
    traffic(20, false);
  }
  good = settle();
  ok(good && !wrong && !troubles, "restarted ranks read again from their images");
  end_world();
}

static void move_ranks(uint32_t lost, uint32_t to) {
  stop_node(lost);
  for (uint32_t r = 0; r < nranks; r++)
    if (ranks[r].node == lost) {
      ranks[r].alive = false;
      ranks[r].attached = false;
      free(ranks[r].log.oldest);
      ranks[r].node = to;
    }
  tell_view();
}

static bool adopt_all(uint32_t to, const bool *moved) {
  uint32_t wanted = 0;
  nodes[to].adopted = 0;
  for (uint32_t r = 0; r < nranks; r++)
    if (moved[r]) {
      wanted++;
      if (egd_mover_adopt_rank(nodes[to].mover, r) != EGD_OK) return false;
    }
  for (int i = 0; i < 20000 && nodes[to].adopted < wanted; i++) {
    for (uint32_t r = 0; r < nranks; r++) act(r, dice(2)); // survivors go on
    turn();
  }
  return nodes[to].adopted == wanted;
}

static void lose_node(uint32_t lost, uint32_t to, const char *name) {
  char line[200];
  bool moved[MAX_RANKS], right = true;
  struct position had[MAX_RANKS];
  for (uint32_t r = 0; r < nranks; r++) {
    moved[r] = ranks[r].node == lost;
    struct egd_rank_cb *cb = egd_cb(nodes[ranks[r].node].seg, r);
    had[r] = (struct position){atomic_load(&cb->determinant_stable), atomic_load(&cb->polls_stable)};
  }
  check_gate = false; // what came before the loss was held by a node that is gone now
  move_ranks(lost, to);
  snprintf(line, sizeof line, "%s: its ranks' determinants are collected", name);
  ok(adopt_all(to, moved), line);
  for (uint32_t r = 0; r < nranks; r++) {
    if (!moved[r]) continue;
    struct egd_rank_cb *cb = egd_cb(nodes[to].seg, r);
    right &= determinants_are_right(r) && atomic_load(&cb->determinant_head) >= had[r].determinants &&
             atomic_load(&cb->polls) >= had[r].polls;
    restore(r, true);
  }
  snprintf(line, sizeof line, "%s: they are what was stable, or more", name);
  ok(right, line);
  bool safe = wait_safe(50000);
  snprintf(line, sizeof line, "%s: determinants are replicated again", name);
  ok(safe, line);
  traffic(100, false);
  snprintf(line, sizeof line, "%s: and every message comes once and in order", name);
  ok(settle() && !wrong && !troubles, line);
}

static void test_loss(uint32_t store, const char *name) {
  char line[100];
  make_world(5, 3, 6, store, 1); // two spares
  for (uint32_t n = 0; n < nnodes; n++) atomic_store(&nodes[n].seg->started, 1);
  for (uint32_t r = 0; r < nranks; r++) take_image(r);
  wait_safe(20000);
  traffic(150, true);
  ok(!too_early, "nothing left before its determinants were held");
  snprintf(line, sizeof line, "%s, a node is lost to a spare", name);
  lose_node(1, 3, line);
  traffic(100, false);
  snprintf(line, sizeof line, "%s, the next to a survivor with ranks", name);
  lose_node(3, 2, line);
  for (uint32_t r = 0; r < nranks; r++) take_image(r);
  traffic(100, true);
  // Mirrors of the old home are given back once they were left.
  for (int i = 0; i < 5000 && nodes[2].mover->nzombies; i++) {
    for (uint32_t r = 0; r < nranks; r++) act(r, 1);
    turn();
    usleep(50);
  }
  snprintf(line, sizeof line, "%s: old mirrors are given back", name);
  ok(nodes[2].mover->nzombies == 0 && !wrong, line);
  end_world();
}

static void test_lost_for_good(void) {
  make_world(3, 3, 3, EGD_DETERMINANT_PROCESSES, 1);
  traffic(50, false);
  wait_safe(10000);
  // Holder of node 0 is node 1: both go.
  stop_node(1);
  bool moved[MAX_RANKS] = {true};
  for (uint32_t r = 1; r < nranks; r++) ranks[r].alive = false;
  free(ranks[1].log.oldest); // its segment is gone
  ranks[1].attached = false;
  ranks[1].node = 2;
  move_ranks(0, 2);
  ok(!adopt_all(2, moved), "two nodes lost at once with f = 1: a verdict, not a guess");
  end_world();
}

static void test_anew(void) {
  make_world(2, 2, 4, EGD_DETERMINANT_PROCESSES, 1);
  traffic(100, false);
  for (uint32_t n = 0; n < nnodes; n++) {
    for (uint32_t r = 0; r < nranks; r++) egd_segment_reset_slice(nodes[n].fd, nodes[n].seg, r);
    atomic_fetch_add(&nodes[n].seg->birth, 1);
    egd_mover_begin_anew(nodes[n].mover);
    for (int i = 0; i < 20; i++) turn(); // for a while the nodes are at different births
  }
  for (uint32_t r = 0; r < nranks; r++) {
    egd_log_detach(&ranks[r].log);
    memset(ranks[r].sent, 0, sizeof ranks[r].sent);
    memset(ranks[r].received, 0, sizeof ranks[r].received);
    memset(ranks[r].image_sent, 0, sizeof ranks[r].image_sent);
    memset(ranks[r].image_received, 0, sizeof ranks[r].image_received);
    memset(ranks[r].image_base, 0, sizeof ranks[r].image_base);
    ranks[r].image_determinants = 0;
    start_rank(r);
  }
  traffic(100, true);
  ok(settle() && !wrong && !troubles, "start-up begins anew with empty channels");
  end_world();
}

static void test_agent_restart(void) {
  make_world(2, 2, 4, EGD_DETERMINANT_PROCESSES, 1);
  traffic(150, false);
  // The agent of node 0 is killed: its ranks and the segment stay, the mover and its replicas are gone.
  struct node *node = &nodes[0];
  egd_mover_destroy(node->mover);
  for (uint32_t r = 0; r < nranks; r++)
    for (int i = 0; i < 5 && ranks[r].node == 0; i++) send_one(r, (r + 1) % nranks);
  char why[200];
  struct egd_mover_options options = {.reactor = node->reactor,
                                      .seg = node->seg,
                                      .segment_fd = node->fd,
                                      .incarnation = node->incarnation,
                                      .secret = {7},
                                      .callbacks = {.arg = node, .safe = on_safe, .trouble = on_trouble}};
  if (egd_mover_create(&options, &node->mover, why, sizeof why) != EGD_OK) abort();
  tell_view();
  ok(wait_safe(50000), "a new agent replicates again");
  traffic(150, true);
  ok(settle() && !wrong && !troubles && !too_early, "and goes on with the channels of the old one");
  end_world();
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  test_traffic(EGD_DETERMINANT_NONE, 1, "no determinants");
  test_traffic(EGD_DETERMINANT_PROCESSES, 1, "f = 1");
  test_traffic(EGD_DETERMINANT_PROCESSES, 2, "f = 2");
  test_traffic(EGD_DETERMINANT_SHARED_DISK, 1, "shared disk");
  test_bounds();
  test_window();
  test_restart();
  test_loss(EGD_DETERMINANT_PROCESSES, "replicas");
  test_loss(EGD_DETERMINANT_SHARED_DISK, "shared disk");
  test_lost_for_good();
  test_anew();
  test_agent_restart();
  printf("1..%d\n", test_number);
  return test_failed;
}
