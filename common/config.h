// The configuration: one table of options gives the keys of the file, the environment, the command line, --help and the
// list of egida.conf(5).
//
// What comes later wins: default, file, environment, command line.
#ifndef EGIDA_COMMON_CONFIG_H
#define EGIDA_COMMON_CONFIG_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define EGD_CONFIG_ENVIRONMENT "EGIDA_CONFIG" // names another file than the usual one

enum egd_config_option {
  // of a job
  EGD_CONFIG_SPEC,
  EGD_CONFIG_SPARES,
  EGD_CONFIG_HEARTBEAT,
  EGD_CONFIG_HEARTBEAT_LIMIT,
  EGD_CONFIG_CONTROL_SERVICE,
  // of both
  EGD_CONFIG_SERVICE_USER,
  EGD_CONFIG_MUNGE_SOCKET,
  // of the service
  EGD_CONFIG_DATABASE,
  EGD_CONFIG_SOCKET,
  EGD_CONFIG_LISTEN,
  EGD_CONFIG_MAX_CONNECTIONS,
  EGD_CONFIG_MAX_CONNECTIONS_PER_USER,
  EGD_CONFIG_OPTIONS,
};

/// Who takes an option on its command line.
enum { EGD_CONFIG_OF_JOB = 1, EGD_CONFIG_OF_SERVICE = 2, EGD_CONFIG_OF_ALL = 3 };

struct egd_config {
  // Strings are owned by the configuration. "none" is given as "".
  const char *spec;
  uint64_t spares;
  uint64_t heartbeat_ns, heartbeat_limit_ns;
  const char *control_service; // "HOST:PORT", a socket's path, or ""
  const char *service_user;
  const char *munge_socket; // "" = the usual one
  const char *database;     // a folder
  const char *socket;       // a path, or ""
  const char *listen;       // "HOST:PORT", or ""
  uint64_t max_connections, max_connections_per_user;

  char *text[EGD_CONFIG_OPTIONS];   // each value as it was given
  char *origin[EGD_CONFIG_OPTIONS]; // "default", "FILE:LINE", "EGIDA_…" or "--…"
};

/// Defaults, then `file` (NULL: $EGIDA_CONFIG, else the usual file, which may be missing), then the environment. False
/// after a message for each error, with file and line. egd_config_clear() in any case.
bool egd_config_load(struct egd_config *ret_config, const char *file);
void egd_config_clear(struct egd_config *config);
/// The file that egd_config_load(…, NULL) reads.
const char *egd_config_file(void);

/// Set one option; `origin` is for messages and `egida config`. False after a message.
bool egd_config_set(struct egd_config *config, enum egd_config_option option, const char *value, const char *origin);
/// Do the values fit each other? False after a message. For after the command line.
bool egd_config_check(const struct egd_config *config);

#define EGD_CONFIG_GETOPT 1000 // getopt_long() returns EGD_CONFIG_GETOPT + the option
/// Append what getopt_long() needs for the options of `who`, and a zero entry, to `options`, which has room for
/// EGD_CONFIG_OPTIONS + 1. Returns the number without the zero entry.
unsigned egd_config_getopt(unsigned who, struct option *options);
/// getopt_long() returned EGD_CONFIG_GETOPT + an option. False after a message.
bool egd_config_from_getopt(struct egd_config *config, int returned, const char *value);

/// Lines for --help.
void egd_config_help(unsigned who, FILE *to);
/// The options for egida.conf(5), in the language of man pages.
void egd_config_man(FILE *to);
const char *egd_config_key(enum egd_config_option option);

#endif
