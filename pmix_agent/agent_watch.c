// What the agent sees in the control blocks and output rings of its ranks.
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "common/log.h"
#include "pmix_agent/agent.h"
#include "pmix_agent/control.h"

#define OUTPUT_PIECE (256u << 10)
#define IGNORED_FOR_NS 300000000ull // then a rank that computes is interrupted for its image
#define LOG_REPORT_NS 1000000000ull

static void wake(_Atomic uint32_t *word) {
  syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

// ---- output ---------------------------------------------------------------------------------------------------------

// Whole records in [from, to), at most OUTPUT_PIECE bytes but at least one.
static uint64_t whole_records(const unsigned char *ring, uint64_t from, uint64_t to) {
  uint64_t end = from;
  while (end < to) {
    struct egd_output_record record;
    memcpy(&record, ring + end % EGD_OUTPUT_RING, sizeof(record)); // records are 8-aligned: a header never wraps
    uint64_t size = (sizeof(record) + (uint64_t)record.length + 7) & ~7ull;
    if (size > to - end) return end == from ? to : end;
    if (end != from && end + size - from > OUTPUT_PIECE) return end;
    end += size;
  }
  return end;
}

static void send_output(struct agent *agent, struct agent_rank *rank, uint64_t from, uint64_t to) {
  static unsigned char piece[EGD_CONTROL_MAX_BODY];
  const unsigned char *ring = egd_at(agent->seg, egd_slice(agent->seg, rank->rank) + EGD_SLICE_OUTPUT);
  struct egd_control_head head = {.kind = EGD_CONTROL_OUTPUT, .rank = rank->rank, .value = from};
  size_t length = (size_t)(to - from), at = (size_t)(from % EGD_OUTPUT_RING);
  size_t first = at + length > EGD_OUTPUT_RING ? EGD_OUTPUT_RING - at : length;
  memcpy(piece, ring + at, first);
  memcpy(piece + first, ring, length - first);
  egd_link_send_binary(agent->launcher, &head, sizeof(head), piece, length);
}

static bool may_forward(const struct agent *agent) {
  return agent->launcher && (atomic_load(&agent->seg->started) || agent->flushing);
}

static void forward_output(struct agent *agent, struct agent_rank *rank) {
  struct egd_rank_cb *cb = egd_cb(agent->seg, rank->rank);
  if (rank->settling || !may_forward(agent)) return;
  const unsigned char *ring = egd_at(agent->seg, egd_slice(agent->seg, rank->rank) + EGD_SLICE_OUTPUT);
  uint64_t taken = atomic_load(&cb->output_taken);
  if (rank->offered < taken) rank->offered = taken;
  for (;;) {
    if (rank->offered == taken) {
      uint64_t head = atomic_load_explicit(&cb->output_head, memory_order_acquire);
      if (head == taken) return;
      rank->offered = head;
      rank->offered_cut = egd_mover_cut(agent->mover);
    }
    // At the end of the job nothing rolls back any more: what was printed stays printed.
    if (!agent->flushing && egd_mover_stable(agent->mover) < rank->offered_cut) return;
    if (!agent->flushing && egd_link_queued(agent->launcher) > AGENT_OUTPUT_IN_FLIGHT) return;
    uint64_t end = whole_records(ring, taken, rank->offered);
    if (end - taken > EGD_CONTROL_MAX_BODY - 64) return;
    send_output(agent, rank, taken, end);
    taken = end;
    atomic_store(&cb->output_taken, taken);
  }
}

void agent_acknowledged(struct agent *agent, uint32_t r, uint64_t position) {
  struct egd_rank_cb *cb = egd_cb(agent->seg, r);
  uint64_t taken = atomic_load(&cb->output_taken);
  if (!agent->ranks[r].here || agent->ranks[r].settling) return;
  if (position > taken) position = taken; // written before by an incarnation on another node
  if (position > atomic_load(&cb->output_acked)) atomic_store(&cb->output_acked, position);
  if (atomic_exchange(&cb->output_waiting, 0)) wake(&cb->output_waiting);
}

static bool drained(const struct agent *agent, const struct agent_rank *rank) {
  const struct egd_rank_cb *cb = egd_cb(agent->seg, rank->rank);
  return rank->settling || atomic_load(&cb->output_taken) == atomic_load(&cb->output_head);
}

bool agent_is_drained(const struct agent *agent) {
  for (uint32_t r = 0; r < agent->seg->nranks; r++)
    if (agent->ranks[r].here && !drained(agent, &agent->ranks[r])) return false;
  return true;
}

// ---- the end of a rank --------------------------------------------------------------------------------------------------

// A crash is reported at once. An exit is an output: it leaves after all others, when what led to it is stable.
static void release_death(struct agent *agent, struct agent_rank *rank) {
  if (!rank->death) return;
  int status = (int)json_integer_value(json_object_get(rank->death, "status"));
  bool crash = (status & 0x7f) != 0;
  if (!crash && atomic_load(&agent->seg->started) && !agent->flushing &&
      (!drained(agent, rank) || egd_mover_stable(agent->mover) < rank->death_cut))
    return;
  json_object_set_new(rank->death, "node", json_integer(agent->node));
  agent_report(agent, rank->death);
  rank->death = NULL;
}

void agent_hold_death(struct agent *agent, uint32_t r, json_t *message) {
  struct agent_rank *rank = &agent->ranks[r];
  json_decref(rank->death);
  rank->death = json_incref(message);
  rank->settling = false;
  rank->death_cut = egd_mover_cut(agent->mover);
  agent_look(agent);
}

// ---- control block --------------------------------------------------------------------------------------------------------

static void report_news(struct agent *agent, struct agent_rank *rank) {
  struct egd_rank_cb *cb = egd_cb(agent->seg, rank->rank);
  uint32_t state = atomic_load(&cb->state), notes = atomic_load(&cb->notes), image = atomic_load(&cb->image_durable);
  uint32_t incarnation = atomic_load(&cb->incarnation);
  uint64_t restored_ns = atomic_load(&cb->restored_ns), replayed_ns = atomic_load(&cb->replayed_ns);
  int32_t error = atomic_load(&cb->image_error);
  if (rank->settling && restored_ns != 0 && incarnation == rank->incarnation) rank->settling = false;
  if (state == rank->seen_state && notes == rank->seen_notes && image == rank->seen_image &&
      restored_ns == rank->seen_restored_ns && replayed_ns == rank->seen_replayed_ns &&
      error == rank->seen_image_error && incarnation == rank->seen_incarnation)
    return;
  rank->seen_state = state;
  rank->seen_notes = notes;
  rank->seen_image = image;
  rank->seen_restored_ns = restored_ns;
  rank->seen_replayed_ns = replayed_ns;
  rank->seen_image_error = error;
  rank->seen_incarnation = incarnation;
  uint64_t head = atomic_load(&cb->determinant_head), newest = atomic_load(&cb->determinant_newest);
  uint64_t bytes = atomic_load(&cb->image_bytes), stall_ns = atomic_load(&cb->image_stall_ns);
  agent_report(agent, json_pack("{ss si si si si si si si sI sI sI sI sI sI}", "op", "rank", "rank", rank->rank, "node",
                                agent->node, "incarnation", incarnation, "state", state, "notes", notes, "image", image,
                                "image_error", error, "image_bytes", (json_int_t)bytes, "image_stall_ns",
                                (json_int_t)stall_ns, "image_write_ns", (json_int_t)atomic_load(&cb->image_write_ns),
                                "restored_ns", (json_int_t)restored_ns, "replayed_ns", (json_int_t)replayed_ns,
                                "replay_bytes", (json_int_t)(head > newest ? head - newest : 0)));
}

static void report_log(struct agent *agent, struct agent_rank *rank) {
  struct egd_rank_cb *cb = egd_cb(agent->seg, rank->rank);
  uint64_t bytes = atomic_load(&cb->log_bytes), spilled = atomic_load(&cb->log_spilled);
  if (bytes == rank->seen_log_bytes && spilled == rank->seen_log_spilled) return;
  rank->seen_log_bytes = bytes;
  rank->seen_log_spilled = spilled;
  agent_report(agent, json_pack("{ss si sI sI sI}", "op", "log", "rank", rank->rank, "bytes", (json_int_t)bytes,
                                "spilled", (json_int_t)spilled, "peak", (json_int_t)atomic_load(&cb->log_peak)));
}

void agent_request_image(struct agent *agent, uint32_t r) {
  struct egd_rank_cb *cb = egd_cb(agent->seg, r);
  atomic_fetch_add(&cb->image_request, 1);
  atomic_store(&cb->attention, 1);
  if (atomic_exchange(&cb->sleeping, 0)) wake(&cb->sleeping);
}

static void schedule_images(struct agent *agent, struct agent_rank *rank, uint64_t now_ns) {
  const struct egd_segment *seg = agent->seg;
  struct egd_rank_cb *cb = egd_cb(seg, rank->rank);
  uint64_t interval_ns = seg->plan.checkpoint_interval_ns;
  bool running = atomic_load(&cb->state) == EGD_RANK_RUNNING && atomic_load(&seg->started);
  if (!running) {
    rank->attention_ns = 0;
    return;
  }
  if (interval_ns > 0 && seg->plan.flags & EGD_PLAN_CHECKPOINT) {
    // Not all at the same moment: they share the disk.
    if (rank->next_image_ns == 0)
      rank->next_image_ns = now_ns + interval_ns / 2 + interval_ns / 2 * (rank->rank + 1) / seg->nranks;
    if (now_ns >= rank->next_image_ns) {
      rank->next_image_ns = now_ns + interval_ns;
      agent_request_image(agent, rank->rank);
    }
  }
  if (!atomic_load(&cb->attention)) {
    rank->attention_ns = 0;
  } else if (rank->attention_ns == 0) {
    rank->attention_ns = now_ns;
  } else if (now_ns - rank->attention_ns > IGNORED_FOR_NS) {
    int pid = atomic_load(&cb->pid);
    if (pid > 0) kill(pid, EGD_IMAGE_SIGNAL);
    rank->attention_ns = now_ns;
  }
}

void agent_look(struct agent *agent) {
  uint64_t now_ns = egd_monotonic_ns();
  bool log_is_due = now_ns >= agent->log_report_ns;
  if (log_is_due) agent->log_report_ns = now_ns + LOG_REPORT_NS;
  egd_mover_work(agent->mover);
  for (uint32_t r = 0; r < agent->seg->nranks; r++) {
    struct agent_rank *rank = &agent->ranks[r];
    if (!rank->here || rank->adopting) continue;
    report_news(agent, rank);
    if (log_is_due) report_log(agent, rank);
    schedule_images(agent, rank, now_ns);
    forward_output(agent, rank);
    release_death(agent, rank);
  }
  if (agent->birth_wanted != atomic_load(&agent->seg->birth)) agent_continue_anew(agent);
}

bool agent_has_news(const struct agent *agent) {
  if (!may_forward(agent)) return false;
  for (uint32_t r = 0; r < agent->seg->nranks; r++) {
    const struct agent_rank *rank = &agent->ranks[r];
    if (!rank->here || rank->adopting || rank->settling) continue;
    const struct egd_rank_cb *cb = egd_cb(agent->seg, r);
    // What was offered and waits for the gate is no news.
    if (rank->offered <= atomic_load(&cb->output_taken) && atomic_load(&cb->output_head) > rank->offered) return true;
  }
  return false;
}
