// The configuration: where values come from, and what is said about wrong ones.
#include "common/config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/tap_store.h"

static char said[8192];
static int real_stderr;

static void listen_to_stderr(void) {
  fflush(stderr);
  int fd = open("said", O_RDWR | O_CREAT | O_TRUNC, 0600);
  dup2(fd, 2);
  close(fd);
}

static void stop_listening(void) {
  fflush(stderr);
  ssize_t n = pread(2, said, sizeof said - 1, 0);
  said[n > 0 ? n : 0] = 0;
  dup2(real_stderr, 2);
}

static bool load(struct egd_config *config, const char *text) {
  FILE *file = fopen("egida.conf", "w");
  fputs(text, file);
  fclose(file);
  listen_to_stderr();
  bool good = egd_config_load(config, "egida.conf");
  stop_listening();
  return good;
}

static bool refuses(const char *text, const char *words) {
  struct egd_config config;
  bool good = load(&config, text);
  egd_config_clear(&config);
  return ok(!good && strstr(said, words), "refused: %s", words) || (fputs(said, stdout), false);
}

int main(void) {
  struct egd_config config;
  for (unsigned i = 0; i < EGD_CONFIG_OPTIONS; i++) unsetenv(egd_config_key(i));
  real_stderr = dup(2);

  ok(load(&config, "") && !*said, "an empty file");
  ok(config.heartbeat_ns == 100000000 && config.heartbeat_limit_ns == 300000000 && config.spares == 0 &&
         strcmp(config.spec, "default") == 0 && !*config.control_service && !*config.listen,
     "defaults");
  egd_config_clear(&config);

  ok(load(&config,
          "# about us\n\n  Spares = 2 # two\nheartbeat=50ms\nControlService\t=  head:7411  \nSpec = a#b.egd\r\n"),
     "comments, blanks, no blanks, any case, line ends of others");
  ok(config.spares == 2 && config.heartbeat_ns == 50000000 && strcmp(config.control_service, "head:7411") == 0 &&
         strcmp(config.spec, "a#b.egd") == 0,
     "their values (%s, %s)", config.control_service, config.spec);
  ok(strcmp(config.origin[EGD_CONFIG_SPARES], "egida.conf:3") == 0 &&
         strcmp(config.origin[EGD_CONFIG_LISTEN], "default") == 0,
     "their origin (%s)", config.origin[EGD_CONFIG_SPARES]);
  ok(egd_config_set(&config, EGD_CONFIG_CONTROL_SERVICE, "none", "here") && !*config.control_service,
     "none is nothing");
  ok(egd_config_check(&config), "values that fit each other");
  listen_to_stderr();
  egd_config_set(&config, EGD_CONFIG_HEARTBEAT, "200ms", "--heartbeat");
  bool fits = egd_config_check(&config);
  stop_listening();
  ok(!fits && strstr(said, "--heartbeat") && strstr(said, "HeartbeatLimit"), "a limit below two heartbeats");
  egd_config_clear(&config);

  refuses("\nSpare = 2\n", "egida.conf:2: there is no option 'Spare'; did you mean 'Spares'?");
  refuses("HeartbeetLimit = 1s", "did you mean 'HeartbeatLimit'?");
  refuses("Colour = red\n", "egida.conf:1: there is no option 'Colour'; 'egida config' lists them");
  refuses("Spares 2\n", "egida.conf:1: 'Spares 2' is no 'key = value'");
  refuses("Spares =\n", "egida.conf:1: Spares needs a value");
  refuses("Spares = many\n", "'many' is not a number from 0 to 255");
  refuses("Spares = -1\n", "'-1' is not a number");
  refuses("Spares = 256\n", "'256' is not a number from 0 to 255");
  refuses("Heartbeat = 1us\n", "'1us' is not a time from 1.00ms to 1m00s");
  refuses("Heartbeat = soon\n", "'soon' is not a time");
  refuses("= 5\n", "there is no option ''");
  ok(!load(&config, "Spares = x\nHeartbeat = y\n") && strstr(said, ":1:") && strstr(said, ":2:"),
     "all errors are said");
  egd_config_clear(&config);

  int fd = open("egida.conf", O_WRONLY | O_TRUNC);
  ok(write(fd, "Spares\0=2\n", 10) == 10, "a byte 0 in a file");
  close(fd);
  listen_to_stderr();
  bool good = egd_config_load(&config, "egida.conf");
  stop_listening();
  ok(!good && strstr(said, "egida.conf:1: this is not text"), "is refused");
  egd_config_clear(&config);

  listen_to_stderr();
  good = egd_config_load(&config, "absent.conf");
  stop_listening();
  ok(!good && strstr(said, "absent.conf: No such file"), "a file that was named must be there");
  egd_config_clear(&config);

  setenv("EGIDA_SPARES", "7", 1);
  ok(load(&config, "Spares = 2\n") && config.spares == 7 &&
         strcmp(config.origin[EGD_CONFIG_SPARES], "EGIDA_SPARES") == 0,
     "the environment wins over the file");
  struct option options[EGD_CONFIG_OPTIONS + 1];
  char *argv[] = {"x", "--spares=9", NULL};
  egd_config_getopt(EGD_CONFIG_OF_JOB, options);
  int c = getopt_long(2, argv, "", options, NULL);
  ok(egd_config_from_getopt(&config, c, optarg) && config.spares == 9 &&
         strcmp(config.origin[EGD_CONFIG_SPARES], "--spares") == 0,
     "the command line over the environment");
  egd_config_clear(&config);
  setenv("EGIDA_SPARES", "x", 1);
  ok(!load(&config, "") && strstr(said, "EGIDA_SPARES: Spares: 'x' is not a number"), "a wrong one is named");
  egd_config_clear(&config);

  unsigned count = egd_config_getopt(EGD_CONFIG_OF_SERVICE, options);
  bool of_service = count > 0 && !options[count].name;
  for (unsigned i = 0; i < count; i++) of_service &= strcmp(options[i].name, "spares") != 0;
  ok(of_service, "the service has its own options");
  unlink("said");
  unlink("egida.conf");
  return done();
}
