// The rank: start, progress, and the ends of MPI_Init and MPI_Finalize.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include "runtime/checkpoint/image.h"
#include "runtime/internal.h"
#include "runtime/libc/libc.h"

#define EXPORT __attribute__((visibility("default")))
#define ADMISSIONS_PER_CALL 32u
#define BACK_TO_BACK_CYCLES                                                                                            \
  4000u // an idle call that comes later than this after the one before: the program computes in between

struct egd_rank egd_rank;
struct egd_runtime egd_rt;

uint64_t egd_monotonic_ns(void) {
  struct timespec now;
  egd_sys2(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// ---- start ----------------------------------------------------------------------------------------------------------

static uint64_t parse_number(const char *text, uint64_t otherwise) {
  if (!text || !*text) return otherwise;
  uint64_t value = 0;
  for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + (uint64_t)(*text - '0');
  return *text ? otherwise : value;
}

void egd_rank_attach(void) {
  struct stat st;
  if (egd_sys2(SYS_fstat, EGD_SEGMENT_FD, &st) != 0)
    egd_die("descriptor %d, the node segment, is not open", EGD_SEGMENT_FD);
  long at = egd_sys6(SYS_mmap, EGD_SEGMENT_BASE, st.st_size, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, EGD_SEGMENT_FD, 0);
  struct egd_segment *seg = (struct egd_segment *)EGD_SEGMENT_BASE;
  if (at != (long)EGD_SEGMENT_BASE || (uint64_t)st.st_size < sizeof(*seg) || seg->magic != EGD_SEGMENT_MAGIC ||
      seg->version != EGD_SEGMENT_VERSION)
    egd_die("descriptor %d is not a node segment of this version of Egida (error %d)", EGD_SEGMENT_FD,
            at < 0 ? (int)-at : 0);
  egd_sys3(SYS_madvise, at, st.st_size, MADV_DONTDUMP);
  egd_rank.seg = seg;
  egd_rank.cb = egd_cb(seg, egd_rank.self);
  egd_spill_map();
}

static unsigned processors(void) {
  uint64_t mask[128] = {0};
  long bytes = egd_sys3(SYS_sched_getaffinity, 0, sizeof(mask), mask);
  unsigned n = 0;
  for (long i = 0; i < bytes / 8; i++) n += (unsigned)__builtin_popcountll(mask[i]);
  return n ? n : 1;
}

// Programs that the application starts must not take themselves for the rank.
static void hide_from_children(void) {
  static const char *const names[] = {"LD_PRELOAD", "LD_LIBRARY_PATH", "EGIDA_RANK", "EGIDA_SIZE"};
  const char *before = getenv("EGIDA_SAVED_LD_PRELOAD"), *path_before = getenv("EGIDA_SAVED_LD_LIBRARY_PATH");
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) unsetenv(names[i]);
  if (before && *before) setenv("LD_PRELOAD", before, 1);
  if (path_before && *path_before) setenv("LD_LIBRARY_PATH", path_before, 1);
}

__attribute__((constructor)) static void start(void) {
  const char *rank = getenv("EGIDA_RANK"), *size = getenv("EGIDA_SIZE");
  if (!rank || !size) return;
  egd_rank.self = (uint32_t)parse_number(rank, UINT32_MAX);
  egd_rank.nranks = (uint32_t)parse_number(size, 0);
  if (egd_rank.self >= egd_rank.nranks) egd_die("EGIDA_RANK=%s and EGIDA_SIZE=%s do not fit", rank, size);
  int reserved = egd_image_reserve();
  if (reserved != 0)
    egd_die("the addresses that images need cannot be reserved (error %d); does a limit on virtual memory (ulimit -v) "
            "hold for the ranks?",
            -reserved);
  egd_rank_attach();
  if (egd_rank.nranks != egd_rank.seg->nranks)
    egd_die("EGIDA_SIZE is %u, the job has %u ranks", egd_rank.nranks, egd_rank.seg->nranks);
  egd_rt.pmi_fd = (int)parse_number(getenv("PMI_FD"), UINT32_MAX);
  egd_rt.state = egd_calloc(egd_state_size(egd_rank.nranks));
  egd_engine_init(&egd_rt.engine, &egd_runtime_env, NULL, &egd_rank.seg->plan, egd_rt.state, egd_rank.nranks);
  egd_channels_init();
  uint32_t here = 0;
  for (uint32_t peer = 0; peer < egd_rank.nranks; peer++)
    here += atomic_load(&egd_rank.seg->home[peer]) == egd_rank.seg->node;
  // Where others need the processor, it is given to them early; but waking a sleeper costs tens of microseconds on a
  // virtual machine, so sleep comes only when nobody takes what was offered.
  bool alone = egd_rank.seg->nnodes == 1 && here <= processors();
  egd_rt.spin_limit = alone ? 20000 : 20;
  egd_rt.yield_limit = alone ? 0 : 100;
  hide_from_children();
  egd_libc_init();
}

// ---- progress -------------------------------------------------------------------------------------------------------

void egd_rank_live(void) {
  egd_rank.replaying = false;
  egd_libc_live();
  atomic_store(&egd_rank.cb->replayed_ns, egd_monotonic_ns());
  atomic_store(&egd_rank.cb->state, EGD_RANK_RUNNING);
  if (atomic_load(&egd_rank.seg->agent_sleeping)) egd_ring_doorbell();
}

static void admit(uint32_t source) {
  struct egd_reader *reader = &egd_rt.readers[source];
  const struct egd_record *record = egd_reader_peek(reader);
  struct egd_message message = {
      .source = source,
      .kind = record->kind,
      .imm = record->imm,
      .cookie = record->cookie,
      .header_length = record->header_length,
      .length = record->length,
      .ssn = reader->ssn,
      .record = record,
  };
  egd_reader_advance(reader, record);
  egd_engine_admitted(&egd_rt.engine, source);
  atomic_store_explicit(&egd_rank.cb->admissions, egd_rt.state->admissions, memory_order_relaxed);
  egd_fault(EGD_FAULT_RECEIVE, egd_rt.state->admissions);
  egd_rt.delivering = true;
  enum egd_verdict_on_message verdict = egd_ucp_deliver(&message);
  egd_rt.delivering = false;
  if (verdict == EGD_KEEP)
    egd_channels_keep(source, message.ssn);
  else
    egd_channels_took(source);
}

static void idle(void) {
  uint64_t now = egd_tsc();
  bool back_to_back = now - egd_rt.last_poll_tsc < BACK_TO_BACK_CYCLES;
  egd_rt.last_poll_tsc = now;
  if (!back_to_back) {
    egd_rt.idle_polls = 0;
  } else if (++egd_rt.idle_polls > egd_rt.spin_limit) {
    if (egd_rt.idle_polls <= egd_rt.spin_limit + egd_rt.yield_limit)
      egd_sys1(SYS_sched_yield, 0);
    else
      egd_sleep(1000000);
    egd_rt.last_poll_tsc = egd_tsc();
  }
}

static void replay_fault(void) {
  uint64_t middle = egd_rt.replay_begin + (egd_rt.engine.replay_end - egd_rt.replay_begin) / 2;
  if (egd_rt.state->determinants >= middle) egd_fault(EGD_FAULT_RECOVERY, UINT64_MAX);
}

unsigned egd_progress(void) {
  egd_libc_event_point();
  egd_rank.in_runtime++;
  egd_determinants_check();
  egd_attend();
  if (egd_engine_poll(&egd_rt.engine)) egd_rank_live();
  if (__builtin_expect(egd_rank.replaying, 0)) replay_fault();
  unsigned admitted = 0;
  uint32_t source;
  for (enum egd_step step; (step = egd_engine_next(&egd_rt.engine, &source)) != EGD_STEP_NONE;) {
    if (step == EGD_STEP_WAIT) { // others may need an image of this rank before they send
      egd_sleep_for(source, 1000000);
      egd_attend();
      continue;
    }
    admit(source);
    if (++admitted >= ADMISSIONS_PER_CALL && !egd_rank.replaying) break;
  }
  if (admitted)
    egd_rt.idle_polls = 0;
  else if (!egd_rank.replaying)
    idle();
  egd_rank.in_runtime--;
  return admitted;
}

void egd_progress_empty(void) {
  egd_rank.in_runtime++;
  if (egd_engine_poll(&egd_rt.engine)) egd_rank_live();
  egd_rank.in_runtime--;
}

// ---- MPI_Init and MPI_Finalize
// ----------------------------------------------------------------------------------------

static unsigned depth; // the MPI library's own wrappers call each other

static void *next_symbol(const char *name) {
  void *symbol = dlsym(RTLD_NEXT, name);
  if (!symbol) egd_die("the program's MPI library has no %s", name);
  return symbol;
}

static void initialised(int result) {
  if (result != 0 || !egd_rank.seg || egd_rt.mpi_initialised) return;
  if (!(atomic_load(&egd_rank.cb->notes) & EGD_NOTE_MPI_INITIALIZED))
    egd_die("this MPI library does not go through UCX (MPICH with ch4:ucx is what this version of Egida supports); run "
            "the program without Egida, or build it with a supported MPI");
  egd_fault(EGD_FAULT_INIT, UINT64_MAX);
  egd_rt.mpi_initialised = true;
  egd_rank.in_runtime++;
  egd_image_first();
  egd_rank.in_runtime--;
  if (!egd_rank.replaying) atomic_store(&egd_rank.cb->state, EGD_RANK_RUNNING);
}

typedef int init_function(int *, char ***);
typedef int init_thread_function(int *, char ***, int, int *);
typedef int finalize_function(void);

static int init(const char *name, int *argc, char ***argv) {
  depth++;
  int result = ((init_function *)next_symbol(name))(argc, argv);
  if (--depth == 0) initialised(result);
  return result;
}

static int init_thread(const char *name, int *argc, char ***argv, int required, int *provided) {
  // One thread talks to MPI (README.md, Limits): promise no more, as MPI allows a library to do.
  int most = egd_rank.seg && required > 1 ? 1 : required; // FUNNELED
  depth++;
  int result = ((init_thread_function *)next_symbol(name))(argc, argv, most, provided);
  if (--depth == 0) initialised(result);
  return result;
}

static int finalize(const char *name) {
  if (egd_rank.seg && depth == 0) egd_fault(EGD_FAULT_FINALIZE, UINT64_MAX);
  depth++;
  int result = ((finalize_function *)next_symbol(name))();
  if (--depth == 0 && egd_rank.seg) atomic_fetch_or(&egd_rank.cb->notes, EGD_NOTE_FINALIZED);
  return result;
}

EXPORT int MPI_Init(int *argc, char ***argv);
EXPORT int PMPI_Init(int *argc, char ***argv);
EXPORT int MPI_Init_thread(int *argc, char ***argv, int required, int *provided);
EXPORT int PMPI_Init_thread(int *argc, char ***argv, int required, int *provided);
EXPORT int MPI_Finalize(void);
EXPORT int PMPI_Finalize(void);
EXPORT int egida_checkpoint(void);

int MPI_Init(int *argc, char ***argv) {
  return init("MPI_Init", argc, argv);
}
int PMPI_Init(int *argc, char ***argv) {
  return init("PMPI_Init", argc, argv);
}
int MPI_Init_thread(int *argc, char ***argv, int required, int *provided) {
  return init_thread("MPI_Init_thread", argc, argv, required, provided);
}
int PMPI_Init_thread(int *argc, char ***argv, int required, int *provided) {
  return init_thread("PMPI_Init_thread", argc, argv, required, provided);
}
int MPI_Finalize(void) {
  return finalize("MPI_Finalize");
}
int PMPI_Finalize(void) {
  return finalize("PMPI_Finalize");
}

int egida_checkpoint(void) {
  if (!egd_rank.seg || !egd_rank.logging) return 0;
  atomic_fetch_add(&egd_rank.cb->image_request, 1);
  atomic_store(&egd_rank.cb->attention, 1);
  egd_safe_point();
  return 0;
}
