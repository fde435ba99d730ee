// egida config: the effective configuration, and where each value comes from.
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/table.h"
#include "common/config.h"

static const struct egd_column columns[] = {
    {"key", "key", "KEY", false, true},
    {"value", "value", "VALUE", false, true},
    {"origin", "origin", "ORIGIN", false, true},
    {0},
};

static bool own_option(void *arg, int letter, const char *value) {
  *(const char **)arg = value;
  return true;
}

int egida_cmd_config(int argc, char **argv) {
  static const struct option own[] = {{"file", required_argument, NULL, 'c'}, {0}};
  static const struct egd_list_command command = {
      .name = "config",
      .arguments = "",
      .about = "Print the effective configuration: defaults, egida.conf and the environment.",
      .own_options = "      --file=FILE      another file than the usual one\n",
      .columns = columns,
      .long_options = own,
      .option = own_option,
  };
  // The list of egida.conf(5) is made of the same table while the page is built.
  if (argc == 2 && strcmp(argv[1], "--man") == 0) {
    egd_config_man(stdout);
    return 0;
  }
  struct egd_list_options options;
  const char *file = NULL;
  int exit_code;
  int first = egd_list_options_parse(argc, argv, &command, &file, &options, &exit_code);
  if (first < 0) return exit_code;
  if (first < argc) {
    egd_list_complain("config", "'%s' is not expected; 'egida config' prints all options", argv[first]);
    return 1;
  }
  struct egd_config config;
  struct egd_table *table = egd_table_create(columns, "config", &options);
  bool good = egd_config_load(&config, file) && egd_config_check(&config) && table;
  for (unsigned i = 0; good && i < EGD_CONFIG_OPTIONS; i++) {
    egd_table_text(table, egd_config_key(i));
    egd_table_text(table, config.text[i]);
    egd_table_text(table, config.origin[i]);
  }
  if (good) good = egd_table_print(table);
  egd_table_destroy(table);
  egd_config_clear(&config);
  return good ? 0 : 1;
}
