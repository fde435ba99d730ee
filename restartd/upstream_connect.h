// Reach the cluster's service and register a job. Resolving a name, connecting and asking munged may all take long: a
// process of its own does it and hands over the connection.
#ifndef EGIDA_RESTARTD_UPSTREAM_CONNECT_H
#define EGIDA_RESTARTD_UPSTREAM_CONNECT_H

#include <stdbool.h>
#include <stdint.h>

struct egd_config;

struct egd_connect_result {
  bool connected, retry; // not connected: worth another try?
  uint64_t acknowledged;
  char why[240]; // not connected
};

/// Begin. Returns a descriptor that is readable when the result is there, -1: no process can be started.
int egd_connect_begin(const struct egd_config *config, const char *job);
/// The result, and the connection's descriptor (-1 if there is none). Closes `fd`.
void egd_connect_end(int fd, struct egd_connect_result *ret_result, int *ret_connection);

#endif
