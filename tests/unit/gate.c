// The node gate: examples, and its properties under random histories compared with the definition by positions.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/gate.h"

static int test, failed;
static void ok(int good, const char *what) {
  printf("%s %d - %s\n", good ? "ok" : "not ok", ++test, what);
  if (!good) failed = 1;
}

static uint64_t seed = 1;
static uint32_t dice(uint32_t sides) {
  seed = seed * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(seed >> 33) % sides;
}

static void examples(void) {
  struct egd_gate gate;
  struct egd_gate_position now[2] = {{0}}, last[2] = {{0}};
  egd_gate_init(&gate, 1, true);
  uint64_t cut = egd_gate_cut(&gate, now, last, 2);
  ok(egd_gate_may_leave(&gate, cut, EGD_GATE_NOBODY) && egd_gate_stable(&gate) == cut, "an open gate holds nothing");

  egd_gate_init(&gate, 1, false);
  cut = egd_gate_cut(&gate, now, last, 2);
  ok(!egd_gate_may_leave(&gate, cut, EGD_GATE_NOBODY) && egd_gate_stable(&gate) == 0,
     "nothing leaves before the holders are known");
  uint32_t holders[] = {1, 2};
  egd_gate_set_holders(&gate, holders, 2);
  ok(!egd_gate_may_leave(&gate, cut, EGD_GATE_NOBODY), "nothing leaves before a holder confirms");
  egd_gate_held(&gate, 1, cut);
  ok(!egd_gate_may_leave(&gate, cut, EGD_GATE_NOBODY), "a confirmation of what was never sent counts for nothing");
  egd_gate_queued(&gate, 1, cut);
  ok(egd_gate_may_leave(&gate, cut, 1), "a holder may be sent what follows its cut on the same way");
  ok(!egd_gate_may_leave(&gate, cut, 2) && !egd_gate_may_leave(&gate, cut, EGD_GATE_NOBODY), "nobody else may");
  egd_gate_held(&gate, 1, cut);
  ok(egd_gate_may_leave(&gate, cut, EGD_GATE_NOBODY) && egd_gate_stable(&gate) == cut, "confirmed: it may leave");
  ok(egd_gate_cut(&gate, now, last, 2) == cut, "no rank moved: the same cut");
  now[1].polls++;
  uint64_t next = egd_gate_cut(&gate, now, last, 2);
  ok(next == cut + 1 && egd_gate_may_leave(&gate, cut, EGD_GATE_NOBODY) &&
         !egd_gate_may_leave(&gate, next, EGD_GATE_NOBODY),
     "non-arrival alone makes a new cut");
  egd_gate_holder_restarted(&gate, 1);
  ok(!egd_gate_may_leave(&gate, cut, EGD_GATE_NOBODY), "a holder that lost its memory counts no more");
  egd_gate_set_holders(&gate, holders, 0);
  ok(egd_gate_may_leave(&gate, next, EGD_GATE_NOBODY), "the last node alive waits for nobody");
  egd_gate_set_holders(&gate, holders + 1, 1);
  ok(!egd_gate_may_leave(&gate, next, EGD_GATE_NOBODY), "a new holder is waited for");
}

// The definition: something read at a moment may leave when f holders have every rank's position of that moment.
#define RANKS 3
#define NODES 4
struct world {
  struct egd_gate_position now[RANKS], last[RANKS], sent[NODES][RANKS], held[NODES][RANKS];
  struct egd_gate_position of_cut[4096][RANKS];
  uint64_t queued[NODES], acked[NODES];
};

static bool covers(const struct egd_gate_position *a, const struct egd_gate_position *b) {
  for (int r = 0; r < RANKS; r++)
    if (a[r].polls < b[r].polls || a[r].determinants < b[r].determinants) return false;
  return true;
}

static bool history(uint32_t f) {
  static struct world w;
  memset(&w, 0, sizeof w);
  struct egd_gate gate;
  egd_gate_init(&gate, f, false);
  uint32_t nodes[NODES] = {10, 11, 12, 13}, nholders = f;
  egd_gate_set_holders(&gate, nodes, nholders);
  struct {
    uint64_t cut;
    struct egd_gate_position read[RANKS];
  } item = {0};
  for (int step = 0; step < 3000 && gate.cut < 4000; step++) {
    uint32_t r = dice(RANKS), h = dice(nholders);
    switch (dice(7)) {
    case 0:
      w.now[r].polls += dice(3);
      break;
    case 1:
      w.now[r].polls++;
      w.now[r].determinants += 16;
      break;
    case 2: { // something is to leave
      memcpy(item.read, w.now, sizeof item.read);
      item.cut = egd_gate_cut(&gate, w.now, w.last, RANKS);
      memcpy(w.of_cut[item.cut], w.last, sizeof w.last);
      break;
    }
    case 3: // the newest cut goes to a holder
      if (gate.cut == 0) break;
      w.queued[h] = gate.cut;
      memcpy(w.sent[h], w.of_cut[gate.cut], sizeof w.sent[h]);
      egd_gate_queued(&gate, nodes[h], gate.cut);
      break;
    case 4: // and is confirmed
      if (w.queued[h] == 0) break;
      w.acked[h] = w.queued[h];
      memcpy(w.held[h], w.sent[h], sizeof w.held[h]);
      egd_gate_held(&gate, nodes[h], w.acked[h]);
      break;
    case 5:
      if (dice(20)) break;
      w.queued[h] = w.acked[h] = 0;
      memset(w.sent[h], 0, sizeof w.sent[h]);
      memset(w.held[h], 0, sizeof w.held[h]);
      egd_gate_holder_restarted(&gate, nodes[h]);
      break;
    default: {
      if (item.cut == 0) break;
      uint32_t have = 0;
      for (uint32_t i = 0; i < nholders; i++) have += w.acked[i] > 0 && covers(w.held[i], item.read);
      bool may = egd_gate_may_leave(&gate, item.cut, EGD_GATE_NOBODY);
      if (may && have < f) return false;
      if (may != (egd_gate_stable(&gate) >= item.cut)) return false;
      // To a holder: it needs the cut itself, and others must make up the rest.
      if (egd_gate_may_leave(&gate, item.cut, nodes[h])) {
        uint32_t others = 0;
        for (uint32_t i = 0; i < nholders; i++) others += i != h && w.acked[i] > 0 && covers(w.held[i], item.read);
        if (others + covers(w.sent[h], item.read) < f) return false;
      }
    }
    }
  }
  return true;
}

int main(void) {
  examples();
  bool good = true;
  for (int i = 0; i < 300 && good; i++) {
    seed = (uint64_t)i;
    good = history(1 + i % 3);
    if (!good) printf("# seed %d\n", i);
  }
  ok(good, "random histories: nothing leaves that f holders could not replay");
  printf("1..%d\n", test);
  return failed;
}
