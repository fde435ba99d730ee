// egida-agent: one per node. Makes the node segment, starts the watchdogs, stands between them and the launcher. Shared
// by its files.
#ifndef EGIDA_PMIX_AGENT_AGENT_H
#define EGIDA_PMIX_AGENT_AGENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/link.h"
#include "common/proof.h"
#include "common/reactor.h"
#include "common/segment.h"
#include "common/tcp.h"
#include "pmix_agent/mover.h"

#define AGENT_TICK_NS 20000000ull
#define AGENT_BEATS 64u                   // heartbeats whose answers still count
#define AGENT_OUTPUT_IN_FLIGHT (1u << 20) // bytes queued for the launcher; the rest waits in the ring

// A rank that lives here. What was reported is remembered, so that only news are sent.
struct agent_rank {
  uint32_t rank;
  bool here;
  int watchdog_pid, watchdog_pidfd; // pidfd -1: none
  struct egd_link *link;            // NULL: the watchdog is not connected
  uint32_t incarnation;             // wanted
  bool run_pending, restore;        // a "run" for `incarnation` is still to be sent
  bool awaited;                     // its first watchdog is a task of the batch system
  bool adopting;                    // the slice is being filled for a rank from a lost node
  bool settling;                    // came from another node: its output ring is not to be read before it is restored
  json_t *death;                    // report held back until all its output went out
  uint64_t death_cut;
  uint64_t offered, offered_cut; // output below `offered` may leave when the cut is stable
  uint32_t seen_state, seen_notes, seen_image, seen_incarnation;
  uint64_t seen_restored_ns, seen_replayed_ns;
  int32_t seen_image_error;
  uint64_t seen_log_bytes, seen_log_spilled;
  uint64_t next_image_ns; // periodic images, 0 = none
  uint64_t attention_ns;  // since when the rank has not looked at its requests
};

struct agent {
  struct egd_reactor *reactor;
  struct egd_segment *seg;
  int segment_fd;
  uint32_t node, incarnation; // of the node
  char job_dir[512], node_dir[512];
  unsigned char secret[EGD_SECRET_SIZE];
  struct egd_link *launcher; // NULL: lost
  bool welcome;              // it is the job's launcher: commands count
  // A steward by TCP; control "" = the launcher is on this machine.
  char control[EGD_TCP_ADDRESS], listen[EGD_TCP_ADDRESS];
  char nonce[EGD_PROOF_TEXT], challenge[EGD_PROOF_TEXT];
  uint64_t hello_ns, beat_ns, lease_ns, beat, beat_sent_ns[AGENT_BEATS]; // CLOCK_BOOTTIME
  struct egd_mover *mover;
  int listener, doorbell;
  struct agent_rank *ranks; // [nranks]
  uint64_t log_report_ns;
  uint32_t birth_wanted; // not seg->birth: start-up is about to begin anew
  bool adopted;          // it took over from an agent that died
  bool ending, suspending, fenced, flushing;
  int exit_code;   // of the job, for the watchdogs
  uint64_t end_ns; // when the last watchdogs are killed
};

// agent_ranks.c
/// Start the watchdog of `rank` (or use the one that is there) and have it run `incarnation`.
void agent_run_rank(struct agent *agent, uint32_t rank, uint32_t incarnation, bool restore);
/// A connection on agent.sock.
void agent_accept(struct agent *agent);
/// To the watchdog; steals `message`.
void agent_tell(struct agent *agent, uint32_t rank, json_t *message);
/// Kill the process of a rank, or its watchdog if that is not connected.
void agent_kill_rank(struct agent *agent, uint32_t rank, int signal);
bool agent_rank_is_dead(const struct agent *agent, uint32_t rank);
/// No watchdog is left.
bool agent_is_empty(const struct agent *agent);
/// A new agent on a node whose ranks are alive: the descriptor of the segment from a watchdog; -1: there is none.
int agent_find_segment(const char *node_dir, uint64_t job_hash);
void agent_adopt_watchdogs(struct agent *agent);

// agent_watch.c
/// Look for news in the control blocks and the output rings; cheap when there are none.
void agent_look(struct agent *agent);
/// Anything to be looked at at once?
bool agent_has_news(const struct agent *agent);
/// The launcher wrote output of `rank` below `position`.
void agent_acknowledged(struct agent *agent, uint32_t rank, uint64_t position);
/// Ask for an image now.
void agent_request_image(struct agent *agent, uint32_t rank);
/// Report the end of a rank once all its output went out.
void agent_hold_death(struct agent *agent, uint32_t rank, json_t *message);
/// All output was handed to the launcher.
bool agent_is_drained(const struct agent *agent);

// agent_launcher.c
/// Connect to the launcher. False after a message. Sets `listen`, where the mover is to listen.
bool agent_connect(struct agent *agent);
/// The agent is ready for commands.
void agent_greet(struct agent *agent);
/// This node may act for the job that long from now on; no effect without a steward.
void agent_extend_lease(struct agent *agent, uint64_t by_ns);
/// Fences this node when its lease has ended.
void agent_look_at_lease(struct agent *agent);
bool agent_is_given_up(const struct agent *agent);

// agent_requeue.c
/// The steward is not heard any more: if that is because its host is lost, ask Slurm to begin the batch job again.
void agent_ask_requeue(const struct agent *agent);

// agent_start.c
/// Parse the command line, make the node segment and all else, connect. False after a message.
bool agent_start(struct agent *agent, int argc, char **argv);

// agent.c
void agent_report(struct agent *agent, json_t *message); // to the launcher; steals
void agent_continue_anew(struct agent *agent);
/// A command of the launcher (docs/formats/control.md).
void agent_command(struct agent *agent, const char *op, json_t *message);
/// The launcher is lost: images of the last state, then the end.
void agent_suspend(struct agent *agent);
/// This node's ranks may live elsewhere: they end at once, nothing of theirs leaves any more.
void agent_fenced(struct agent *agent, const char *why);
// Callbacks of the mover; arg = agent.
extern const struct egd_mover_callbacks agent_mover_callbacks;

#endif
