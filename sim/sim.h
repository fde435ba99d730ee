// The simulator: the protocol core (rank engine, node gate) in a virtual world of ranks, nodes, links, disk and crashes,
// with oracles that look all the time. Deterministic: a run is a function of its options, crashes and seed.
#ifndef EGIDA_SIM_SIM_H
#define EGIDA_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "common/plan.h"

#define EGD_SIM_MAX_NODES 64u
#define EGD_SIM_MAX_CRASHES 64u
#define EGD_SIM_MAX_RANKS 4096u

// Rules of the protocol that can be left out, to see that the oracles notice.
enum egd_sim_rule {
  EGD_RULE_NONE = 0,
  EGD_RULE_NON_ARRIVAL,
  EGD_RULE_POLLS_KEPT,
  EGD_RULE_GATE,
  EGD_RULE_ACK,
  EGD_RULE_CUT_MOMENT,
  EGD_RULE_CUT_ORDER,
  EGD_RULE_IMAGE_STABLE,
  EGD_RULE_FREE_LATE,
  EGD_RULE_TRIM_LATE,
  EGD_RULE_ACT_DETERMINANTS,
  EGD_RULE_ACT_POLLS,
  EGD_RULE_ACT_REPLAY,
  EGD_RULE_OUTPUT_ONCE,
  EGD_RULE_FENCE,
  EGD_RULE_LOG_IN_IMAGE,
  EGD_RULE_LOG_CUT,
  EGD_RULE_START_SAFE,
  EGD_RULE_EVENTS,
  EGD_RULE_COUNT,
};
extern const struct egd_sim_rule_text { const char *name, *about; } egd_sim_rules[EGD_RULE_COUNT];

enum egd_sim_crash_kind { EGD_CRASH_PROCESS = 0, EGD_CRASH_NODE = 1 };

// When a rank passes its `point`-th crash point (counted from the start, over all its incarnations), it dies, or its
// node does. A node's death that the protocol need not survive at that moment (more than f at once) does not happen.
struct egd_sim_crash {
  uint64_t point;
  uint32_t rank;
  enum egd_sim_crash_kind kind;
};

struct egd_sim_options {
  struct egd_plan plan;
  uint32_t nranks, nnodes, spares;
  uint64_t steps; // of each rank's program, before the ranks say farewell to each other
  uint64_t seed;
  enum egd_sim_rule broken;
  struct egd_sim_crash crashes[EGD_SIM_MAX_CRASHES];
  uint32_t ncrashes;
  FILE *trace; // NULL: none. What happened, one line each
};

struct egd_sim_result {
  bool violated;
  char what[400];      // the violated oracle
  uint64_t step;       // of the scheduler, when it ended
  uint64_t *points;    // [nranks] crash points passed
  uint64_t recoveries; // ranks that were restored
  uint64_t replayed;   // program steps that were replayed and found equal
  uint64_t admissions, outputs, acts, images, cuts, freed, node_deaths, process_deaths;
};

/// Run once. `ret_result->points` is the caller's array of nranks. False: no memory.
bool egd_sim_run(const struct egd_sim_options *options, struct egd_sim_result *ret_result);

struct egd_sim_campaign {
  struct egd_sim_options options;
  enum { EGD_CRASH_NEVER, EGD_CRASH_RANDOM, EGD_CRASH_EVERY } crash;
  uint64_t runs;
  void (*progress)(void *arg, uint64_t runs); // may be NULL
  void *arg;
};

struct egd_sim_report {
  struct egd_sim_result sum; // numbers added up; `violated`, `what` and `step` of the first failure
  uint64_t runs;
  struct egd_sim_options failing; // the smallest that still fails, if violated
};

/// Many runs. Stops at the first violation, which is then made smaller. False: no memory.
bool egd_sim_campaign(const struct egd_sim_campaign *campaign, struct egd_sim_report *ret_report);

#endif
