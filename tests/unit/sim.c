// The simulator: nothing is violated at any crash point of short runs, and each rule that is left out is noticed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

static int test, failed;
static void ok(int good, const char *what, const char *why) {
  printf("%s %d - %s\n", good ? "ok" : "not ok", ++test, what);
  if (!good) {
    failed = 1;
    printf("# %s\n", why);
  }
}

static struct egd_sim_campaign world(uint32_t ranks, uint32_t nodes, uint32_t store, uint32_t f) {
  struct egd_sim_campaign campaign = {.runs = 1, .crash = EGD_CRASH_EVERY};
  campaign.options.plan =
      (struct egd_plan){.version = EGD_PLAN_VERSION,
                        .flags = EGD_PLAN_LOG_DETERMINANTS | EGD_PLAN_LOG_MESSAGES | EGD_PLAN_SYNC_DETERMINANTS |
                                 EGD_PLAN_CHECKPOINT | EGD_PLAN_CHECKPOINT_ASYNC,
                        .determinant_store = store,
                        .message_store = EGD_MESSAGE_SELF,
                        .checkpoint_protocol = EGD_CHECKPOINT_INDEPENDENT,
                        .f = f};
  campaign.options.nranks = ranks;
  campaign.options.nnodes = nodes;
  campaign.options.steps = 12;
  campaign.options.seed = 1;
  return campaign;
}

static void sound(const char *what, struct egd_sim_campaign campaign) {
  struct egd_sim_report report;
  bool good = egd_sim_campaign(&campaign, &report) && !report.sum.violated;
  ok(good, what, report.sum.what);
  bool recovered = campaign.crash == EGD_CRASH_NEVER || (report.sum.recoveries > 0 && report.sum.replayed > 0);
  ok(good && recovered && report.sum.admissions > 0 && report.sum.outputs > 0, "… and something happened", "no");
}

// Some rules matter only with several nodes, some only where a disk holds the determinants.
static void caught(enum egd_sim_rule rule) {
  struct egd_sim_campaign worlds[] = {
      world(3, 1, EGD_DETERMINANT_PROCESSES, 1), world(3, 3, EGD_DETERMINANT_PROCESSES, 1),
      world(4, 2, EGD_DETERMINANT_PROCESSES, 1), world(3, 3, EGD_DETERMINANT_SHARED_DISK, 1)};
  char what[120];
  snprintf(what, sizeof(what), "without the rule '%s' something is violated", egd_sim_rules[rule].name);
  for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++) {
    struct egd_sim_campaign *campaign = &worlds[i];
    campaign->options.broken = rule;
    campaign->options.steps = 20;
    campaign->crash = EGD_CRASH_RANDOM;
    campaign->runs = i == 0 ? 300 : 2500;
    struct egd_sim_report report;
    if (!egd_sim_campaign(campaign, &report) || !report.sum.violated) continue;
    ok(report.sum.what[0] != 0, what, "");
    printf("# %s (%u crashes, %llu steps)\n", report.sum.what, report.failing.ncrashes,
           (unsigned long long)report.failing.steps);
    // The smallest run must be one that fails again, and in the same way.
    uint64_t points[4];
    struct egd_sim_result again = {.points = points};
    egd_sim_run(&report.failing, &again);
    ok(again.violated && again.step == report.sum.step && strcmp(again.what, report.sum.what) == 0,
       "… and again by the schedule that it gives", again.what);
    struct egd_sim_options mended = report.failing;
    mended.broken = EGD_RULE_NONE;
    again = (struct egd_sim_result){.points = points};
    egd_sim_run(&mended, &again);
    ok(!again.violated, "… and nothing with the rule", again.what);
    return;
  }
  ok(0, what, "nobody noticed");
}

static void same_twice(void) {
  struct egd_sim_campaign campaign = world(5, 3, EGD_DETERMINANT_PROCESSES, 1);
  campaign.crash = EGD_CRASH_RANDOM;
  campaign.runs = 20;
  struct egd_sim_report one, two;
  egd_sim_campaign(&campaign, &one);
  egd_sim_campaign(&campaign, &two);
  ok(one.sum.step == two.sum.step && one.sum.cuts == two.sum.cuts && one.sum.admissions == two.sum.admissions &&
         one.sum.recoveries == two.sum.recoveries,
     "the same seeds do the same", "");
}

int main(void) {
  sound("every crash point of 3 ranks on 1 node", world(3, 1, EGD_DETERMINANT_PROCESSES, 1));
  sound("every crash point of 3 ranks on 3 nodes", world(3, 3, EGD_DETERMINANT_PROCESSES, 1));
  sound("every crash point of 3 ranks on 2 nodes with a shared disk", world(3, 2, EGD_DETERMINANT_SHARED_DISK, 1));
  struct egd_sim_campaign two = world(6, 5, EGD_DETERMINANT_PROCESSES, 2);
  two.crash = EGD_CRASH_RANDOM;
  two.runs = 200;
  two.options.spares = 1;
  sound("random crashes, two nodes at a time, 5 nodes and a spare one", two);
  struct egd_sim_campaign many = world(300, 4, EGD_DETERMINANT_PROCESSES, 1);
  many.crash = EGD_CRASH_RANDOM;
  sound("300 ranks", many);
  struct egd_sim_campaign alone = world(1, 1, EGD_DETERMINANT_PROCESSES, 1);
  alone.crash = EGD_CRASH_NEVER;
  struct egd_sim_report report;
  ok(egd_sim_campaign(&alone, &report) && !report.sum.violated, "one rank alone", report.sum.what);
  same_twice();
  for (enum egd_sim_rule rule = 1; rule < EGD_RULE_COUNT; rule++) caught(rule);
  printf("1..%d\n", test);
  return failed;
}
