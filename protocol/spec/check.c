// The checker: what does a specification guarantee, and can a job that follows it recover at all?
//
// It reasons over the traits of values (protocol/registry.h), never over their names, so that the values of research modules are judged as well.
#include <string.h>
#include "common/status.h"
#include "protocol/spec/lexer.h"
#include "protocol/spec/spec.h"

struct check {
  const struct egd_spec *spec;
  struct egd_source source;
  unsigned errors;
  // The statement of each kind that counts; NULL if there is none.
  const struct egd_statement *receive, *input, *send, *checkpoint, *commit, *collection, *orphans, *rollback,
      *transport;
  // Where what is logged; NULL if nowhere.
  const struct egd_log *determinant_log, *sender_payload, *receiver_payload;
  bool piggybacks_determinants, piggybacks_dependencies, piggybacks_index;
};

static void refuse(struct check *check, uint32_t line, uint32_t column, const char *reason) {
  egd_source_report(&check->source, EGD_SEVERITY_ERROR, line, column, reason);
  check->errors++;
}

static void note(struct check *check, uint32_t line, uint32_t column, const char *text) {
  egd_source_report(&check->source, EGD_SEVERITY_NOTE, line, column, text);
}

static void refuse_value(struct check *check, const struct egd_value *value, const char *reason) {
  char buffer[512];
  struct egd_text text = {buffer, sizeof(buffer), 0};
  egd_text_string(&text, "'");
  egd_text_string(&text, value->module->name);
  egd_text_string(&text, "' ");
  egd_text_string(&text, reason);
  refuse(check, value->line, value->column, buffer);
}

static bool has(const struct egd_value *value, uint32_t traits) {
  return value && (value->module->traits & traits);
}

static const struct egd_value *find(const struct egd_value *list, uint32_t traits) {
  while (list && !has(list, traits)) list = list->next;
  return list;
}

// ---- which statement says what ----------------------------------------------------------------------------------------

static void take(struct check *check, const struct egd_statement **slot, const struct egd_statement *statement,
                 const char *what) {
  if (!*slot) {
    *slot = statement;
    return;
  }
  char buffer[256];
  struct egd_text text = {buffer, sizeof(buffer), 0};
  egd_text_string(&text, "a second statement on ");
  egd_text_string(&text, what);
  egd_text_string(&text, "; the first is on line ");
  egd_text_number(&text, (*slot)->line);
  egd_text_string(&text, ". Remove one of them");
  refuse(check, statement->line, statement->column, buffer);
}

static void note_repeated(struct check *check, const struct egd_value *list) {
  for (; list; list = list->next)
    for (const struct egd_value *later = list->next; later; later = later->next)
      if (later->module == list->module) {
        note(check, later->line, later->column, "written twice in this list");
        return;
      }
}

static void take_log(struct check *check, const struct egd_log *log, bool at_sender) {
  if (!log) return;
  note_repeated(check, log->infos);
  if (find(log->infos, EGD_TRAIT_DETERMINANT) && !at_sender) check->determinant_log = log;
  if (find(log->infos, EGD_TRAIT_PAYLOAD)) *(at_sender ? &check->sender_payload : &check->receiver_payload) = log;
}

// Several may stand there, for different events. The one for output counts.
static void take_commit(struct check *check, const struct egd_statement *s) {
  note_repeated(check, s->events);
  for (const struct egd_statement *other = check->spec->first; other != s; other = other->next) {
    if (other->kind != EGD_STATEMENT_OUTPUT_COMMIT) continue;
    for (const struct egd_value *event = s->events; event; event = event->next)
      for (const struct egd_value *earlier = other->events; earlier; earlier = earlier->next)
        if (earlier->module == event->module) {
          take(check, &other, s, "output commit on this event");
          return;
        }
  }
  if (!check->commit || find(s->events, EGD_TRAIT_OUTPUT)) check->commit = s;
}

static void take_statement(struct check *check, const struct egd_statement *s) {
  switch (s->kind) {
  case EGD_STATEMENT_NONDETERMINISTIC:
    if (!has(s->event, EGD_TRAIT_NONDETERMINISTIC)) {
      refuse_value(
          check, s->event,
          "is not a non-deterministic event: it follows from the state of the process, so it has no determinant");
      return;
    }
    if (!has(s->event, EGD_TRAIT_RECEIPT)) {
      take(check, &check->input, s, "the determinants of read");
      if (!s->log || !find(s->log->infos, EGD_TRAIT_DETERMINANT))
        refuse_value(check, s->event,
                     "has a determinant that is not logged: a restarted process could read something else");
      return;
    }
    take(check, &check->receive, s, "the determinants of receive");
    take_log(check, s->log, false);
    return;
  case EGD_STATEMENT_OUTPUT_COMMIT:
    take_commit(check, s);
    for (const struct egd_value *event = s->events; event; event = event->next)
      if (!has(event, EGD_TRAIT_OUTPUT | EGD_TRAIT_DEPENDENCY))
        refuse_value(check, event,
                     "is not output: only an event that the outside world can see may be committed (write)");
    return;
  case EGD_STATEMENT_DEPENDENCY:
    if (has(s->event, EGD_TRAIT_RECEIPT)) {
      refuse_value(check, s->event,
                   "makes no other process depend on this one; to log at the receiver, begin with `receive: "
                   "determinant : {source, ssn, dest, dsn}`");
      return;
    }
    if (!has(s->event, EGD_TRAIT_DEPENDENCY)) {
      refuse_value(check, s->event, "makes no other process depend on this one; expected 'send'");
      return;
    }
    take(check, &check->send, s, "send");
    take_log(check, s->log, true);
    note_repeated(check, s->piggyback);
    check->piggybacks_determinants |= find(s->piggyback, EGD_TRAIT_DETERMINANT) != NULL;
    check->piggybacks_dependencies |= find(s->piggyback, EGD_TRAIT_DEPENDENCIES) != NULL;
    check->piggybacks_index |= find(s->piggyback, EGD_TRAIT_CHECKPOINT_INDEX) != NULL;
    return;
  case EGD_STATEMENT_CHECKPOINT:
    take(check, &check->checkpoint, s, "checkpoints");
    return;
  case EGD_STATEMENT_COLLECTION:
    take(check, &check->collection, s, "the retrieval of determinants");
    return;
  case EGD_STATEMENT_ORPHANS:
    take(check, &check->orphans, s, "the detection of orphans");
    return;
  case EGD_STATEMENT_ROLLBACK_LOG:
  case EGD_STATEMENT_ROLLBACK_CHECKPOINT:
    take(check, &check->rollback, s, "rollback");
    return;
  case EGD_STATEMENT_TRANSPORT_ONLY:
    take(check, &check->transport, s, "transport");
    return;
  }
}

// ---- refusals ---------------------------------------------------------------------------------------------------------

static const char schedule_domino[] =
    "receipts are not logged and checkpoints are not coordinated: after a failure there may be no consistent set of "
    "checkpoints but the start (the domino effect)\n"
    "  1. P takes a checkpoint, then sends m1 to Q\n"
    "  2. Q receives m1, takes a checkpoint, then sends m2 to P\n"
    "  3. P receives m2, takes a checkpoint; P fails and repeats what preceded m2 in another order\n"
    "  4. Q's checkpoint holds m1, which the new P never sent: Q rolls back behind m1, so P behind m2, and so on\n"
    "  Either log receipts (receive: determinant : {source, ssn, dest, dsn} Log determinant synchronously on …), or "
    "write a co-ordinated checkpoint";

static const char schedule_nothing[] =
    "nothing is logged and no checkpoint is taken: no process can be restarted\n"
    "  1. P receives m1 from Q and m2 from R\n"
    "  2. P fails\n"
    "  3. m1 and m2 exist nowhere any more; neither does their order\n"
    "  Write what to log and when to checkpoint, or `Transport only` for a job without protection";

static const char schedule_orphan[] =
    "determinants are logged asynchronously, they do not ride on messages, and nothing detects orphans\n"
    "  1. P receives m1 from Q before m2 from R; the determinants are not yet stable\n"
    "  2. P sends m3, which depends on that order, to Q\n"
    "  3. P fails, restarts, and receives m2 before m1: it never sends m3\n"
    "  4. Q has received m3 and is an orphan; no statement makes it roll back\n"
    "  Either log synchronously, or piggyback determinants, or write `Protocol to detect orphans : …`";

static const char schedule_untracked[] =
    "orphans are to be detected, but messages carry nothing that tells on which states they depend\n"
    "  1. P receives m1; its determinant is not yet stable\n"
    "  2. P sends m2 to Q\n"
    "  3. P fails and loses the receipt of m1\n"
    "  4. Q is told so, but cannot know whether m2 was sent before or after\n"
    "  Write `send: Piggyback vector clock` or `logical clock`";

static const char schedule_payload[] = "the order of messages is logged, but not their contents\n"
                                       "  1. Q sends m1 to P; P receives it, its determinant becomes stable\n"
                                       "  2. P fails and restarts from its checkpoint\n"
                                       "  3. its log says that m1 comes next; Q sent it long ago and has no copy\n"
                                       "  Write `send: Log message synchronously on volatile memory of self`";

static const char schedule_lost_with_sender[] =
    "the contents of messages are logged asynchronously in memory that is lost with the sender\n"
    "  1. Q sends m1 to P; m1 is not yet in Q's log\n"
    "  2. P fails; its log says that m1 comes next\n"
    "  3. Q has nothing to send again, and is not restarted, so never makes m1 again\n"
    "  Log messages synchronously";

static const char schedule_late_payload[] =
    "determinants ride on messages, but the contents of messages are logged by their receiver only, asynchronously\n"
    "  1. Q sends m1 to P; P receives it; m1 is not yet on stable storage\n"
    "  2. P sends m2 with the determinant of m1 to R\n"
    "  3. P fails; R knows that m1 came first, but m1 itself exists nowhere\n"
    "  4. P cannot reach the state in which it sent m2: R is an orphan\n"
    "  Write `send: Log message synchronously on volatile memory of self`";

static const char schedule_output[] =
    "orphans are possible, and output does not wait for the processes on which it depends\n"
    "  1. P receives m1; its determinant is not yet stable; P sends m2 to Q\n"
    "  2. Q receives m2 and writes output\n"
    "  3. P fails and loses the receipt of m1: Q is an orphan and rolls back\n"
    "  4. the output of a state that never existed cannot be taken back\n"
    "  Write `Co-ordinated output commit on write`";

static const char schedule_induced[] =
    "checkpoints are to be induced by communication, but messages carry no checkpoint counter\n"
    "  1. P takes its checkpoint 2, then sends m to Q\n"
    "  2. Q, at checkpoint 1, cannot see that m comes from behind checkpoint 2, receives it and takes checkpoint 2\n"
    "  3. P fails and returns to checkpoint 2; Q's checkpoint 2 holds m, which was never sent\n"
    "  Write `send: Piggyback checkpoint counter`";

static bool synchronous(const struct egd_log *log) {
  return log && has(log->how, EGD_TRAIT_SYNCHRONOUS);
}

static void place_of(const struct check *check, const struct egd_statement *first, uint32_t *line, uint32_t *column) {
  const struct egd_statement *s = first ? first : check->spec->first;
  *line = s ? s->line : 1;
  *column = s ? s->column : 1;
}

static enum egd_family classify(struct check *check) {
  bool coordinated = check->checkpoint && has(check->checkpoint->protocol, EGD_TRAIT_COORDINATED);
  bool induced = check->checkpoint && has(check->checkpoint->protocol, EGD_TRAIT_INDUCED);
  uint32_t line, column;
  // A determinant that rides on messages is stored by its receivers, so it need not be logged by the process itself.
  if (check->receive && check->piggybacks_determinants && !synchronous(check->determinant_log))
    return EGD_FAMILY_CAUSAL;
  if (!check->determinant_log) {
    if (coordinated) return EGD_FAMILY_COORDINATED;
    if (induced) {
      if (!check->piggybacks_index) refuse(check, check->checkpoint->line, check->checkpoint->column, schedule_induced);
      return EGD_FAMILY_INDUCED;
    }
    place_of(check, check->receive ? check->receive : check->checkpoint, &line, &column);
    refuse(check, line, column,
           check->checkpoint || check->send || check->receive ? schedule_domino : schedule_nothing);
    return EGD_FAMILY_NONE;
  }
  if (synchronous(check->determinant_log)) {
    if (check->input && !synchronous(check->input->log))
      refuse_value(check, check->input->log->how,
                   "would let others depend on input that can be lost; log `read` synchronously, as `receive`");
    return EGD_FAMILY_PESSIMISTIC;
  }
  if (!check->orphans)
    refuse(check, check->determinant_log->how->line, check->determinant_log->how->column, schedule_orphan);
  else if (!check->piggybacks_dependencies)
    refuse(check, check->orphans->line, check->orphans->column, schedule_untracked);
  else if (!check->commit || !has(check->commit->protocol, EGD_TRAIT_COORDINATED)) {
    place_of(check, check->commit ? check->commit : check->orphans, &line, &column);
    refuse(check, line, column, schedule_output);
  }
  return EGD_FAMILY_OPTIMISTIC;
}

// A log that its receiver writes later than it goes on may lack the very message whose receipt others can repeat.
static void require_payload(struct check *check, enum egd_family family) {
  const struct egd_log *sender = check->sender_payload, *receiver = check->receiver_payload;
  if (!sender && !receiver) {
    refuse(check, check->receive->line, check->receive->column, schedule_payload);
  } else if (synchronous(receiver) || synchronous(sender)) {
    return;
  } else if (sender && !has(sender->where, EGD_TRAIT_OUTLIVES_NODES)) {
    refuse(check, sender->how->line, sender->how->column, schedule_lost_with_sender);
  } else if (!sender && family == EGD_FAMILY_CAUSAL) {
    refuse(check, receiver->how->line, receiver->how->column, schedule_late_payload);
  }
}

// ---- guarantees -------------------------------------------------------------------------------------------------------

static uint32_t nodes_outlived(const struct egd_value *storage) {
  if (has(storage, EGD_TRAIT_OUTLIVES_JOB)) return EGD_ANY_NUMBER;
  if (has(storage, EGD_TRAIT_OUTLIVES_NODES))
    return storage->parameter > UINT32_MAX ? UINT32_MAX : (uint32_t)storage->parameter;
  return 0;
}

static uint32_t smaller(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

static void describe_family(const struct check *check, struct egd_guarantees *g) {
  static const struct {
    const char *summary, *who_rolls_back, *output_commit, *garbage_collection, *domino;
  } texts[] = {
      [EGD_FAMILY_NONE] = {"transport only: no protection", "nobody: any failure ends the job",
                           "none: output leaves at once", "nothing is logged", "no checkpoints"},
      [EGD_FAMILY_PESSIMISTIC] =
          {"pessimistic message logging: processes communicate from recoverable states only",
           "only the processes that failed",
           "the process's own determinants become stable first; no other process takes part",
           "a message goes when the oldest retained image of its receiver holds it, a determinant "
           "when that of its process does",
           "none: each process restarts from its own last image"},
      [EGD_FAMILY_CAUSAL] =
          {"causal message logging: who depends on a state can reproduce it", "only the processes that failed",
           "the process writes the determinants of its causal past to stable storage; no other process takes part",
           "after checkpoints; determinants when they are stable",
           "none: each process restarts from its own last image"},
      [EGD_FAMILY_OPTIMISTIC] = {"optimistic message logging: states become recoverable later",
                                 "the processes that failed and all that depend on what they lost",
                                 "a round of messages to all processes on which the output depends",
                                 "behind the recoverable states of all processes",
                                 "none: logged receipts bound every rollback"},
      [EGD_FAMILY_COORDINATED] = {"co-ordinated checkpoints, no logging", "all processes",
                                  "a checkpoint of all processes per output", "all but the last complete checkpoint",
                                  "none: the checkpoints form a consistent cut"},
      [EGD_FAMILY_INDUCED] = {"communication-induced checkpoints, no logging",
                              "all processes, to the newest recovery line",
                              "a checkpoint of the processes on which the output depends",
                              "checkpoints behind the recovery line", "none: forced checkpoints prevent it"},
  };
  g->summary = texts[g->family].summary;
  g->who_rolls_back = texts[g->family].who_rolls_back;
  g->output_commit = texts[g->family].output_commit;
  g->garbage_collection = check->checkpoint || g->family == EGD_FAMILY_NONE
                              ? texts[g->family].garbage_collection
                              : "never: without checkpoints all logs are kept until the job ends";
  g->domino = texts[g->family].domino;
  g->orphan_free = g->family == EGD_FAMILY_PESSIMISTIC || g->family == EGD_FAMILY_CAUSAL;
}

static void count_failures(const struct check *check, struct egd_guarantees *g) {
  if (g->family == EGD_FAMILY_NONE) return;
  g->process_failures = EGD_ANY_NUMBER;
  uint32_t nodes = check->checkpoint ? nodes_outlived(check->checkpoint->where) : EGD_ANY_NUMBER;
  if (g->family == EGD_FAMILY_PESSIMISTIC || (g->family == EGD_FAMILY_OPTIMISTIC && check->determinant_log))
    nodes = smaller(nodes, nodes_outlived(check->determinant_log->where));
  if (g->family == EGD_FAMILY_PESSIMISTIC && check->input)
    nodes = smaller(nodes, nodes_outlived(check->input->log->where));
  // Copies ride with the messages; how many there are depends on who communicates.
  if (g->family == EGD_FAMILY_CAUSAL)
    nodes = smaller(nodes, check->determinant_log ? nodes_outlived(check->determinant_log->where) : 1);
  if (g->family == EGD_FAMILY_CAUSAL && nodes > 1) nodes = 1;
  // A sender's own memory is no limit: the restarted sender makes its messages again. A receiver's log is needed itself.
  if (!synchronous(check->sender_payload) && check->receiver_payload)
    nodes = smaller(nodes, nodes_outlived(check->receiver_payload->where));
  g->node_failures = nodes;
  g->whole_job = nodes == EGD_ANY_NUMBER;
}

static void note_idle(struct check *check, const struct egd_guarantees *g) {
  if (!g->orphan_free) return;
  if (check->orphans)
    note(check, check->orphans->line, check->orphans->column, "no orphans can arise here: this protocol is never used");
  if (check->rollback)
    note(check, check->rollback->line, check->rollback->column, "no survivor ever rolls back here: this is never done");
  if (g->family == EGD_FAMILY_PESSIMISTIC && check->commit && has(check->commit->protocol, EGD_TRAIT_COORDINATED))
    note(check, check->commit->line, check->commit->column,
         "other processes never hold back a pessimistic output: 'independent' would do");
  if (!check->checkpoint)
    note(
        check, check->receive->line, check->receive->column,
        "there is no checkpoint statement: a restart repeats everything since the start, and logs are never shortened");
}

int egd_spec_check(const struct egd_spec *spec, egd_report_fn report, void *context,
                   struct egd_guarantees *ret_guarantees) {
  struct check check = {.spec = spec, .source = {.name = spec->name, .report = report, .context = context}};
  struct egd_guarantees guarantees = {0};
  if (!spec->first) {
    refuse(&check, 1, 1, "the specification is empty; write `Transport only` if the job is to run without protection");
    return EGD_ERR_INVALID;
  }
  for (const struct egd_statement *s = spec->first; s; s = s->next) take_statement(&check, s);
  if (check.transport && spec->first->next)
    for (const struct egd_statement *s = spec->first; s; s = s->next)
      if (s->kind != EGD_STATEMENT_TRANSPORT_ONLY) {
        refuse(&check, s->line, s->column, "`Transport only` allows no other statement; remove one of the two");
        break;
      }
  if (check.errors) return EGD_ERR_INVALID;
  if (!check.transport) {
    guarantees.family = classify(&check);
    bool logs = guarantees.family == EGD_FAMILY_PESSIMISTIC || guarantees.family == EGD_FAMILY_CAUSAL ||
                guarantees.family == EGD_FAMILY_OPTIMISTIC;
    if (logs) require_payload(&check, guarantees.family);
  }
  if (check.errors) return EGD_ERR_INVALID;
  describe_family(&check, &guarantees);
  count_failures(&check, &guarantees);
  note_idle(&check, &guarantees);
  if (check.checkpoint) {
    guarantees.has_checkpoint = true;
    const struct egd_value *policy = check.checkpoint->policy;
    guarantees.checkpoint_interval_ns = policy ? policy->parameter : EGD_DEFAULT_CHECKPOINT_INTERVAL_NS;
    guarantees.periodic_checkpoint = guarantees.checkpoint_interval_ns > 0;
  }
  *ret_guarantees = guarantees;
  return EGD_OK;
}
