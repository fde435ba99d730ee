// Many runs, and the smallest one that fails.
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

struct hunt {
  const struct egd_sim_campaign *campaign;
  struct egd_sim_options options; // of the next run
  struct egd_sim_report *report;
  uint64_t *points;
  uint64_t dice;
  bool exhausted;
};

static uint64_t roll(struct hunt *hunt, uint64_t sides) {
  hunt->dice = hunt->dice * 6364136223846793005ull + 1442695040888963407ull;
  return sides ? (hunt->dice >> 33) % sides : 0;
}

static void add(struct egd_sim_result *sum, const struct egd_sim_result *one) {
  sum->recoveries += one->recoveries;
  sum->replayed += one->replayed;
  sum->admissions += one->admissions;
  sum->outputs += one->outputs;
  sum->acts += one->acts;
  sum->images += one->images;
  sum->cuts += one->cuts;
  sum->freed += one->freed;
  sum->node_deaths += one->node_deaths;
  sum->process_deaths += one->process_deaths;
  sum->step += one->step;
}

// True: go on.
static bool try(struct hunt *hunt) {
  struct egd_sim_result result = {.points = hunt->points};
  if (!egd_sim_run(&hunt->options, &result)) {
    hunt->exhausted = true;
    return false;
  }
  struct egd_sim_report *report = hunt->report;
  report->runs++;
  if (hunt->campaign->progress) hunt->campaign->progress(hunt->campaign->arg, report->runs);
  if (!result.violated) {
    add(&report->sum, &result);
    return true;
  }
  report->sum.violated = true;
  memcpy(report->sum.what, result.what, sizeof(result.what));
  report->sum.step = result.step;
  report->failing = hunt->options;
  return false;
}

// ---- exhaustive -----------------------------------------------------------------------------------------------------------------

// Every crash point of every rank: the rank dies there; the same and dies again in its replay; another one dies, too; and
// where there are several nodes, its node dies.
static bool every_point(struct hunt *hunt) {
  const struct egd_sim_options *base = &hunt->campaign->options;
  hunt->options = *base;
  hunt->options.ncrashes = 0;
  if (!try(hunt)) return false;
  uint64_t *points = malloc(base->nranks * sizeof(*points));
  if (!points) {
    hunt->exhausted = true;
    return false;
  }
  memcpy(points, hunt->points, base->nranks * sizeof(*points));
  bool go_on = true;
  uint32_t kinds = base->nnodes > 1 ? 5 : 3;
  for (uint32_t rank = 0; rank < base->nranks && go_on; rank++)
    for (uint64_t point = 1; point <= points[rank] && go_on; point++)
      for (uint32_t kind = 0; kind < kinds && go_on; kind++) {
        enum egd_sim_crash_kind how = kind < 3 ? EGD_CRASH_PROCESS : EGD_CRASH_NODE;
        hunt->options = *base;
        hunt->options.ncrashes = 1;
        hunt->options.crashes[0] = (struct egd_sim_crash){point, rank, how};
        if (kind % 3) {
          uint32_t other =
              kind == 2 && base->nranks > 1 ? (rank + 1 + (uint32_t)roll(hunt, base->nranks - 1)) % base->nranks : rank;
          uint64_t when = other == rank ? point + 1 + roll(hunt, 60) : 1 + roll(hunt, points[other]);
          hunt->options.crashes[hunt->options.ncrashes++] = (struct egd_sim_crash){when, other, EGD_CRASH_PROCESS};
        }
        go_on = try(hunt);
      }
  free(points);
  return go_on;
}

// ---- random ---------------------------------------------------------------------------------------------------------------------

static void random_crashes(struct hunt *hunt) {
  struct egd_sim_options *options = &hunt->options;
  options->ncrashes = 0;
  uint32_t most = 1 + (uint32_t)roll(hunt, 12);
  uint64_t span = 8 * options->steps + 200;
  uint64_t near = roll(hunt, span);
  for (uint32_t i = 0; i < most; i++) {
    struct egd_sim_crash *crash = &options->crashes[options->ncrashes++];
    crash->rank = (uint32_t)roll(hunt, options->nranks);
    // Some runs crash all over, some have all their crashes within a short time.
    crash->point = 1 + (most % 2 ? roll(hunt, span) : near + roll(hunt, 80));
    crash->kind = options->nnodes > 1 && roll(hunt, 3) == 0 ? EGD_CRASH_NODE : EGD_CRASH_PROCESS;
  }
}

// ---- smaller --------------------------------------------------------------------------------------------------------------------

static bool fails(struct hunt *hunt, const struct egd_sim_options *options) {
  struct egd_sim_result result = {.points = hunt->points};
  if (!egd_sim_run(options, &result) || !result.violated) return false;
  struct egd_sim_report *report = hunt->report;
  report->failing = *options;
  memcpy(report->sum.what, result.what, sizeof(result.what));
  report->sum.step = result.step;
  return true;
}

// Without each crash in turn, then with shorter programs, as long as something still fails.
static void shrink(struct hunt *hunt) {
  struct egd_sim_report *report = hunt->report;
  for (uint32_t i = 0; i < report->failing.ncrashes;) {
    struct egd_sim_options options = report->failing;
    memmove(&options.crashes[i], &options.crashes[i + 1], (options.ncrashes - i - 1) * sizeof(options.crashes[0]));
    options.ncrashes--;
    if (!fails(hunt, &options)) i++;
  }
  uint64_t tries = 0;
  for (uint64_t cut = report->failing.steps / 2; cut > 0 && tries < 200;) {
    struct egd_sim_options options = report->failing;
    options.steps -= cut < options.steps ? cut : 0;
    tries++;
    if (options.steps == report->failing.steps || !fails(hunt, &options)) cut /= 2;
  }
}

bool egd_sim_campaign(const struct egd_sim_campaign *campaign, struct egd_sim_report *report) {
  struct hunt hunt = {.campaign = campaign, .report = report, .dice = campaign->options.seed * 2 + 1};
  *report = (struct egd_sim_report){0};
  hunt.points = calloc(campaign->options.nranks, sizeof(*hunt.points));
  if (!hunt.points) return false;
  struct egd_sim_campaign each = *campaign;
  for (uint64_t run = 0; run < campaign->runs && !report->sum.violated && !hunt.exhausted; run++) {
    each.options.seed = campaign->options.seed + run;
    hunt.campaign = &each;
    hunt.options = each.options;
    if (campaign->crash == EGD_CRASH_EVERY) {
      every_point(&hunt);
      continue;
    }
    if (campaign->crash == EGD_CRASH_RANDOM) random_crashes(&hunt);
    try(&hunt);
  }
  hunt.campaign = campaign;
  if (report->sum.violated) shrink(&hunt);
  report->sum.points = NULL;
  free(hunt.points);
  return !hunt.exhausted;
}
