// egida check: does a specification parse, and can a job that follows it recover?
#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "cli/commands.h"
#include "cli/specpath.h"
#include "cli/specprint.h"
#include "common/status.h"
#include "protocol/synthesis.h"

static const char usage[] =
    "Usage: egida check [OPTION]... SPEC...\n"
    "Say what a specification guarantees, or why it cannot work.\n"
    "\n"
    "SPEC is a file, a name that `egida specs` lists, or - for standard input.\n"
    "\n"
    "      --module=FILE    also know the value of this research module; may be repeated\n"
    "      --json           one JSON document on standard output\n"
    "  -q, --quiet          errors only\n"
    "      --help           this text\n"
    "\n"
    "Exit status: 0 all are sound (notes say what this build cannot run), 1 one is refused or a file cannot be read.\n";

struct options {
  struct egd_registry registry;
  bool json, quiet;
};

struct collector {
  const struct options *options;
  json_t *diagnostics; // or NULL
  bool as_note;
};

static void collect(void *context, const struct egd_diagnostic *diagnostic) {
  struct collector *collector = context;
  bool is_note = collector->as_note || diagnostic->severity == EGD_SEVERITY_NOTE;
  if (collector->diagnostics) {
    json_array_append_new(collector->diagnostics,
                          json_pack("{s:s, s:i, s:i, s:s, s:s}", "severity", is_note ? "note" : "error", "line",
                                    (int)diagnostic->line, "column", (int)diagnostic->column, "message",
                                    diagnostic->message, "file", diagnostic->name));
    return;
  }
  if (is_note && collector->options->quiet) return;
  (is_note ? egd_print_as_note : egd_print_diagnostic)(NULL, diagnostic);
}

static json_t *count(uint32_t failures) {
  return failures == EGD_ANY_NUMBER ? json_string("any") : json_integer(failures);
}

static json_t *guarantees_to_json(const struct egd_guarantees *g) {
  return json_pack("{s:s, s:s, s:b, s:o, s:o, s:b, s:s, s:s, s:s, s:s, s:I}", "family", egd_family_name(g->family),
                   "summary", g->summary, "orphan_free", g->orphan_free, "process_failures", count(g->process_failures),
                   "node_failures", count(g->node_failures), "whole_job", g->whole_job, "rolls_back", g->who_rolls_back,
                   "output_commit", g->output_commit, "garbage_collection", g->garbage_collection, "domino", g->domino,
                   "checkpoint_interval_ns", (json_int_t)g->checkpoint_interval_ns);
}

// True if the specification is sound. Appends to `results` if that is not NULL.
static bool check_one(const struct options *options, const char *name, json_t *results) {
  char path[PATH_MAX], error[PATH_MAX + 256];
  char *text;
  size_t length;
  if (egd_spec_read(name, path, &text, &length, error, sizeof(error)) != EGD_OK) {
    fprintf(stderr, "egida check: %s\n", error);
    if (results) json_array_append_new(results, json_pack("{s:s, s:b, s:s}", "spec", name, "sound", 0, "error", error));
    return false;
  }
  struct collector collector = {options, results ? json_array() : NULL, false};
  struct egd_spec *spec = NULL;
  struct egd_guarantees guarantees;
  struct egd_plan plan;
  bool sound = false, runnable = false;
  int status = egd_spec_parse(text, length, path, &options->registry, collect, &collector, &spec);
  if (status == EGD_OK) {
    sound = egd_spec_check(spec, collect, &collector, &guarantees) == EGD_OK;
    collector.as_note = true;
    if (sound) runnable = egd_plan_bind(spec, text, length, &plan, collect, &collector) == EGD_OK;
  } else if (status == EGD_ERR_NO_MEMORY) {
    fprintf(stderr, "egida check: no memory to parse %s\n", path);
  }
  if (results) {
    json_t *result = json_pack("{s:s, s:b, s:b, s:o}", "spec", path, "sound", sound, "runnable", runnable,
                               "diagnostics", collector.diagnostics);
    if (sound) json_object_set_new(result, "guarantees", guarantees_to_json(&guarantees));
    json_array_append_new(results, result);
  } else if (sound && !options->quiet) {
    printf("%s: sound%s\n", path, runnable ? "" : "; this build cannot run it (see the notes)");
    egd_print_guarantees(stdout, &guarantees);
  }
  egd_spec_destroy(spec);
  free(text);
  return sound;
}

int egida_cmd_check(int argc, char **argv) {
  enum { OPTION_MODULE = 256, OPTION_JSON, OPTION_HELP };
  static const struct option long_options[] = {{"module", required_argument, NULL, OPTION_MODULE},
                                               {"json", no_argument, NULL, OPTION_JSON},
                                               {"quiet", no_argument, NULL, 'q'},
                                               {"help", no_argument, NULL, OPTION_HELP},
                                               {0}};
  struct options options = {0};
  egd_registry_init(&options.registry);
  optind = 0; // argv is not the program's own
  for (int option; (option = getopt_long(argc, argv, "q", long_options, NULL)) != -1;) {
    switch (option) {
    case OPTION_MODULE:
      if (!egd_module_load(&options.registry, "check", optarg)) return 1;
      break;
    case OPTION_JSON:
      options.json = true;
      break;
    case 'q':
      options.quiet = true;
      break;
    case OPTION_HELP:
      fputs(usage, stdout);
      return 0;
    default:
      fputs("egida check: try `egida check --help`\n", stderr);
      return 1;
    }
  }
  if (optind == argc) {
    fputs(
        "egida check: no specification is given, e.g. `egida check pessimistic`; `egida specs` lists those there are\n",
        stderr);
    return 1;
  }
  json_t *results = options.json ? json_array() : NULL;
  bool all_sound = true;
  for (int i = optind; i < argc; i++) all_sound &= check_one(&options, argv[i], results);
  if (results) {
    json_dumpf(results, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(results);
  }
  return all_sound ? 0 : 1;
}
