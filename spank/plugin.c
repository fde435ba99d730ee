// The plugin as Slurm sees it: callbacks, and the arguments of its line in plugstack.conf.
#include "spank/plugin.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <slurm/slurm.h>

SPANK_PLUGIN(egida, 1)

spank_f slurm_spank_init, slurm_spank_init_post_opt, slurm_spank_local_user_init, slurm_spank_task_init;

struct config config;

static const char *value_of(const char *argument, const char *name) {
  size_t length = strlen(name);
  return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1 : NULL;
}

// A build folder has the programs side by side; an installation may be elsewhere than it was configured to go.
static void find_exec(const char *egida) {
  static const char *const beside[] = {"", "/../libexec/egida"};
  const char *slash = strrchr(egida, '/');
  for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
    snprintf(config.exec, sizeof(config.exec), "%.*s%s/egida-exec", slash ? (int)(slash - egida) : 0, egida, beside[i]);
    if (access(config.exec, X_OK) == 0) return;
  }
  snprintf(config.exec, sizeof(config.exec), "%s/egida-exec", EGIDA_LIBEXECDIR);
}

static void read_arguments(int argc, char **argv) {
  const char *egida = EGIDA_BINDIR "/egida";
  config.wrong = NULL;
  for (int i = 0; i < argc; i++) {
    const char *value;
    if ((value = value_of(argv[i], "egida")))
      egida = value;
    else if ((value = value_of(argv[i], "listen")))
      config.listen = value;
    else
      config.wrong = argv[i];
  }
  if (config.wrong)
    slurm_error("egida: plugstack.conf: unknown argument '%s'; there are egida=PATH and listen=HOST|INTERFACE",
                config.wrong);
  snprintf(config.egida, sizeof(config.egida), "%s", egida);
  find_exec(egida);
}

int slurm_spank_init(spank_t spank, int argc, char **argv) {
  spank_context_t context = spank_context();
  if (context != S_CTX_LOCAL && context != S_CTX_ALLOCATOR && context != S_CTX_REMOTE) return 0;
  read_arguments(argc, argv);
  options_register(spank);
  if (context == S_CTX_LOCAL) local_init();
  if (context == S_CTX_ALLOCATOR) allocator_init();
  return 0;
}

int slurm_spank_init_post_opt(spank_t spank, int argc, char **argv) {
  spank_context_t context = spank_context();
  if (context == S_CTX_LOCAL) local_options();
  if (context == S_CTX_ALLOCATOR) allocator_options();
  return 0;
}

int slurm_spank_local_user_init(spank_t spank, int argc, char **argv) {
  if (options_active()) local_start(spank);
  return 0;
}

int slurm_spank_task_init(spank_t spank, int argc, char **argv) {
  if (options_active()) remote_task(spank);
  return 0;
}
