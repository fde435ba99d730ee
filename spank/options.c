// The options that srun, salloc and sbatch get. Slurm hands those of salloc and sbatch on to each srun in the job.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "spank/plugin.h"

enum { SPEC, SPARES, INTERVAL, DIR, RESTARTS, DEGRADED, RESUME, HEARTBEAT, LIMIT, VERBOSE, OFF, COUNT };

static int take(int option, const char *value, int remote);

#define PREFIX "egida-"

static struct spank_option table[COUNT] = {
    [SPEC] = {PREFIX "spec", "NAME|FILE",
              "run the program so that it survives crashes and lost nodes, by this protocol "
              "(egida specs lists them)",
              1, SPEC, take},
    [SPARES] = {PREFIX "spares", "N", "nodes of the job that wait to take over from lost ones (default 0)", 1, SPARES,
                take},
    [INTERVAL] = {PREFIX "interval", "TIME", "time between images of a rank, e.g. 30s (default: as the protocol says)",
                  1, INTERVAL, take},
    [DIR] = {PREFIX "dir", "DIR",
             "where images, logs and the history are kept, on a file system that all nodes share "
             "(default ./.egida or $EGIDA_DIR)",
             1, DIR, take},
    [RESTARTS] = {PREFIX "max-restarts", "N", "of one rank, then the job ends (default 10)", 1, RESTARTS, take},
    [DEGRADED] = {PREFIX "allow-degraded", NULL, "run even where something can't be protected; it is said", 0, DEGRADED,
                  take},
    [RESUME] = {PREFIX "resume", "JOB", "go on with a job of Egida whose srun was lost", 1, RESUME, take},
    [HEARTBEAT] = {PREFIX "heartbeat", "TIME", "between signs of life of a node (default 100ms)", 1, HEARTBEAT, take},
    [LIMIT] = {PREFIX "limit", "TIME", "silence after which a node is lost (default 300ms)", 1, LIMIT, take},
    [VERBOSE] = {PREFIX "verbose", NULL, "say what happens", 0, VERBOSE, take},
    [OFF] = {"no-egida", NULL, "without Egida, whatever else is said", 0, OFF, take},
};

static bool given[COUNT];
static char *values[COUNT];

// Slurm calls it again for an option that comes from several places; the last one counts.
static int take(int option, const char *value, int remote) {
  given[option] = true;
  if (!table[option].has_arg) return 0;
  free(values[option]);
  values[option] = strdup(value ? value : "");
  return 0;
}

void options_register(spank_t spank) {
  for (int i = 0; i < COUNT; i++)
    if (spank_option_register(spank, &table[i]) != ESPANK_SUCCESS)
      slurm_error("egida: the option --%s cannot be registered", table[i].name);
}

bool options_active(void) {
  return (given[SPEC] || given[RESUME]) && !given[OFF];
}
bool options_allow_degraded(void) {
  return given[DEGRADED];
}

const char *options_idle(void) {
  for (int i = 0; i < OFF && !given[OFF] && !options_active(); i++)
    if (given[i]) return table[i].name;
  return NULL;
}

size_t options_arguments(const char **arguments) {
  static char *made[COUNT];
  size_t count = 0;
  for (int i = 0; i < OFF; i++) {
    if (!given[i]) continue;
    const char *name = table[i].name + strlen(PREFIX);
    size_t size = strlen(name) + (values[i] ? strlen(values[i]) : 0) + 4;
    free(made[i]);
    if (!(made[i] = malloc(size))) continue;
    strcpy(made[i], "--");
    strcat(made[i], name);
    if (values[i]) strcat(strcat(made[i], "="), values[i]);
    arguments[count++] = made[i];
  }
  return count;
}

// The command line, before Slurm has told options from the program's arguments: a guess, which local.c corrects.
static bool is_on_command_line(void) {
  static const char *const names[] = {"--egida-spe", "--egida-r"}; // abbreviations are options too
  char text[65536];
  int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
  if (fd >= 0) close(fd);
  if (length <= 0) return false;
  text[length] = 0;
  for (const char *word = text; word < text + length; word += strlen(word) + 1)
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
      if (strncmp(word, names[i], strlen(names[i])) == 0) return true;
  return false;
}

bool options_expected(void) {
  return getenv("SLURM_SPANK__SLURM_SPANK_OPTION_egida_egida_spec") ||
         getenv("SLURM_SPANK__SLURM_SPANK_OPTION_egida_egida_resume") || is_on_command_line();
}
