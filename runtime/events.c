// Non-deterministic events other than messages, and output.
#include <linux/futex.h>
#include <string.h>
#include <time.h>
#include "runtime/internal.h"

#define OUTPUT_PIECE (64u << 10)

// ---- determinants ---------------------------------------------------------------------------------------------------

static uint64_t ring_used(void) {
  return egd_rt.state->determinants - atomic_load_explicit(&egd_rank.cb->determinant_tail, memory_order_relaxed);
}

void egd_determinants_make_room(uint64_t bytes) {
  static uint64_t asked_at;
  uint64_t position = egd_rt.state->determinants;
  if (ring_used() + bytes > EGD_DETERMINANT_RING)
    egd_die("the determinant log is full (%lu MiB) and no image could be taken to empty it",
            (unsigned long)(EGD_DETERMINANT_RING >> 20));
  if (position < asked_at) return;
  asked_at = position + EGD_DETERMINANT_RING / 16;
  atomic_fetch_add(&egd_rank.cb->image_request, 1);
  atomic_store(&egd_rank.cb->attention, 1);
}

void egd_determinants_check(void) {
  if (__builtin_expect(!egd_rank.logging || ring_used() <= EGD_DETERMINANT_RING / 2, 1)) return;
  // Behind the log's end events are new, although the rank is live only at its next progress call.
  if (egd_rt.delivering || egd_event_pending()) return;
  egd_rank.in_runtime++;
  egd_image_now();
  egd_rank.in_runtime--;
}

bool egd_event_next_is(enum egd_event_kind kind, uint32_t aux) {
  const struct egd_determinant *next = egd_engine_peek(&egd_rt.engine);
  return next && next->kind == kind && next->aux == (uint16_t)aux;
}

bool egd_event_pending(void) {
  return egd_engine_peek(&egd_rt.engine) != NULL;
}

bool egd_event_replay(enum egd_event_kind kind, uint32_t aux, int64_t *ret_value, void *data, size_t size,
                      size_t *ret_length) {
  if (!egd_rank.logging) return false;
  egd_determinants_check();
  const struct egd_determinant *next = egd_engine_peek(&egd_rt.engine);
  if (__builtin_expect(!next, 1)) return false;
  if (next->kind != kind || next->aux != (uint16_t)aux) {
    egd_say("replay diverged: the program asks for event kind %u/%u", kind, aux);
    egd_rt.engine.env->diverged(egd_rt.engine.ctx, "another event is next", next, egd_rt.state->determinants);
  }
  *ret_value = (int64_t)next->value;
  if (ret_length) *ret_length = next->source;
  egd_engine_take(&egd_rt.engine, data, size < next->source ? size : next->source);
  return true;
}

void egd_event_log(enum egd_event_kind kind, uint32_t aux, int64_t value, const void *data, size_t length) {
  if (!egd_rank.logging) return;
  egd_engine_event(&egd_rt.engine, (uint8_t)kind, (uint16_t)aux, (uint64_t)value, data, (uint32_t)length);
}

// ---- output ---------------------------------------------------------------------------------------------------------

static unsigned char *output_ring(void) {
  return egd_at(egd_rank.seg, egd_slice(egd_rank.seg, egd_rank.self) + EGD_SLICE_OUTPUT);
}

static bool ring_differs(uint64_t position, const void *data, size_t length) {
  uint64_t at = position % EGD_OUTPUT_RING, first = EGD_OUTPUT_RING - at;
  if (first > length) first = length;
  return memcmp(output_ring() + at, data, first) != 0 ||
         memcmp(output_ring(), (const unsigned char *)data + first, length - first) != 0;
}

static void ring_copy(uint64_t position, const void *data, size_t length) {
  uint64_t at = position % EGD_OUTPUT_RING, first = EGD_OUTPUT_RING - at;
  if (first > length) first = length;
  memcpy(output_ring() + at, data, first);
  memcpy(output_ring(), (const unsigned char *)data + first, length - first);
}

static void wait_for_room(void) {
  struct egd_rank_cb *cb = egd_rank.cb;
  struct timespec timeout = {.tv_nsec = 10000000};
  atomic_store(&cb->output_waiting, 1);
  egd_ring_doorbell();
  egd_sys4(SYS_futex, &cb->output_waiting, FUTEX_WAIT, 1, &timeout);
  egd_safe_point(); // nothing of this piece is done yet
}

static void output_piece(uint32_t stream, const void *data, uint32_t length) {
  struct egd_rank_cb *cb = egd_rank.cb;
  struct egd_output_record record = {.length = length, .stream = stream};
  uint64_t size = (sizeof(record) + length + 7) & ~7ull;
  for (;;) {
    uint64_t position = egd_rt.state->output, head = atomic_load(&cb->output_head);
    if (position < head) { // went out before
      if (head - position <= EGD_OUTPUT_RING && position >= egd_rt.output_from &&
          (ring_differs(position, &record, sizeof(record)) || ring_differs(position + sizeof(record), data, length))) {
        egd_say(
            "replay diverged: output on stream %u at byte %lu of the output log differs from what was printed before",
            stream, (unsigned long)position);
        if (!atomic_load(&egd_rank.seg->divergence_warn))
          egd_die("the job ends rather than go on with a wrong state (--divergence=warn goes on)");
      }
      egd_rt.state->output += size;
      return;
    }
    if (head + size - atomic_load(&cb->output_acked) <= EGD_OUTPUT_RING) {
      ring_copy(head, &record, sizeof(record));
      ring_copy(head + sizeof(record), data, length);
      atomic_store_explicit(&cb->output_head, head + size, memory_order_release);
      egd_rt.state->output = head + size;
      if (atomic_load_explicit(&egd_rank.seg->agent_sleeping, memory_order_relaxed)) egd_ring_doorbell();
      return;
    }
    wait_for_room();
  }
}

int64_t egd_output(uint32_t stream, const void *data, size_t length) {
  egd_rank.in_runtime++;
  egd_engine_visible(&egd_rt.engine);
  for (size_t done = 0; done < length;) {
    size_t n = length - done < OUTPUT_PIECE ? length - done : OUTPUT_PIECE;
    output_piece(stream, (const unsigned char *)data + done, (uint32_t)n);
    done += n;
  }
  egd_rank.in_runtime--;
  return (int64_t)length;
}

// A node that was given up may still run: its ranks live elsewhere then, and what they do must not be done twice.
static bool lease_holds(const struct egd_segment *seg) {
  uint64_t until_ns = atomic_load_explicit(&seg->lease_until_ns, memory_order_relaxed);
  if (until_ns == EGD_NO_LEASE) return true;
  struct timespec now;
  egd_sys2(SYS_clock_gettime, CLOCK_BOOTTIME, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec < until_ns;
}

static bool may_act(void) {
  struct egd_segment *seg = egd_rank.seg;
  if (!atomic_load(&seg->started) || !lease_holds(seg)) return false;
  bool outside = seg->nnodes > 1 || seg->plan.determinant_store == EGD_DETERMINANT_SHARED_DISK;
  const struct egd_rank_cb *cb = egd_rank.cb;
  return !outside || (atomic_load(&cb->determinant_stable) >= egd_rt.state->determinants &&
                      atomic_load(&cb->polls_stable) >= atomic_load(&cb->polls));
}

void egd_visible_act(void) {
  if (!egd_rank.logging) return;
  egd_rank.in_runtime++;
  egd_engine_visible(&egd_rt.engine);
  while (!egd_event_pending() && !may_act()) {
    egd_ring_doorbell();
    egd_pause();
    egd_attend();
  }
  egd_rank.in_runtime--;
}
