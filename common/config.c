#include "common/config.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/nearest.h"
#include "common/size.h"
#include "common/status.h"

enum type { TEXT, TEXT_OR_NONE, NUMBER, DURATION };

static const struct entry {
  const char *key, *environment, *flag, *argument;
  enum type type;
  uint64_t low, high;
  size_t offset;
  const char *value; // default
  unsigned who;
  const char *about; // one sentence, no full stop
} entries[EGD_CONFIG_OPTIONS] = {
#define AT(member) offsetof(struct egd_config, member)
    [EGD_CONFIG_SPEC] = {"Spec", "EGIDA_SPEC", "spec", "NAME|FILE", TEXT, 0, 0, AT(spec), "default", EGD_CONFIG_OF_JOB,
                         "the protocol of jobs that name none"},
    [EGD_CONFIG_SPARES] = {"Spares", "EGIDA_SPARES", "spares", "N", NUMBER, 0, 255, AT(spares), "0", EGD_CONFIG_OF_JOB,
                           "nodes that take over from lost ones"},
    [EGD_CONFIG_HEARTBEAT] = {"Heartbeat", "EGIDA_HEARTBEAT", "heartbeat", "TIME", DURATION, 1000000, 60000000000,
                              AT(heartbeat_ns), "100ms", EGD_CONFIG_OF_JOB, "time between heartbeats of a node"},
    [EGD_CONFIG_HEARTBEAT_LIMIT] = {"HeartbeatLimit", "EGIDA_HEARTBEAT_LIMIT", "limit", "TIME", DURATION, 2000000,
                                    600000000000, AT(heartbeat_limit_ns), "300ms", EGD_CONFIG_OF_JOB,
                                    "silence after which a node is lost; at least two heartbeats"},
    [EGD_CONFIG_CONTROL_SERVICE] = {"ControlService", "EGIDA_CONTROL_SERVICE", "control-service", "ADDRESS",
                                    TEXT_OR_NONE, 0, 0, AT(control_service), "none", EGD_CONFIG_OF_JOB,
                                    "where jobs find egida-restartd: HOST:PORT, the path of its socket, or none"},
    [EGD_CONFIG_SERVICE_USER] = {"ServiceUser", "EGIDA_SERVICE_USER", "user", "USER", TEXT, 0, 0, AT(service_user),
                                 "egida", EGD_CONFIG_OF_SERVICE,
                                 "the user as whom egida-restartd runs, and whom jobs trust to be it"},
    [EGD_CONFIG_MUNGE_SOCKET] = {"MungeSocket", "EGIDA_MUNGE_SOCKET", "munge-socket", "PATH", TEXT_OR_NONE, 0, 0,
                                 AT(munge_socket), "none", EGD_CONFIG_OF_ALL,
                                 "socket of munged, if it is not the usual one"},
    [EGD_CONFIG_DATABASE] = {"Database", "EGIDA_DATABASE", "database", "DIR", TEXT, 0, 0, AT(database), EGIDA_STATEDIR,
                             EGD_CONFIG_OF_SERVICE, "folder of the cluster's history"},
    [EGD_CONFIG_SOCKET] = {"Socket", "EGIDA_SOCKET", "socket", "PATH", TEXT_OR_NONE, 0, 0, AT(socket),
                           EGIDA_RUNDIR "/restartd.sock", EGD_CONFIG_OF_SERVICE,
                           "Unix socket on which egida-restartd listens, or none"},
    [EGD_CONFIG_LISTEN] = {"Listen", "EGIDA_LISTEN", "listen", "HOST:PORT", TEXT_OR_NONE, 0, 0, AT(listen), "none",
                           EGD_CONFIG_OF_SERVICE,
                           "numeric address on which egida-restartd listens for jobs of other hosts, or none"},
    [EGD_CONFIG_MAX_CONNECTIONS] = {"MaxConnections", "EGIDA_MAX_CONNECTIONS", "max-connections", "N", NUMBER, 1,
                                    100000, AT(max_connections), "1024", EGD_CONFIG_OF_SERVICE,
                                    "jobs that may be connected to egida-restartd"},
    [EGD_CONFIG_MAX_CONNECTIONS_PER_USER] = {"MaxConnectionsPerUser", "EGIDA_MAX_CONNECTIONS_PER_USER",
                                             "max-connections-per-user", "N", NUMBER, 1, 100000,
                                             AT(max_connections_per_user), "128", EGD_CONFIG_OF_SERVICE,
                                             "of them of one user"},
#undef AT
};

const char *egd_config_key(enum egd_config_option option) {
  return entries[option].key;
}

const char *egd_config_file(void) {
  const char *file = getenv(EGD_CONFIG_ENVIRONMENT);
  return file && *file ? file : EGIDA_SYSCONFDIR "/egida/egida.conf";
}

static bool parse_number(const char *text, uint64_t *ret_value) {
  char *end;
  errno = 0;
  *ret_value = strtoull(text, &end, 10);
  return isdigit((unsigned char)*text) && !*end && errno == 0;
}

bool egd_config_set(struct egd_config *config, enum egd_config_option option, const char *value, const char *origin) {
  const struct entry *entry = &entries[option];
  uint64_t number = 0;
  if (!*value) {
    egd_log("%s: %s needs a value", origin, entry->key);
    return false;
  }
  if (entry->type == NUMBER || entry->type == DURATION) {
    bool time = entry->type == DURATION;
    if (!(time ? egd_duration_parse(value, &number) == EGD_OK : parse_number(value, &number)) || number < entry->low ||
        number > entry->high) {
      char low[EGD_SIZE_TEXT], high[EGD_SIZE_TEXT];
      if (time)
        egd_log("%s: %s: '%s' is not a time from %s to %s", origin, entry->key, value,
                egd_duration_format(entry->low, low), egd_duration_format(entry->high, high));
      else
        egd_log("%s: %s: '%s' is not a number from %llu to %llu", origin, entry->key, value,
                (unsigned long long)entry->low, (unsigned long long)entry->high);
      return false;
    }
  }
  char *text = strdup(value), *from = strdup(origin);
  if (!text || !from) {
    free(text);
    free(from);
    egd_log("out of memory");
    return false;
  }
  free(config->text[option]);
  free(config->origin[option]);
  config->text[option] = text;
  config->origin[option] = from;
  char *member = (char *)config + entry->offset;
  if (entry->type == NUMBER || entry->type == DURATION)
    *(uint64_t *)member = number;
  else
    *(const char **)member = entry->type == TEXT_OR_NONE && strcmp(text, "none") == 0 ? "" : text;
  return true;
}

// ---- the file -----------------------------------------------------------------------------------------------------------

static bool unknown_key(const char *where, const char *key) {
  size_t best = 0, best_distance = SIZE_MAX;
  for (size_t i = 0; i < EGD_CONFIG_OPTIONS; i++) {
    size_t distance = egd_edit_distance(key, entries[i].key);
    if (distance < best_distance) {
      best = i;
      best_distance = distance;
    }
  }
  if (best_distance <= 2 + strlen(key) / 6)
    egd_log("%s: there is no option '%s'; did you mean '%s'?", where, key, entries[best].key);
  else
    egd_log("%s: there is no option '%s'; 'egida config' lists them", where, key);
  return false;
}

static bool read_line(struct egd_config *config, char *line, const char *where) {
  for (char *at = line; *at; at++)
    if (*at == '#' && (at == line || isspace((unsigned char)at[-1]))) *at = 0;
  char *key = line + strspn(line, " \t\r\n"), *end = key + strlen(key);
  while (end > key && isspace((unsigned char)end[-1])) *--end = 0;
  if (!*key) return true;
  char *equal = strchr(key, '=');
  if (!equal) {
    egd_log("%s: '%s' is no 'key = value'", where, key);
    return false;
  }
  char *value = equal + 1 + strspn(equal + 1, " \t");
  while (equal > key && isspace((unsigned char)equal[-1])) equal--;
  *equal = 0;
  for (unsigned i = 0; i < EGD_CONFIG_OPTIONS; i++)
    if (strcasecmp(key, entries[i].key) == 0) return egd_config_set(config, i, value, where);
  return unknown_key(where, key);
}

static bool read_file(struct egd_config *config, const char *path, bool must_exist) {
  FILE *file = fopen(path, "re");
  if (!file && !must_exist && errno == ENOENT) return true;
  if (!file) {
    egd_log("%s: %s; mend it, or name another configuration by %s", path, strerror(errno), EGD_CONFIG_ENVIRONMENT);
    return false;
  }
  char *line = NULL, *where = NULL;
  size_t size = 0;
  bool good = true;
  ssize_t length;
  for (unsigned number = 1; (length = getline(&line, &size, file)) >= 0; number++) {
    if (asprintf(&where, "%s:%u", path, number) < 0) break;
    if (strlen(line) != (size_t)length) {
      egd_log("%s: this is not text", where);
      good = false;
    } else {
      good &= read_line(config, line, where);
    }
    free(where);
  }
  if (ferror(file)) {
    egd_log("%s can't be read: %s", path, strerror(errno));
    good = false;
  }
  free(line);
  fclose(file);
  return good;
}

bool egd_config_load(struct egd_config *ret_config, const char *file) {
  memset(ret_config, 0, sizeof(*ret_config));
  bool good = true;
  const char *named = getenv(EGD_CONFIG_ENVIRONMENT);
  for (unsigned i = 0; i < EGD_CONFIG_OPTIONS; i++) good &= egd_config_set(ret_config, i, entries[i].value, "default");
  good &= read_file(ret_config, file ? file : egd_config_file(), file || (named && *named));
  for (unsigned i = 0; i < EGD_CONFIG_OPTIONS; i++) {
    const char *value = getenv(entries[i].environment);
    if (value && *value) good &= egd_config_set(ret_config, i, value, entries[i].environment);
  }
  return good;
}

void egd_config_clear(struct egd_config *config) {
  for (unsigned i = 0; i < EGD_CONFIG_OPTIONS; i++) {
    free(config->text[i]);
    free(config->origin[i]);
  }
  memset(config, 0, sizeof(*config));
}

bool egd_config_check(const struct egd_config *config) {
  if (config->heartbeat_limit_ns >= 2 * config->heartbeat_ns) return true;
  egd_log("%s: HeartbeatLimit %s is less than two heartbeats of %s (%s); a single late one would cost a node",
          config->origin[EGD_CONFIG_HEARTBEAT_LIMIT], config->text[EGD_CONFIG_HEARTBEAT_LIMIT],
          config->text[EGD_CONFIG_HEARTBEAT], config->origin[EGD_CONFIG_HEARTBEAT]);
  return false;
}

// ---- command line and documentation -------------------------------------------------------------------------------------

unsigned egd_config_getopt(unsigned who, struct option *options) {
  unsigned count = 0;
  for (unsigned i = 0; i < EGD_CONFIG_OPTIONS; i++)
    if (entries[i].who & who)
      options[count++] = (struct option){entries[i].flag, required_argument, NULL, EGD_CONFIG_GETOPT + (int)i};
  options[count] = (struct option){0};
  return count;
}

bool egd_config_from_getopt(struct egd_config *config, int returned, const char *value) {
  char origin[64];
  snprintf(origin, sizeof(origin), "--%s", entries[returned - EGD_CONFIG_GETOPT].flag);
  return egd_config_set(config, (enum egd_config_option)(returned - EGD_CONFIG_GETOPT), value, origin);
}

void egd_config_help(unsigned who, FILE *to) {
  for (unsigned i = 0; i < EGD_CONFIG_OPTIONS; i++) {
    if (!(entries[i].who & who)) continue;
    int used = fprintf(to, "      --%s=%s", entries[i].flag, entries[i].argument);
    fprintf(to, "%*s%s (default %s)\n", used < 24 ? 24 - used : 2, "", entries[i].about, entries[i].value);
  }
}

// A minus sign would be shown as a hyphen, which can't be copied into a shell.
static void print_man(FILE *to, const char *text) {
  for (; *text; text++) fprintf(to, *text == '-' ? "\\%c" : "%c", *text);
}

void egd_config_man(FILE *to) {
  for (unsigned i = 0; i < EGD_CONFIG_OPTIONS; i++) {
    const struct entry *entry = &entries[i];
    fprintf(to, ".TP\n.BR %s \" = \\fI", entry->key);
    print_man(to, entry->argument);
    fprintf(to, "\\fR\"\n%c", toupper((unsigned char)entry->about[0]));
    print_man(to, entry->about + 1);
    fprintf(to, ".\nDefault: ");
    print_man(to, entry->value);
    fprintf(to, ".\nEnvironment: %s. Command line%s: ", entry->environment,
            entry->who == EGD_CONFIG_OF_SERVICE ? " of egida\\-restartd" : "");
    print_man(to, "--");
    print_man(to, entry->flag);
    fprintf(to, ".\n");
  }
}
