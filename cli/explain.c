// egida explain: what a specification says, value by value; or what values there are.
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "cli/commands.h"
#include "cli/specpath.h"
#include "cli/specprint.h"
#include "common/status.h"
#include "protocol/spec/lexer.h"
#include "protocol/synthesis.h"

static const char usage[] =
    "Usage: egida explain [--module=FILE]... [SPEC|VALUE|VARIABLE]\n"
    "Explain a specification, value by value, and what it guarantees; or one value or variable of the language. "
    "Without\n"
    "an operand, list all variables and values.\n"
    "\n"
    "  egida explain pessimistic          a specification by file or name (`egida specs` lists them)\n"
    "  egida explain 'NFS disk'           a value\n"
    "  egida explain stable-storage       a variable and its values\n";

static void print_module(const struct egd_module *module) {
  printf("  %s%s\n", module->name,
         egd_module_available(module) ? "" : "  (no module in this build: can be checked, not run)");
  for (size_t i = 1; module->phrases && module->phrases[i]; i++) {
    char buffer[128];
    struct egd_text text = {buffer, sizeof(buffer), 0};
    egd_phrase_print(&text, module->phrases[i]);
    printf("    also written: %s\n", buffer);
  }
  egd_print_wrapped(stdout, 6, module->doc);
}

static void print_variable(const struct egd_registry *registry, enum egd_variable variable) {
  const struct egd_module *module;
  printf("%s:\n", egd_variable_name(variable));
  for (size_t n = 0; (module = egd_registry_nth(registry, variable, n)); n++) print_module(module);
}

// Is the operand the name of variables or values? Explains all of them.
static bool explain_name(const struct egd_registry *registry, const char *name) {
  bool found = false;
  for (unsigned variable = 0; variable < EGD_VARIABLE_COUNT; variable++) {
    if (strcasecmp(name, egd_variable_name(variable)) == 0) {
      print_variable(registry, variable);
      return true;
    }
    const struct egd_module *module;
    for (size_t n = 0; (module = egd_registry_nth(registry, variable, n)); n++) {
      if (strcasecmp(name, module->name) != 0 && strcasecmp(name, module->value) != 0) continue;
      printf("%s:\n", egd_variable_name(variable));
      print_module(module);
      found = true;
    }
  }
  return found;
}

struct walk {
  const char *text;
  const struct egd_module *explained[64];
  size_t count;
};

static void explain_values(struct walk *walk, const struct egd_value *value) {
  for (; value; value = value->next) {
    printf("  %-24s %.*s\n", egd_variable_name(value->module->variable), (int)value->length,
           walk->text + value->offset);
    bool again = false;
    for (size_t i = 0; i < walk->count; i++) again |= walk->explained[i] == value->module;
    if (again) continue;
    if (walk->count < 64) walk->explained[walk->count++] = value->module;
    egd_print_wrapped(stdout, 6, value->module->doc);
    if (!egd_module_available(value->module))
      egd_print_wrapped(stdout, 6, "No module in this build: it can be checked, not run.");
  }
}

static void explain_statement(struct walk *walk, const struct egd_statement *s) {
  static const char *const titles[] = {
      [EGD_STATEMENT_NONDETERMINISTIC] = "non-deterministic event",
      [EGD_STATEMENT_OUTPUT_COMMIT] = "output commit",
      [EGD_STATEMENT_DEPENDENCY] = "dependency-generating event",
      [EGD_STATEMENT_CHECKPOINT] = "checkpoints",
      [EGD_STATEMENT_COLLECTION] = "recovery: retrieval of determinants",
      [EGD_STATEMENT_ORPHANS] = "recovery: detection of orphans",
      [EGD_STATEMENT_ROLLBACK_LOG] = "recovery: on rollback, log",
      [EGD_STATEMENT_ROLLBACK_CHECKPOINT] = "recovery: on rollback, checkpoint",
      [EGD_STATEMENT_TRANSPORT_ONLY] = "transport only: no event is looked at",
  };
  printf("line %u: %s\n", s->line, titles[s->kind]);
  const struct egd_value *values[] = {s->event, s->events, s->protocol,       s->structure, s->piggyback,
                                      s->how,   s->where,  s->implementation, s->policy};
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) explain_values(walk, values[i]);
  if (!s->log) return;
  explain_values(walk, s->log->infos);
  explain_values(walk, s->log->how);
  explain_values(walk, s->log->where);
}

static int explain_spec(const struct egd_registry *registry, const char *name) {
  char path[PATH_MAX], error[PATH_MAX + 256];
  char *text;
  size_t length;
  if (egd_spec_read(name, path, &text, &length, error, sizeof(error)) != EGD_OK) {
    fprintf(stderr, "egida explain: %s. `egida explain` lists all values of the language\n", error);
    return 1;
  }
  struct egd_spec *spec = NULL;
  int exit_code = 1;
  if (egd_spec_parse(text, length, path, registry, egd_print_diagnostic, NULL, &spec) == EGD_OK) {
    printf("%s\n\n", path);
    struct walk walk = {.text = text};
    for (const struct egd_statement *s = spec->first; s; s = s->next) {
      explain_statement(&walk, s);
      putchar('\n');
    }
    fflush(stdout);
    struct egd_guarantees guarantees;
    if (egd_spec_check(spec, egd_print_diagnostic, NULL, &guarantees) == EGD_OK) {
      struct egd_plan plan;
      bool runnable = egd_plan_bind(spec, text, length, &plan, egd_print_as_note, NULL) == EGD_OK;
      printf("Together%s:\n", runnable ? "" : " (this build cannot run it)");
      egd_print_guarantees(stdout, &guarantees);
      exit_code = 0;
    }
    egd_spec_destroy(spec);
  }
  free(text);
  return exit_code;
}

int egida_cmd_explain(int argc, char **argv) {
  static const struct option long_options[] = {
      {"module", required_argument, NULL, 'm'}, {"help", no_argument, NULL, 'H'}, {0}};
  struct egd_registry registry;
  egd_registry_init(&registry);
  optind = 0;
  for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
    if (option == 'H') {
      fputs(usage, stdout);
      return 0;
    }
    if (option != 'm') {
      fputs("egida explain: try `egida explain --help`\n", stderr);
      return 1;
    }
    if (!egd_module_load(&registry, "explain", optarg)) return 1;
  }
  if (argc - optind > 1) {
    fprintf(stderr, "egida explain: one operand at most, '%s' is too many; put values of several words in quotes\n",
            argv[optind + 1]);
    return 1;
  }
  if (optind == argc) {
    for (unsigned variable = 0; variable < EGD_VARIABLE_COUNT; variable++) {
      if (variable) putchar('\n');
      print_variable(&registry, variable);
    }
    return 0;
  }
  return explain_name(&registry, argv[optind]) ? 0 : explain_spec(&registry, argv[optind]);
}
