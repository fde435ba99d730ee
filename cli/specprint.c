#include "cli/specprint.h"
#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/spec/text.h"

#define COLUMNS 100

void egd_print_wrapped(FILE *to, unsigned indent, const char *text) {
  while (*text) {
    size_t width = COLUMNS - indent, length = strcspn(text, "\n");
    if (length > width) {
      length = width;
      while (length > 0 && text[length] != ' ') length--;
      if (length == 0) length = strcspn(text, " \n");
    }
    fprintf(to, "%*s%.*s\n", (int)indent, "", (int)length, text);
    text += length;
    while (*text == ' ' || *text == '\n') text++;
  }
}

void egd_survival_format(const struct egd_guarantees *guarantees, char *buffer, size_t size) {
  if (guarantees->family == EGD_FAMILY_NONE) {
    snprintf(buffer, size, "no failure");
  } else if (guarantees->node_failures == EGD_ANY_NUMBER) {
    snprintf(buffer, size, "any number of process and node failures, while the shared disk lives");
  } else if (guarantees->node_failures == 0) {
    snprintf(buffer, size, "any number of process failures; no node failure");
  } else {
    snprintf(buffer, size, "any number of process failures; %u node failure%s at a time; not the loss of all nodes",
             guarantees->node_failures, guarantees->node_failures == 1 ? "" : "s");
  }
}

void egd_interval_format(const struct egd_guarantees *guarantees, char *buffer, size_t size) {
  struct egd_text text = {buffer, size, 0};
  if (guarantees->periodic_checkpoint) {
    egd_text_string(&text, "every ");
    egd_text_duration(&text, guarantees->checkpoint_interval_ns);
  } else {
    egd_text_string(&text, guarantees->has_checkpoint ? "on request" : "none");
  }
}

const char *egd_family_name(enum egd_family family) {
  static const char *const names[] = {"none",       "pessimistic", "causal",
                                      "optimistic", "coordinated", "communication-induced"};
  return names[family];
}

void egd_print_guarantees(FILE *to, const struct egd_guarantees *guarantees) {
  char survival[160], interval[64];
  egd_survival_format(guarantees, survival, sizeof(survival));
  egd_interval_format(guarantees, interval, sizeof(interval));
  fprintf(to, "  protocol        %s\n", guarantees->summary);
  fprintf(to, "  survives        %s\n", survival);
  fprintf(to, "  orphans         %s\n",
          guarantees->orphan_free || guarantees->family == EGD_FAMILY_NONE ? "cannot arise"
          : guarantees->family == EGD_FAMILY_OPTIMISTIC
              ? "may arise; they are found and rolled back"
              : "no lost receipt can be repeated, so whoever depends on one rolls back");
  fprintf(to, "  rolls back      %s\n", guarantees->who_rolls_back);
  fprintf(to, "  before output   %s\n", guarantees->output_commit);
  fprintf(to, "  logs shrink     %s\n", guarantees->garbage_collection);
  fprintf(to, "  domino effect   %s\n", guarantees->domino);
  fprintf(to, "  images          %s\n", interval);
}

bool egd_module_load(struct egd_registry *registry, const char *command, const char *path) {
  char real[PATH_MAX];
  // dlopen would search for a name without a slash elsewhere.
  if (!realpath(path, real)) {
    fprintf(stderr, "egida %s: --module: cannot find %s; give the path of a shared object\n", command, path);
    return false;
  }
  void *object = dlopen(real, RTLD_NOW | RTLD_LOCAL);
  if (!object) {
    fprintf(stderr, "egida %s: --module: cannot load %s: %s\n", command, path, dlerror());
    return false;
  }
  const struct egd_module *module = dlsym(object, EGD_MODULE_SYMBOL);
  const char *reason = module ? egd_registry_add(registry, module)
                              : "it exports no `const struct egd_module " EGD_MODULE_SYMBOL
                                "` (see docs/spec-language.md)";
  if (!reason) return true;
  fprintf(stderr, "egida %s: --module: cannot use %s: %s\n", command, path, reason);
  dlclose(object);
  return false;
}

void egd_print_diagnostic(void *context, const struct egd_diagnostic *diagnostic) {
  (void)context;
  fprintf(stderr, "%s\n", diagnostic->text);
}

void egd_print_as_note(void *context, const struct egd_diagnostic *diagnostic) {
  (void)context;
  fprintf(stderr, "%s:%u:%u: note: %s\n", diagnostic->name, diagnostic->line, diagnostic->column, diagnostic->message);
}
