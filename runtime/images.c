// When images of this rank are taken, what they carry, and how a new incarnation finds its way from one.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include "runtime/checkpoint/image.h"
#include "runtime/images_log.h"
#include "runtime/internal.h"

#define PATH_SIZE 640

// What is true at the moment of the image; the writer publishes it once the image is durable. The writer is a copy of
// the rank, so it reads its own copy of this.
static struct {
  uint32_t number;
  uint64_t determinants;
  uint64_t stall_begin_ns;
  uint64_t *consumed; // [nranks]
  bool outside;       // the image has to outlive the node
  struct {
    uint64_t determinants, polls;
  } * positions; // [nranks] of the ranks on this node, if outside
  char path[PATH_SIZE];
} shot;

static char *append(char *to, const char *text) {
  size_t n = strlen(text);
  memcpy(to, text, n + 1);
  return to + n;
}

static char *append_number(char *to, uint64_t value) {
  char digits[24], *p = digits + sizeof(digits) - 1;
  *p = 0;
  do *--p = (char)('0' + value % 10);
  while (value /= 10);
  return append(to, p);
}

static void image_path(char *to, uint32_t number) {
  to = append(to, egd_rank.seg->job_dir);
  to = append(to, "/images/rank-");
  to = append_number(to, egd_rank.self);
  to = append(to, "/");
  to = append_number(to, number);
  append(to, ".img");
}

// The image of `shot` is durable: it and the one before it are kept. Order: what others may free is published after what
// this rank may need. `again`: a writer may have died in the midst of this; what it did already is not done twice, or the
// bounds would pass by the older image.
static void publish_durable(bool again) {
  struct egd_rank_cb *cb = egd_rank.cb;
  _Atomic uint64_t *bounds = egd_bounds(egd_rank.seg, egd_rank.self), *newest = egd_newest(egd_rank.seg, egd_rank.self);
  for (uint32_t peer = 0; peer < egd_rank.nranks; peer++) {
    uint64_t before = atomic_load(&newest[peer]);
    if (again && before == shot.consumed[peer]) continue;
    if (before > atomic_load(&bounds[peer])) atomic_store(&bounds[peer], before);
    if (shot.consumed[peer] > before) atomic_store(&newest[peer], shot.consumed[peer]);
  }
  uint64_t before = atomic_load(&cb->determinant_newest);
  if (before > atomic_load(&cb->determinant_tail) && !(again && before == shot.determinants))
    atomic_store(&cb->determinant_tail, before);
  if (shot.determinants > before) atomic_store(&cb->determinant_newest, shot.determinants);
  uint32_t superfluous = atomic_load(&cb->image_older);
  uint32_t older = atomic_load(&cb->image_durable);
  atomic_store(&cb->image_older, older);
  atomic_store(&cb->image_durable, shot.number);
  if (superfluous && superfluous != older) {
    char path[PATH_SIZE];
    image_path(path, superfluous);
    egd_sys1(SYS_unlink, path);
  }
}

// In the writer: the image is durable, or failed.
static void image_finished(void *arg, int status, uint64_t bytes, uint64_t write_ns) {
  struct egd_rank_cb *cb = egd_rank.cb;
  if (status != 0) {
    if (atomic_exchange(&cb->image_error, -status) != -status)
      egd_say("image %u could not be written to %s (error %d); the job goes on with the images that it has",
              shot.number, shot.path, -status);
  } else {
    atomic_store(&cb->image_error, 0);
    atomic_store(&cb->image_bytes, bytes);
    atomic_store(&cb->image_write_ns, write_ns);
    publish_durable(false);
    if (atomic_load(&egd_rank.seg->agent_sleeping)) egd_ring_doorbell();
  }
  atomic_store(&cb->image_ended, shot.number);
  atomic_store(&cb->attention, 1);
}

// An image that outlives the node must not know more than what outlives it: it is written when all that the ranks of this node had done at
// its moment is stable outside. In the writer, so that only a synchronous image waits.
static void wait_until_stable(void) {
  struct egd_segment *seg = egd_rank.seg;
  for (uint32_t rank = 0; shot.outside && rank < egd_rank.nranks; rank++) {
    struct egd_rank_cb *cb = egd_cb(seg, rank);
    while (!atomic_load(&egd_rank.cb->quiesce) && shot.positions[rank].determinants != UINT64_MAX &&
           (atomic_load(&cb->determinant_stable) < shot.positions[rank].determinants ||
            atomic_load(&cb->polls_stable) < shot.positions[rank].polls)) {
      egd_ring_doorbell();
      struct timespec pause = {.tv_nsec = 1000000};
      egd_sys2(SYS_nanosleep, &pause, 0);
    }
  }
}

static void note_positions(void) {
  struct egd_segment *seg = egd_rank.seg;
  shot.outside = seg->nnodes > 1 || seg->plan.determinant_store == EGD_DETERMINANT_SHARED_DISK;
  if (!shot.outside) return;
  if (!shot.positions) shot.positions = egd_calloc(egd_rank.nranks * sizeof(*shot.positions));
  for (uint32_t rank = 0; rank < egd_rank.nranks; rank++) {
    struct egd_rank_cb *cb = egd_cb(seg, rank);
    bool here = atomic_load(&seg->home[rank]) == seg->node;
    shot.positions[rank].determinants = here ? atomic_load(&cb->determinant_head) : UINT64_MAX;
    shot.positions[rank].polls = here ? atomic_load(&cb->polls) : 0;
  }
}

static void image_begun(void *arg) {
  wait_until_stable();
  egd_libc_image_begun();
  egd_fault(EGD_FAULT_CHECKPOINT, shot.number);
}

static void restored(void);

// True: this is a new incarnation, restored from the image.
static bool take_image(bool async) {
  struct egd_rank_cb *cb = egd_rank.cb;
  struct egd_segment *seg = egd_rank.seg;
  uint64_t begin = egd_monotonic_ns();
  shot.number = atomic_load(&cb->image_started) + 1;
  shot.determinants = egd_rt.state->determinants;
  if (!shot.consumed) shot.consumed = egd_calloc(egd_rank.nranks * sizeof(uint64_t));
  for (uint32_t peer = 0; peer < egd_rank.nranks; peer++) shot.consumed[peer] = egd_channel_consumed(peer);
  image_path(shot.path, shot.number);
  note_positions();

  static struct { uint64_t begin, end; } excluded[2];
  excluded[0].begin = EGD_SEGMENT_BASE;
  excluded[0].end = EGD_SEGMENT_BASE + egd_segment_size(egd_rank.nranks);
  excluded[1].begin = EGD_SPILL_BASE;
  excluded[1].end = EGD_SPILL_BASE + egd_segment_size(egd_rank.nranks);
  static int excluded_fds[] = {
      0, 1, 2, EGD_SEGMENT_FD, EGD_SEGMENT_FD + 1, EGD_SEGMENT_FD + 2, EGD_SEGMENT_FD + 3, EGD_SEGMENT_FD + 4, -1};
  size_t nfds = 8;
  if (egd_rt.pmi_fd >= 0) excluded_fds[nfds++] = egd_rt.pmi_fd;
  struct egd_image_request request = {
      .path = shot.path,
      .job_hash = seg->job_hash,
      .rank = egd_rank.self,
      .number = shot.number,
      .async = async,
      .excluded = (const void *)excluded,
      .nexcluded = 2,
      .excluded_fds = excluded_fds,
      .nexcluded_fds = nfds,
      .finished = image_finished,
      .begun = image_begun,
  };
  struct egd_log_snapshot snapshot = {0};
  if (shot.outside || atomic_load(&cb->quiesce)) {
    egd_log_snapshot_make(&snapshot);
    request.extras = snapshot.extras;
    request.nextras = snapshot.nextras;
    egd_rt.log.hold = true; // other ranks' images move the bounds of this log while it is written
  }
  atomic_store(&cb->image_started, shot.number);
  int child = 0;
  int outcome = egd_image_take(&request, &child);
  egd_log_snapshot_drop(&snapshot);
  if (outcome == EGD_IMAGE_RESTORED) {
    restored();
    return true;
  }
  if (outcome < 0 || !async) egd_rt.log.hold = false;
  if (outcome < 0) {
    image_finished(NULL, outcome, 0, 0);
    return false;
  }
  atomic_store(&cb->image_stall_ns, egd_monotonic_ns() - begin);
  if (async) atomic_store(&cb->image_child, child);
  return false;
}

// Reap the writer. True while one is at work.
static bool writer_at_work(bool wait) {
  struct egd_rank_cb *cb = egd_rank.cb;
  int child = atomic_load(&cb->image_child);
  if (child <= 0) return false;
  long reaped = egd_sys4(SYS_wait4, child, 0, (wait ? 0 : WNOHANG) | __WCLONE, 0);
  if (reaped == 0 || reaped == -EINTR) return true;
  atomic_store(&cb->image_child, 0);
  egd_rt.log.hold = false;
  return false;
}

// The agent sends EGD_IMAGE_SIGNAL when a requested image does not begin because the program computes. In runtime code
// (and in trapped system calls) it does nothing: a safe point follows there anyway. It runs on the runtime's alternate
// stack, so that the program's own stack holds no trace.
static void on_image_signal(int signal) {
  if (egd_rank.in_runtime) return;
  egd_safe_point();
}

static void install_image_signal(void) {
  struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
  } action = {on_image_signal, 0x04000000 /* SA_RESTORER */ | SA_ONSTACK | SA_RESTART, egd_sigreturn,
              ~0ull & ~(1ull << (SIGSYS - 1))};
  egd_sys4(SYS_rt_sigaction, EGD_IMAGE_SIGNAL, &action, 0, 8);
}

void egd_image_first(void) {
  if (!(egd_rank.seg->plan.flags & EGD_PLAN_CHECKPOINT)) return;
  install_image_signal();
  egd_libc_logging_on();
  egd_rank.logging = egd_rt.engine.logging = egd_rank.seg->plan.flags & EGD_PLAN_LOG_DETERMINANTS;
  take_image(egd_rank.seg->plan.flags & EGD_PLAN_CHECKPOINT_ASYNC);
}

void egd_image_now(void) {
  static uint64_t failed_at; // determinant position + 1: where images cannot be written, not every call tries
  if (failed_at && egd_rt.state->determinants < failed_at + EGD_DETERMINANT_RING / 64) return;
  failed_at = 0;
  while (writer_at_work(true)) {
  }
  for (int i = 0; i < 2; i++) { // two generations are kept: the second image frees what the first covers
    if (take_image(false)) return;
    if (atomic_load(&egd_rank.cb->image_error)) {
      failed_at = egd_rt.state->determinants + 1;
      return;
    }
  }
}

void egd_attend(void) {
  struct egd_rank_cb *cb = egd_rank.cb;
  if (__builtin_expect(!atomic_load_explicit(&cb->attention, memory_order_relaxed), 1)) return;
  if (!egd_rt.mpi_initialised || egd_rank.seg->plan.checkpoint_protocol == EGD_CHECKPOINT_NONE) {
    atomic_store(&cb->attention, 0);
    return;
  }
  atomic_store(&cb->attention, 0);
  bool busy = writer_at_work(false);
  if (atomic_load(&cb->quiesce)) {
    while (writer_at_work(true)) {
    }
    take_image(false);
    if (atomic_load(&cb->quiesce))
      for (;;) egd_sleep(1000000000); // stopped: the watchdog ends this incarnation
    return;
  }
  uint32_t asked = atomic_load(&cb->image_request);
  if (busy) { // the writer raises attention again when it is done; if it is, but not yet gone, look again
    if (atomic_load(&cb->image_ended) == shot.number) atomic_store(&cb->attention, 1);
    return;
  }
  if (asked == egd_rt.images_asked) return;
  egd_rt.images_asked = asked;
  take_image(egd_rank.seg->plan.flags & EGD_PLAN_CHECKPOINT_ASYNC);
}

void egd_safe_point(void) {
  egd_rank.in_runtime++;
  egd_determinants_check();
  egd_attend();
  egd_rank.in_runtime--;
}

// ---- a new incarnation
// ------------------------------------------------------------------------------------------------

// Several nodes: the agent has to point the mirrors at what this incarnation wants to read.
static void agree_on_cursors(void) {
  struct egd_rank_cb *cb = egd_rank.cb;
  uint32_t mine = atomic_load(&cb->incarnation) + 1;
  atomic_store(&cb->cursors_ready, mine);
  while (atomic_load(&cb->mirrors_ready) != mine) {
    egd_ring_doorbell();
    struct timespec pause = {.tv_nsec = 2000000};
    egd_sys2(SYS_nanosleep, &pause, 0);
  }
}

static void restored(void) {
  egd_rank_attach();
  struct egd_rank_cb *cb = egd_rank.cb;
  struct egd_segment *seg = egd_rank.seg;
  atomic_store(&cb->image_child, 0);
  if (atomic_load(&cb->image_started) <
      shot.number) { // another node than the image's: this segment has nothing of the log yet
    egd_log_snapshot_restore(shot.path);
    atomic_store(&cb->image_started, shot.number);
    atomic_store(&cb->image_durable, shot.number);
    atomic_store(&cb->image_older, shot.number - 1);
    atomic_store(&cb->determinant_newest, shot.determinants);
    for (uint32_t peer = 0; peer < egd_rank.nranks; peer++)
      atomic_store(&egd_newest(seg, egd_rank.self)[peer], shot.consumed[peer]);
  }
  if (atomic_load(&cb->image_durable) > shot.number) { // newer ones could not be used: this is the newest again
    for (uint32_t peer = 0; peer < egd_rank.nranks; peer++)
      atomic_store(&egd_newest(seg, egd_rank.self)[peer], shot.consumed[peer]);
    atomic_store(&cb->determinant_newest, shot.determinants);
    atomic_store(&cb->image_older, 0);
    atomic_store(&cb->image_durable, shot.number);
  }
  // A writer that was killed with its rank may have left a whole image that nobody knew of, or a part of one.
  if (atomic_load(&cb->image_durable) < shot.number) publish_durable(true);
  if (atomic_load(&cb->image_started) > shot.number) {
    char partial[PATH_SIZE];
    image_path(partial, atomic_load(&cb->image_started));
    append(partial + strlen(partial), ".tmp");
    egd_sys1(SYS_unlink, partial);
  }
  for (uint32_t peer = 0; peer < egd_rank.nranks; peer++)
    atomic_store(&egd_consumed(seg, egd_rank.self)[peer], shot.consumed[peer]);
  if (seg->nnodes > 1) agree_on_cursors();
  egd_channels_restored();
  egd_rt.images_asked = atomic_load(&cb->image_request);
  egd_rt.replay_begin = egd_rt.state->determinants;
  // A job that is resumed has no logs but the images': it goes on from there.
  if (egd_rt.state->determinants > atomic_load(&cb->determinant_head)) {
    atomic_store(&cb->determinant_tail, egd_rt.state->determinants);
    atomic_store(&cb->determinant_newest, egd_rt.state->determinants);
    atomic_store(&cb->determinant_head, egd_rt.state->determinants);
  }
  if (egd_rt.state->polls > atomic_load(&cb->polls)) atomic_store(&cb->polls, egd_rt.state->polls);
  egd_engine_recover(&egd_rt.engine, atomic_load(&cb->determinant_head), atomic_load(&cb->polls));
  egd_rank.replaying = egd_rt.engine.replaying;
  atomic_store(&cb->state, egd_rank.replaying ? EGD_RANK_REPLAYING : EGD_RANK_RUNNING);
  atomic_store(&cb->restored_ns, egd_monotonic_ns());
  egd_libc_restored();
  egd_ucp_restored();
  if (!egd_rank.replaying) egd_rank_live();
}
