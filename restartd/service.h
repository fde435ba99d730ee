// egida-restartd: the cluster's history, and a hand for lost nodes (docs/formats/service.md).
#ifndef EGIDA_RESTARTD_SERVICE_H
#define EGIDA_RESTARTD_SERVICE_H

#include <stdbool.h>

struct egd_config;

struct egd_service_hooks {
  /// All is open: clients are served from now on.
  void (*ready)(const struct egd_config *config);
  /// SIGHUP: may change the limits in `config`. False after a message: nothing was changed.
  bool (*reload)(struct egd_config *config);
};

/// Serve until SIGTERM or SIGINT. Returns the exit code, not 0 after a message.
int egd_service_run(struct egd_config *config, const struct egd_service_hooks *hooks);

#endif
