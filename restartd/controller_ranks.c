// Ranks: what is reported of them, and what is decided when they die.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "common/log.h"
#include "common/size.h"
#include "common/status.h"
#include "restartd/controller_private.h"

static bool is_crash(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGABRT || signal == SIGFPE || signal == SIGILL ||
         signal == SIGSYS || signal == SIGTRAP;
}

// ---- end of a rank ------------------------------------------------------------------------------------------------------

void egd_controller_complete_if_done(struct egd_controller *c) {
  uint32_t finished = 0, initialised = 0, unborn = 0;
  for (uint32_t r = 0; r < c->nranks; r++) {
    bool mpi = c->ranks[r].notes & EGD_NOTE_MPI_INITIALIZED;
    finished += c->ranks[r].phase == RANK_FINISHED;
    initialised += mpi;
    unborn += c->ranks[r].phase == RANK_FINISHED && !mpi;
  }
  if (unborn > 0 && initialised > 0) {
    egd_controller_finish(c, EGD_STORE_FAILED, 1,
                          "%u of %u ranks ended without MPI_Init while others called it; all ranks must, or none",
                          unborn, c->nranks);
  } else if (finished == c->nranks && initialised == 0) {
    egd_controller_finish(c, EGD_STORE_FAILED, 1,
                          "%s never called MPI_Init: it is not an MPI program, or it ended before; Egida protects MPI "
                          "programs (run others without it)",
                          c->options.program);
  } else if (finished == c->nranks) {
    egd_controller_finish(c, EGD_STORE_COMPLETED, 0, "%s", "");
  }
}

static void exited(struct egd_controller *c, struct rank *rank, int code) {
  if (code == 0) {
    rank->phase = RANK_FINISHED;
    egd_controller_complete_if_done(c);
  } else if (code == EGD_EXIT_JOB_VERDICT && (rank->notes & EGD_NOTE_VERDICT)) {
    egd_controller_finish(c, EGD_STORE_VERDICT, code, "rank %u cannot go on (its message is above); the job ends",
                          rank->number);
  } else {
    egd_controller_finish(c, EGD_STORE_FAILED, code, "rank %u exited with status %d; the job ends", rank->number, code);
  }
}

static bool repeats(struct rank *rank, int signal, json_t *message) {
  json_int_t determinants = json_integer_value(json_object_get(message, "determinants"));
  json_int_t polls = json_integer_value(json_object_get(message, "polls"));
  json_int_t sends = json_integer_value(json_object_get(message, "sends"));
  bool same = is_crash(signal) && rank->crash.signal == signal && rank->crash.determinants == determinants &&
              rank->crash.polls == polls && rank->crash.sends == sends;
  rank->crash.signal = is_crash(signal) ? signal : 0;
  rank->crash.determinants = determinants;
  rank->crash.polls = polls;
  rank->crash.sends = sends;
  return same;
}

static int64_t record_failure(struct egd_controller *c, const struct rank *rank, int signal, const char *cause) {
  struct egd_store_failure failure = {.job = c->options.job_id,
                                      .rank = (int)rank->number,
                                      .node = (int)rank->home,
                                      .incarnation = rank->incarnation,
                                      .signal = signal,
                                      .exit_code = -1,
                                      .cause = cause};
  char text[200];
  snprintf(text, sizeof(text), "rank %u ended by signal %d (%s)", rank->number, signal,
           cause ? cause : strsignal(signal));
  egd_store_event(c->store, c->options.job_id, "failed", (int)rank->number, (int)rank->home, text, NULL);
  return egd_store_failure(c->store, &failure);
}

static bool may_restart(struct egd_controller *c, struct rank *rank) {
  if (++rank->restarts <= c->options.max_restarts) return true;
  egd_controller_finish(c, EGD_STORE_VERDICT, EGD_EXIT_JOB_VERDICT,
                        "rank %u died %u times; --max-restarts=%u is reached, the job ends", rank->number,
                        rank->restarts, c->options.max_restarts);
  return false;
}

static void begin_recovery(struct egd_controller *c, struct rank *rank, int64_t failure) {
  rank->incarnation++;
  rank->pid = 0;
  rank->recovering = true;
  rank->announced = false;
  rank->failure = failure;
  rank->from_node = rank->home;
  memset(&rank->times, 0, sizeof(rank->times));
  egd_recovery_mark(&rank->times, EGD_RECOVERY_DETECTED, 0);
}

static void killed(struct egd_controller *c, struct rank *rank, int signal, json_t *message) {
  char cause[96];
  snprintf(cause, sizeof(cause), "killed by signal %d (%s)", signal, strsignal(signal));
  int64_t failure = record_failure(c, rank, signal, cause);
  if (!egd_controller_protects(c)) {
    egd_controller_finish(c, EGD_STORE_FAILED, 128 + signal, "rank %u %s; this protocol does not recover, the job ends",
                          rank->number, cause);
    return;
  }
  if (repeats(rank, signal, message)) {
    egd_controller_finish(c, EGD_STORE_VERDICT, EGD_EXIT_JOB_VERDICT,
                          "rank %u %s twice at the same place: the crash is deterministic, a restart cannot help",
                          rank->number, cause);
    return;
  }
  if (!may_restart(c, rank)) return;
  if (!c->started) {
    egd_log("rank %u %s during start-up; all ranks start anew", rank->number, cause);
    egd_controller_begin_anew(c);
    return;
  }
  egd_log("rank %u %s", rank->number, cause);
  begin_recovery(c, rank, failure);
  rank->phase = RANK_TO_RESTART;
  egd_controller_advance(c);
}

static void on_died(struct egd_controller *c, struct rank *rank, json_t *message) {
  int status = (int)json_integer_value(json_object_get(message, "status"));
  if (rank->phase != RANK_UP) return; // said before
  rank->notes |= (uint32_t)json_integer_value(json_object_get(message, "notes"));
  if (json_is_true(json_object_get(message, "fault_done"))) egd_injections_fired(c, rank);
  egd_store_rank_end(c->store, c->options.job_id, (int)rank->number, c->birth, rank->incarnation, status, 0);
  if (c->anew) return; // all ranks are being killed
  if (WIFEXITED(status))
    exited(c, rank, WEXITSTATUS(status));
  else
    killed(c, rank, WTERMSIG(status), message);
}

void egd_controller_rank_lost(struct egd_controller *c, struct rank *rank, uint32_t new_home, int64_t failure) {
  uint32_t before = rank->home;
  egd_store_rank_end(c->store, c->options.job_id, (int)rank->number, c->birth, rank->incarnation, SIGKILL, 0);
  if (!may_restart(c, rank)) return;
  begin_recovery(c, rank, failure);
  rank->from_node = before;
  rank->home = new_home;
  rank->phase = RANK_TO_ADOPT;
}

// ---- news ---------------------------------------------------------------------------------------------------------------

static void on_started(struct egd_controller *c, struct node *node, struct rank *rank, json_t *message) {
  json_int_t image = json_integer_value(json_object_get(message, "image"));
  rank->pid = (int)json_integer_value(json_object_get(message, "pid"));
  egd_pmi_rank_started(c, rank, image);
  egd_recovery_mark(&rank->times, EGD_RECOVERY_RESPAWNED, 0);
  egd_store_rank_start(c->store, c->options.job_id, (int)rank->number, c->birth, rank->incarnation, (int)node->number,
                       rank->pid, image < 0 ? EGD_STORE_NO_IMAGE : (uint32_t)image, 0);
  egd_verbose("rank %u: process %d on node %u%s", rank->number, rank->pid, node->number,
              image < 0 ? "" : ", from its image");
  if (image >= 0) rank->image = (uint32_t)image;
}

static void record_recovery(struct egd_controller *c, struct rank *rank) {
  struct egd_store_recovery recovery = {.job = c->options.job_id,
                                        .failure = rank->failure,
                                        .rank = (int)rank->number,
                                        .birth = c->birth,
                                        .incarnation = rank->incarnation,
                                        .from_node = (int)rank->from_node,
                                        .node = (int)rank->home,
                                        .image = rank->image,
                                        .determinants = (uint64_t)rank->replay_bytes,
                                        .times = rank->times};
  egd_store_recovery(c->store, &recovery);
}

void egd_controller_look_safe(struct egd_controller *c) {
  for (uint32_t n = 0; n < c->nnodes; n++)
    if (c->nodes[n].alive && c->nodes[n].safe_epoch < c->epoch) return;
  for (uint32_t r = 0; r < c->nranks; r++) {
    struct rank *rank = &c->ranks[r];
    if (!rank->announced || !rank->times.at_ns[EGD_RECOVERY_FENCED] || rank->times.at_ns[EGD_RECOVERY_REREPLICATED])
      continue;
    egd_recovery_mark(&rank->times, EGD_RECOVERY_REREPLICATED, 0);
    record_recovery(c, rank);
  }
}

static void look_at_recovery(struct egd_controller *c, struct rank *rank, json_t *message) {
  uint64_t restored_ns = (uint64_t)json_integer_value(json_object_get(message, "restored_ns"));
  uint64_t replayed_ns = (uint64_t)json_integer_value(json_object_get(message, "replayed_ns"));
  if (!rank->recovering || restored_ns == 0) return;
  if (rank->times.at_ns[EGD_RECOVERY_RESTORED] == 0)
    rank->replay_bytes = json_integer_value(json_object_get(message, "replay_bytes"));
  egd_recovery_mark(&rank->times, EGD_RECOVERY_RESTORED, restored_ns);
  if (replayed_ns == 0 || rank->announced) return;
  egd_recovery_mark(&rank->times, EGD_RECOVERY_REPLAYED, replayed_ns);
  rank->announced = true;
  rank->recovering = false;
  char bytes[EGD_SIZE_TEXT], text[320], where[112] = "";
  if (rank->home != rank->from_node) snprintf(where, sizeof(where), " on %s", egd_controller_node_name(c, rank->home));
  snprintf(text, sizeof(text), "rank %u recovered%s in %.2f s (image %u, %s of determinants replayed)", rank->number,
           where, (double)egd_recovery_total(&rank->times) / 1e9, rank->image,
           egd_size_format((uint64_t)rank->replay_bytes, bytes));
  egd_log("%s", text);
  record_recovery(c, rank);
  egd_controller_look_safe(c);
  egd_store_event(c->store, c->options.job_id, "recovered", (int)rank->number, (int)rank->home, text, NULL);
}

static void on_news(struct egd_controller *c, struct rank *rank, json_t *message) {
  uint32_t image = (uint32_t)json_integer_value(json_object_get(message, "image"));
  rank->notes |= (uint32_t)json_integer_value(json_object_get(message, "notes"));
  look_at_recovery(c, rank, message);
  if (image > 0 && (image > rank->image || !rank->durable_seen)) {
    rank->image = image;
    rank->durable_seen = true;
    egd_store_checkpoint(c->store, c->options.job_id, (int)rank->number, image,
                         (uint64_t)json_integer_value(json_object_get(message, "image_bytes")),
                         (uint64_t)json_integer_value(json_object_get(message, "image_stall_ns")),
                         (uint64_t)json_integer_value(json_object_get(message, "image_write_ns")), true, 0);
    egd_controller_answer_requests(c);
  }
  if ((!c->started && !c->anew) || c->resuming) egd_controller_advance(c);
}

static void on_watchdog(struct egd_controller *c, struct node *node, struct rank *rank, json_t *message) {
  // A new agent's predecessor may have died with a command for this rank in its hands.
  bool idle = json_integer_value(json_object_get(message, "child")) == 0;
  json_int_t incarnation = json_integer_value(json_object_get(message, "incarnation"));
  if (idle && rank->phase == RANK_UP && rank->incarnation > 0 && incarnation < rank->incarnation &&
      node->incarnation > 0)
    egd_controller_send(c, rank->home,
                        json_pack("{ss si si sb}", "op", "run", "rank", rank->number, "incarnation", rank->incarnation,
                                  "restore", true));
}

static void on_adopted(struct egd_controller *c, struct rank *rank, json_t *message) {
  const char *why = json_string_value(json_object_get(message, "why"));
  if (json_is_true(json_object_get(message, "ok"))) return;
  egd_controller_finish(c, EGD_STORE_VERDICT, EGD_EXIT_JOB_VERDICT,
                        "rank %u cannot be recovered on another node: %s (more nodes failed at once than f = %u of the "
                        "specification tolerates)",
                        rank->number, why && *why ? why : "its determinants are lost", c->options.plan.f);
}

void egd_controller_rank_message(struct egd_controller *c, struct node *node, const char *op, json_t *message) {
  json_t *number = json_object_get(message, "rank");
  if (!json_is_integer(number) || json_integer_value(number) < 0 || json_integer_value(number) >= c->nranks) return;
  struct rank *rank = &c->ranks[json_integer_value(number)];
  if (rank->home != node->number || c->ending) return;
  if (strcmp(op, "log") == 0) {
    egd_store_log(c->store, c->options.job_id, (int)rank->number,
                  (uint64_t)json_integer_value(json_object_get(message, "bytes")),
                  (uint64_t)json_integer_value(json_object_get(message, "spilled")),
                  (uint64_t)json_integer_value(json_object_get(message, "peak")), 0);
    return;
  }
  if (strcmp(op, "adopted") == 0) {
    on_adopted(c, rank, message);
    return;
  }
  if (strcmp(op, "watchdog") == 0) {
    on_watchdog(c, node, rank, message);
    return;
  }
  if (json_integer_value(json_object_get(message, "incarnation")) != rank->incarnation || c->anew) return;
  if (strcmp(op, "started") == 0) {
    on_started(c, node, rank, message);
  } else if (strcmp(op, "died") == 0) {
    on_died(c, rank, message);
  } else if (strcmp(op, "rank") == 0) {
    on_news(c, rank, message);
  } else if (strcmp(op, "pmi") == 0) {
    egd_pmi_message(c, node, rank, message);
  } else if (strcmp(op, "unrestorable") == 0) {
    const char *why = json_string_value(json_object_get(message, "why"));
    egd_controller_finish(c, EGD_STORE_VERDICT, EGD_EXIT_JOB_VERDICT, "rank %u cannot be started: %s", rank->number,
                          why ? why : "no reason was given");
  }
}
