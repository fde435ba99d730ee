// egida-restartd: options, user, foreground or background; then the service.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/log.h"
#include "config.h"
#include "restartd/service.h"

static int argument_count;
static char **arguments;
static int ready_fd = -1; // the foreground waits at its other end

static void usage(FILE *to) {
  fputs("usage: egida-restartd [OPTIONS]\n\n"
        "Keeps the history of all jobs of a cluster and marks lost nodes DOWN.\n\n"
        "      --config=FILE     read this file\n"
        "      --foreground      stay, and write messages to stderr\n"
        "      --verbose         say what happens\n",
        to);
  egd_config_help(EGD_CONFIG_OF_SERVICE, to);
  fputs("      --version\n"
        "      --help\n\n"
        "See egida-restartd(8) and egida.conf(5).\n",
        to);
}

// 0: go on; 1: end with *ret_exit.
static int parse(struct egd_config *config, bool *ret_foreground, int *ret_exit) {
  enum { OPT_CONFIG = 256, OPT_FOREGROUND, OPT_VERBOSE, OPT_VERSION, OPT_HELP };
  struct option options[EGD_CONFIG_OPTIONS + 6] = {{"config", required_argument, NULL, OPT_CONFIG},
                                                   {"foreground", no_argument, NULL, OPT_FOREGROUND},
                                                   {"verbose", no_argument, NULL, OPT_VERBOSE},
                                                   {"version", no_argument, NULL, OPT_VERSION},
                                                   {"help", no_argument, NULL, OPT_HELP}};
  const char *file = NULL;
  bool good = true;
  egd_config_getopt(EGD_CONFIG_OF_SERVICE, options + 5);
  *ret_exit = 1;
  // Twice: the file comes before the options, wherever it is named.
  for (int round = 0; round < 2; round++) {
    opterr = 0;
    optind = 1;
    for (int c; (c = getopt_long(argument_count, arguments, ":", options, NULL)) != -1;) {
      if (c == OPT_CONFIG) {
        file = optarg;
      } else if (c == OPT_FOREGROUND) {
        *ret_foreground = true;
      } else if (c == OPT_VERBOSE) {
        egd_log_set_verbose(true);
      } else if (c == OPT_VERSION) {
        puts("egida-restartd " PACKAGE_VERSION);
        *ret_exit = 0;
        return 1;
      } else if (c == OPT_HELP) {
        usage(stdout);
        *ret_exit = 0;
        return 1;
      } else if (c == ':' || c == '?') {
        egd_log(c == ':' ? "%s needs a value; --help tells more" : "there is no option %s; --help lists them",
                arguments[optind - 1]);
        return 1;
      } else if (round == 1) {
        good &= egd_config_from_getopt(config, c, optarg);
      }
    }
    if (round == 0 && !egd_config_load(config, file)) return 1;
  }
  if (optind < argument_count) egd_log("'%s' is not expected; --help tells more", arguments[optind]);
  return good && optind == argument_count && egd_config_check(config) ? 0 : 1;
}

// Nothing is opened with root's rights.
static bool become_user(const char *name) {
  if (geteuid() != 0) return true;
  const struct passwd *entry = getpwnam(name);
  if (!entry) {
    egd_log("ServiceUser %s: there is no such user; make it (sysusers.d/egida-restartd.conf), or name another one",
            name);
    return false;
  }
  if (entry->pw_uid == 0) return true;
  if (initgroups(name, entry->pw_gid) == 0 && setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) == 0 &&
      setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) == 0)
    return true;
  egd_log("ServiceUser %s: %s", name, strerror(errno));
  return false;
}

// In the parent: wait until the service is ready, or has ended.
static bool go_to_background(int *ret_exit) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return true;
  pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    ready_fd = ends[1];
    setsid();
    return true;
  }
  close(ends[1]);
  char ready = 0;
  *ret_exit = pid > 0 && read(ends[0], &ready, 1) == 1 ? 0 : 1;
  if (pid < 0) egd_log("no process can be started: %s", strerror(errno));
  return false;
}

static void on_ready(const struct egd_config *config) {
  if (ready_fd < 0) return;
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/restartd.log", config->database);
  int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (log < 0) egd_log("%s can't be written: %s; messages are lost", path, strerror(errno));
  dup2(null, 0);
  dup2(null, 1);
  dup2(log < 0 ? null : log, 2);
  if (write(ready_fd, "r", 1) != 1) egd_verbose("the caller did not wait");
  close(ready_fd);
}

static bool on_reload(struct egd_config *config) {
  struct egd_config fresh;
  bool foreground;
  int exit_code;
  bool good = parse(&fresh, &foreground, &exit_code) == 0;
  for (unsigned i = 0; good && i < EGD_CONFIG_OPTIONS; i++) {
    if (strcmp(fresh.text[i], config->text[i]) == 0) continue;
    if (i == EGD_CONFIG_MAX_CONNECTIONS || i == EGD_CONFIG_MAX_CONNECTIONS_PER_USER || i == EGD_CONFIG_MUNGE_SOCKET)
      good = egd_config_set(config, i, fresh.text[i], fresh.origin[i]);
    else
      egd_log("%s: %s: a new value needs a restart of egida-restartd", fresh.origin[i], egd_config_key(i));
  }
  egd_config_clear(&fresh);
  return good;
}

int main(int argc, char **argv) {
  static const struct egd_service_hooks hooks = {on_ready, on_reload};
  struct egd_config config = {0};
  bool foreground = false;
  int exit_code = 1;
  argument_count = argc;
  arguments = argv;
  umask(077);
  egd_log_set_name("egida-restartd");
  if (parse(&config, &foreground, &exit_code) == 0 && become_user(config.service_user) &&
      (foreground || go_to_background(&exit_code)))
    exit_code = egd_service_run(&config, &hooks);
  egd_config_clear(&config);
  return exit_code;
}
