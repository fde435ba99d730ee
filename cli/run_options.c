// The options that all commands that start a job have.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cli/run.h"
#include "common/config.h"
#include "common/log.h"
#include "common/size.h"
#include "common/status.h"

#define DEFAULT_LOG_LIMIT (512ull << 20)

static const char *prefix = "--";

const char *run_option_prefix(void) {
  return prefix;
}

const struct egd_config *run_config(void) {
  static struct egd_config config;
  static bool read;
  if (!read && (!egd_config_load(&config, NULL) || !egd_config_check(&config))) exit(1);
  read = true;
  return &config;
}

void run_options_init(struct run_options *options, const char *names) {
  const char *dir = getenv("EGIDA_DIR");
  prefix = names;
  *options = (struct run_options){.nranks = 1,
                                  .nodes = 1,
                                  .max_restarts = 10,
                                  .spec = run_config()->spec,
                                  .spares = (uint32_t)run_config()->spares,
                                  .log_limit = DEFAULT_LOG_LIMIT,
                                  .dir = dir && *dir ? dir : ".egida"};
}

bool run_number(const char *name, const char *text, unsigned long low, unsigned long high, uint32_t *ret) {
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (*text >= '0' && *text <= '9' && !*end && errno == 0 && value >= low && value <= high) {
    *ret = (uint32_t)value;
    return true;
  }
  egd_log("%s%s %s: a number from %lu to %lu is needed", prefix, name, text, low, high);
  return false;
}

bool run_option(struct run_options *options, int option, const char *value) {
  bool good = true;
  switch (option) {
  case RUN_OPT_SPEC:
    options->spec = value;
    break;
  case RUN_OPT_SPARES:
    return run_number("spares", value, 0, RUN_MAX_NODES - 1, &options->spares);
  case RUN_OPT_LABEL:
    options->label = true;
    break;
  case RUN_OPT_LOG:
    good = egd_size_parse(value, &options->log_limit) == EGD_OK && options->log_limit >= 1 << 20;
    if (!good) egd_log("%slog-limit %s: a size of at least 1M is needed, e.g. 512M", prefix, value);
    break;
  case RUN_OPT_INTERVAL:
    good = options->interval_given = egd_duration_parse(value, &options->interval_ns) == EGD_OK;
    if (!good) egd_log("%sinterval %s: a time is needed, e.g. 30s or 5min; 0 = only on request", prefix, value);
    break;
  case RUN_OPT_RESTARTS:
    return run_number("max-restarts", value, 0, 1000000, &options->max_restarts);
  case RUN_OPT_DIR:
    options->dir = value;
    break;
  case RUN_OPT_DIVERGENCE:
    options->divergence_warn = strcmp(value, "warn") == 0;
    good = options->divergence_warn || strcmp(value, "stop") == 0;
    if (!good) egd_log("%sdivergence %s: it is warn or stop", prefix, value);
    break;
  case RUN_OPT_DEGRADED:
    options->allow_degraded = true;
    break;
  case RUN_OPT_RESUME:
    options->resume = value;
    break;
  case RUN_OPT_VERBOSE:
    options->verbose = true;
    break;
  }
  return good;
}
