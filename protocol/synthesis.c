#include "protocol/synthesis.h"
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "protocol/registry.h"
#include "protocol/spec/lexer.h"
#include "protocol/spec/spec.h"

struct synthesis {
  struct egd_source source;
  struct egd_plan plan;
  const struct egd_log *determinant_log;
  unsigned refused;
};

static void refuse(struct synthesis *synthesis, const struct egd_value *value, const char *reason) {
  char buffer[512];
  struct egd_text text = {buffer, sizeof(buffer), 0};
  egd_text_string(&text, "'");
  egd_text_string(&text, value->module->name);
  egd_text_string(&text, "' (");
  egd_text_string(&text, egd_variable_name(value->module->variable));
  egd_text_string(&text, ") cannot be run by this build: ");
  egd_text_string(&text, reason);
  egd_source_report(&synthesis->source, EGD_SEVERITY_ERROR, value->line, value->column, buffer);
  synthesis->refused++;
}

static void bind(struct synthesis *synthesis, const struct egd_value *value, enum egd_use use) {
  for (; value; value = value->next) {
    const struct egd_binding binding = {use, value->parameter};
    const char *reason = NULL;
    if (!egd_module_available(value->module))
      reason = "no module implements it (`egida explain` lists those that exist)";
    else if (value->module->bind)
      reason = value->module->bind(&synthesis->plan, &binding);
    if (reason) refuse(synthesis, value, reason);
  }
}

static void bind_log(struct synthesis *synthesis, const struct egd_log *log, enum egd_use use) {
  if (!log) return;
  bind(synthesis, log->infos, use);
  bind(synthesis, log->how, use);
  bind(synthesis, log->where, use);
}

// A process has one log of determinants, in one order: read cannot go elsewhere than receive.
static void one_determinant_log(struct synthesis *synthesis, const struct egd_log *log) {
  const struct egd_log *first = synthesis->determinant_log;
  if (!log) return;
  if (!first) {
    synthesis->determinant_log = log;
    return;
  }
  static const char reason[] = "all determinants of a process go to one log; write the same as for the event above";
  if (log->how->module != first->how->module) refuse(synthesis, log->how, reason);
  if (log->where->module != first->where->module || log->where->parameter != first->where->parameter)
    refuse(synthesis, log->where, reason);
}

static void bind_statement(struct synthesis *synthesis, const struct egd_statement *s) {
  switch (s->kind) {
  case EGD_STATEMENT_NONDETERMINISTIC:
    bind(synthesis, s->event, EGD_USE_EVENT);
    bind(synthesis, s->structure, EGD_USE_EVENT);
    bind_log(synthesis, s->log, EGD_USE_DETERMINANT_LOG);
    one_determinant_log(synthesis, s->log);
    break;
  case EGD_STATEMENT_OUTPUT_COMMIT:
    bind(synthesis, s->protocol, EGD_USE_OUTPUT_COMMIT);
    bind(synthesis, s->events, EGD_USE_OUTPUT_COMMIT);
    break;
  case EGD_STATEMENT_DEPENDENCY:
    bind(synthesis, s->event, EGD_USE_DEPENDENCY);
    bind(synthesis, s->piggyback, EGD_USE_DEPENDENCY);
    bind_log(synthesis, s->log, EGD_USE_MESSAGE_LOG);
    break;
  case EGD_STATEMENT_CHECKPOINT:
    synthesis->plan.checkpoint_interval_ns = EGD_DEFAULT_CHECKPOINT_INTERVAL_NS;
    bind(synthesis, s->protocol, EGD_USE_CHECKPOINT);
    bind(synthesis, s->how, EGD_USE_CHECKPOINT);
    bind(synthesis, s->where, EGD_USE_CHECKPOINT);
    bind(synthesis, s->implementation, EGD_USE_CHECKPOINT);
    bind(synthesis, s->policy, EGD_USE_CHECKPOINT);
    break;
  case EGD_STATEMENT_COLLECTION:
  case EGD_STATEMENT_ORPHANS:
    bind(synthesis, s->protocol, EGD_USE_RECOVERY);
    break;
  case EGD_STATEMENT_ROLLBACK_LOG:
    bind_log(synthesis, s->log, EGD_USE_RECOVERY);
    break;
  case EGD_STATEMENT_ROLLBACK_CHECKPOINT:
    bind(synthesis, s->where, EGD_USE_RECOVERY);
    break;
  case EGD_STATEMENT_TRANSPORT_ONLY:
    break;
  }
}

static void set_name(struct egd_plan *plan, const char *display_name) {
  const char *slash = strrchr(display_name, '/');
  const char *name = slash ? slash + 1 : display_name;
  size_t length = strlen(name);
  if (length > 4 && strcmp(name + length - 4, ".egd") == 0) length -= 4;
  if (length > sizeof(plan->name) - 1) length = sizeof(plan->name) - 1;
  memcpy(plan->name, name, length);
}

int egd_plan_bind(const struct egd_spec *spec, const char *text, size_t length, struct egd_plan *ret_plan,
                  egd_report_fn report, void *context) {
  struct synthesis synthesis = {.source = {text, length, spec->name, report, context}};
  synthesis.plan.version = EGD_PLAN_VERSION;
  synthesis.plan.f = 1;
  for (const struct egd_statement *s = spec->first; s; s = s->next) bind_statement(&synthesis, s);
  uint32_t flags = synthesis.plan.flags;
  // What is sound may still need something that the runtime does not have without the others: images are where a replay begins.
  if (!synthesis.refused && (flags & EGD_PLAN_LOG_DETERMINANTS) && !(flags & EGD_PLAN_CHECKPOINT)) {
    egd_source_report(&synthesis.source, EGD_SEVERITY_ERROR, spec->first->line, spec->first->column,
                      "this build cannot run it without checkpoints, since a restart begins from an image; add "
                      "`Independent checkpoint asynchronously on NFS disk Implementation : full`");
    synthesis.refused++;
  }
  if (synthesis.refused) return EGD_ERR_UNSUPPORTED;
  set_name(&synthesis.plan, spec->name);
  synthesis.plan.spec_hash = XXH3_64bits(text, length);
  *ret_plan = synthesis.plan;
  return EGD_OK;
}

struct only_errors {
  egd_report_fn report;
  void *context;
};

static void report_only_errors(void *context, const struct egd_diagnostic *diagnostic) {
  const struct only_errors *only = context;
  if (only->report && diagnostic->severity == EGD_SEVERITY_ERROR) only->report(only->context, diagnostic);
}

int egd_plan_compile(const char *text, size_t length, const char *display_name, struct egd_plan *ret_plan,
                     egd_report_fn report, void *context) {
  struct egd_registry registry;
  struct egd_guarantees guarantees;
  struct egd_spec *spec;
  struct only_errors only = {report, context};
  egd_registry_init(&registry);
  int status = egd_spec_parse(text, length, display_name, &registry, report, context, &spec);
  if (status != EGD_OK) return status;
  status = egd_spec_check(spec, report_only_errors, &only, &guarantees);
  if (status == EGD_OK) status = egd_plan_bind(spec, text, length, ret_plan, report, context);
  egd_spec_destroy(spec);
  return status;
}

const char *egd_plan_describe(const struct egd_plan *plan, uint32_t nnodes, char *buffer, size_t size) {
  struct egd_text text = {buffer, size, 0};
  if (size > 0) buffer[0] = '\0';
  if (!(plan->flags & EGD_PLAN_LOG_DETERMINANTS)) {
    egd_text_string(&text, "transport only: any failure ends the job");
    return buffer;
  }
  egd_text_string(&text, "pessimistic logging, no survivor rolls back, survives any number of process failures");
  if (nnodes == 1 && plan->determinant_store == EGD_DETERMINANT_PROCESSES) {
    egd_text_string(&text, " (determinants in memory that outlives them)");
  } else if (plan->determinant_store == EGD_DETERMINANT_SHARED_DISK) {
    egd_text_string(&text, " and of node failures (determinants on the shared disk)");
  } else {
    egd_text_string(&text, " and ");
    egd_text_number(&text, plan->f);
    egd_text_string(&text, plan->f == 1 ? " node failure at a time" : " node failures at a time");
    egd_text_string(&text, " (determinants in the memory of ");
    egd_text_number(&text, plan->f);
    egd_text_string(&text, plan->f == 1 ? " other node)" : " other nodes)");
  }
  if (!(plan->flags & EGD_PLAN_CHECKPOINT)) return buffer;
  if (plan->checkpoint_interval_ns == 0) {
    egd_text_string(&text, ", images on request");
  } else {
    egd_text_string(&text, ", images every ");
    egd_text_duration(&text, plan->checkpoint_interval_ns);
  }
  return buffer;
}
