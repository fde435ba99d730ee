// egida specs: which specifications can be named.
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
    "Usage: egida specs [--json] [NAME]\n"
    "List the specifications that `egida run --spec NAME` finds, in search order: this folder, the folders of\n"
    "$EGIDA_SPEC_PATH, the installed ones. With NAME, print that specification.\n"
    "\n"
    "      --json           one JSON document\n"
    "      --help           this text\n";

// The first line of the header comment.
static void title_of(const char *text, size_t length, char title[128]) {
  size_t at = 0;
  title[0] = '\0';
  while (at < length && strchr("#/*{ \t\r\n", text[at])) at++;
  if (at == 0) return;
  size_t n = 0;
  while (at + n < length && text[at + n] != '\n' && n < 127) n++;
  memcpy(title, text + at, n);
  title[n] = '\0';
}

struct listing {
  json_t *json; // or NULL
  unsigned *count;
};

static bool print_one(void *context, const char *name, const char *path, bool hidden) {
  const struct listing *listing = context;
  json_t *list = listing->json;
  ++*listing->count;
  char read_path[PATH_MAX], error[PATH_MAX + 256], title[128] = "", with_slash[PATH_MAX + 2];
  char *text;
  size_t length;
  struct egd_plan plan;
  const char *state = "cannot be read";
  // By its path, so that a hidden one is not taken for the one that hides it.
  snprintf(with_slash, sizeof(with_slash), "%s%s", strchr(path, '/') ? "" : "./", path);
  if (egd_spec_read(with_slash, read_path, &text, &length, error, sizeof(error)) == EGD_OK) {
    title_of(text, length, title);
    int status = egd_plan_compile(text, length, path, &plan, NULL, NULL);
    state = status == EGD_OK ? "runs" : status == EGD_ERR_UNSUPPORTED ? "can be checked only" : "is refused";
    free(text);
  }
  if (list) {
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b, s:s}", "name", name, "path", path, "state", state,
                                          "hidden", hidden, "title", title));
    return true;
  }
  printf("%-20s %s%s\n", name, path, hidden ? "  (hidden by one above)" : "");
  if (*title) printf("    %s\n", title);
  if (strcmp(state, "runs") != 0) printf("    It %s: `egida check %s` says why.\n", state, path);
  return true;
}

int egida_cmd_specs(int argc, char **argv) {
  static const struct option long_options[] = {{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'H'}, {0}};
  bool json = false;
  optind = 0;
  for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
    if (option == 'H') {
      fputs(usage, stdout);
      return 0;
    }
    if (option != 'j') {
      fputs("egida specs: try `egida specs --help`\n", stderr);
      return 1;
    }
    json = true;
  }
  if (argc - optind > 1) {
    fprintf(stderr, "egida specs: one name at most, '%s' is too many\n", argv[optind + 1]);
    return 1;
  }
  if (optind < argc) {
    char path[PATH_MAX], error[PATH_MAX + 256];
    char *text;
    size_t length;
    if (egd_spec_read(argv[optind], path, &text, &length, error, sizeof(error)) != EGD_OK) {
      fprintf(stderr, "egida specs: %s\n", error);
      return 1;
    }
    fwrite(text, 1, length, stdout);
    free(text);
    return 0;
  }
  json_t *list = json ? json_array() : NULL;
  unsigned count = 0;
  struct listing listing = {list, &count};
  egd_spec_list(print_one, &listing);
  if (count == 0)
    fputs("egida specs: none found in this folder, in $EGIDA_SPEC_PATH and in " EGIDA_DATADIR "/specs; "
          "set EGIDA_SPEC_PATH to a folder with *.egd files\n",
          stderr);
  if (list) {
    json_dumpf(list, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(list);
  }
  return 0;
}
