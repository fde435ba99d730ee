// egida-exec: the watchdog of one rank. Starts it, serves it PMI-1, sees it die, starts it again from an image when the
// agent says so. It outlives its agent for a lease and holds the node segment for the next one.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/install.h"
#include "common/log.h"
#include "common/securepath.h"
#include "common/status.h"
#include "pmix_agent/control.h"
#include "pmix_agent/exec.h"

#define LOADER_REFUSED 74
#define RECONNECT_NS 50000000ull
#define TICK_NS 20000000ull
#define LEASE_TICK_NS 50000000ull

struct watchdog {
  struct egd_reactor *reactor;
  struct egd_segment *seg;
  struct egd_rank_cb *cb;
  uint32_t rank;
  const char *job_dir, *node_dir;
  struct egd_birth birth;
  char **environ;
  struct egd_link *agent;
  uint64_t agent_lost_ns;                   // 0: there is one
  int pid, pidfd;                           // of the rank; 0, -1: none
  uint32_t incarnation, start_up;           // start_up: as the agent numbers them (egd_segment.birth)
  int64_t image;                            // the incarnation started from it; -1 = from the program
  bool loading;                             // the loader runs, the image was not accepted yet
  int capture[2];                           // pipes: what escapes interposition on streams 1 and 2
  struct egd_pmi1 pmi;                      // fd -1: none
  json_t *death;                            // last report, repeated to a new agent until another incarnation runs
  uint64_t quiesce_end_ns, quiesce_poke_ns; // 0: not asked
  uint32_t quiesce_target;
  bool quiesced_once;
  bool leaving;
  int exit_code; // of the job, as the agent said; the batch system is told
};

static void start_loader(struct watchdog *w, int64_t below);
static void end_of_rank(struct watchdog *w, int status);

static void report(struct watchdog *w, json_t *message) {
  egd_link_send(w->agent, message);
}

// ---- what escapes interposition ---------------------------------------------------------------------------------------

static bool forward_capture(struct watchdog *w, int stream) {
  char buffer[16384];
  ssize_t n = read(w->capture[stream - 1], buffer, sizeof(buffer));
  if (n <= 0) return n < 0 && errno == EINTR;
  struct egd_control_head head = {.kind = EGD_CONTROL_RAW, .rank = w->rank, .value = (uint64_t)stream};
  // Without an agent these bytes are lost: they are messages of crashes, not output.
  egd_link_send_binary(w->agent, &head, sizeof(head), buffer, (size_t)n);
  return true;
}

static void close_capture(struct watchdog *w) {
  for (int i = 0; i < 2; i++) {
    if (w->capture[i] < 0) continue;
    while (forward_capture(w, i + 1)) {
    }
    egd_reactor_remove(w->reactor, w->capture[i]);
    close(w->capture[i]);
    w->capture[i] = -1;
  }
}

static void on_capture(void *arg, int fd, uint32_t events) {
  struct watchdog *w = arg;
  int stream = fd == w->capture[0] ? 1 : 2;
  if (events & EPOLLIN && forward_capture(w, stream)) return;
  if (events & (EPOLLHUP | EPOLLERR)) egd_reactor_remove(w->reactor, fd); // closed with the rank
}

// ---- PMI --------------------------------------------------------------------------------------------------------------

static void close_pmi(struct watchdog *w) {
  if (w->pmi.fd < 0) return;
  egd_reactor_remove(w->reactor, w->pmi.fd);
  close(w->pmi.fd);
  w->pmi.fd = -1;
  w->pmi.pending = 0;
}

// `image_started` tells on which side of each image this request lies: the rank takes none while it waits.
static void forward_pmi(struct watchdog *w) {
  static const char *const names[] = {
      [EGD_PMI_PUT] = "put", [EGD_PMI_GET] = "get", [EGD_PMI_BARRIER] = "barrier", [EGD_PMI_ABORT] = "abort"};
  report(w, json_pack("{ss si si ss ss ss si si sI}", "op", "pmi", "rank", w->rank, "incarnation", w->incarnation,
                      "cmd", names[w->pmi.pending], "key", w->pmi.key, "value", w->pmi.value, "code", w->pmi.code,
                      "image_started", (int)atomic_load(&w->cb->image_started), "from_image", (json_int_t)w->image));
}

static void on_pmi_request(void *arg, struct egd_pmi1 *pmi) {
  struct watchdog *w = arg;
  if (pmi->pending != EGD_PMI_PUT) pmi->value[0] = 0;
  if (pmi->pending == EGD_PMI_BARRIER || pmi->pending == EGD_PMI_ABORT) pmi->key[0] = 0;
  forward_pmi(w);
  if (pmi->pending == EGD_PMI_ABORT) pmi->pending = 0;
}

static void on_pmi(void *arg, int fd, uint32_t events) {
  struct watchdog *w = arg;
  if (!egd_pmi1_read(&w->pmi)) {
    egd_reactor_remove(w->reactor, fd); // the rank ends or does not speak PMI any more
    close(fd);
    w->pmi.fd = -1;
  }
}

// ---- start ------------------------------------------------------------------------------------------------------------

static int pidfd_open_of(int pid) {
  return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void reap(struct watchdog *w) {
  int status, pid;
  // __WALL: image writers are clones without an exit signal; they are ours once their rank is gone.
  while ((pid = wait4(-1, &status, WNOHANG | __WALL, NULL)) > 0)
    if (pid == w->pid) end_of_rank(w, status);
}

static void on_rank_end(void *arg, int fd, uint32_t events) {
  reap(arg);
}

static int rank_input(struct watchdog *w) {
  if (w->rank == 0) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/stdin", w->job_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) return fd;
  }
  return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

// Starts `program`; ends the watchdog only if this machine can't make a process.
static bool spawn(struct watchdog *w, const char *program, char *const *argv) {
  int pmi[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, in = rank_input(w);
  bool made = in >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pmi) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
              pipe2(err, O_CLOEXEC) == 0;
  struct egd_rank_cb *cb = w->cb;
  if (made) {
    atomic_store(&cb->incarnation, w->incarnation);
    atomic_store(&cb->restored_image, w->image < 0 ? UINT32_MAX : (uint32_t)w->image);
    atomic_store(&cb->restored_ns, 0);
    atomic_store(&cb->replayed_ns, 0);
    atomic_store(&cb->image_child, 0);
    atomic_store(&cb->sleeping, 0);
    atomic_store(&cb->quiesce, 0);
    if (atomic_load(&cb->fault_done)) {
      atomic_store(&cb->fault_point, EGD_FAULT_NONE);
      atomic_store(&cb->fault_done, 0);
    }
    atomic_store(&cb->state, EGD_RANK_STARTING);
    struct exec_spawn how = {.birth = &w->birth,
                             .argv = argv,
                             .environ = w->environ,
                             .program = program,
                             .segment_fd = EGD_SEGMENT_FD,
                             .pmi_fd = pmi[1],
                             .in_fd = in,
                             .out_fd = out[1],
                             .err_fd = err[1],
                             .ignores_term = w->seg->control[0] != 0};
    w->pid = exec_spawn(&how);
    made = w->pid > 0;
  }
  int error = errno;
  if (in >= 0) close(in);
  if (pmi[1] >= 0) close(pmi[1]);
  if (out[1] >= 0) close(out[1]);
  if (err[1] >= 0) close(err[1]);
  if (!made) {
    if (pmi[0] >= 0) close(pmi[0]);
    if (out[0] >= 0) close(out[0]);
    if (err[0] >= 0) close(err[0]);
    w->pid = 0;
    report(w, json_pack("{ss si si ss+}", "op", "unrestorable", "rank", w->rank, "incarnation", w->incarnation, "why",
                        "the system refuses a new process: ", strerror(error)));
    return false;
  }
  atomic_store(&cb->pid, w->pid);
  w->pidfd = pidfd_open_of(w->pid);
  egd_reactor_add(w->reactor, w->pidfd, EPOLLIN, on_rank_end, w);
  w->capture[0] = out[0];
  w->capture[1] = err[0];
  for (int i = 0; i < 2; i++) {
    fcntl(w->capture[i], F_SETFL, O_NONBLOCK);
    egd_reactor_add(w->reactor, w->capture[i], EPOLLIN, on_capture, w);
  }
  egd_pmi1_init(&w->pmi, w->rank, w->seg->nranks, pmi[0], on_pmi_request, w);
  egd_reactor_add(w->reactor, pmi[0], EPOLLIN, on_pmi, w);
  report(w, json_pack("{ss si si si sI}", "op", "started", "rank", w->rank, "incarnation", w->incarnation, "pid",
                      w->pid, "image", (json_int_t)w->image));
  return true;
}

static void start_program(struct watchdog *w) {
  w->image = -1;
  w->loading = false;
  spawn(w, w->birth.program, w->birth.argv);
}

static void image_path(struct watchdog *w, uint32_t number, char path[PATH_MAX]) {
  snprintf(path, PATH_MAX, "%s/images/rank-%u/%u.img", w->job_dir, w->rank, number);
}

static void start_loader(struct watchdog *w, int64_t below) {
  char loader[PATH_MAX], hash[40], path[PATH_MAX];
  w->image = exec_newest_image(w->job_dir, w->rank, below);
  if (w->image < 0) {
    report(w, json_pack("{ss si si ss}", "op", "unrestorable", "rank", w->rank, "incarnation", w->incarnation, "why",
                        below == INT64_MAX ? "it has no image" : "none of its images could be used"));
    return;
  }
  if (egd_install_find(EGD_PART_RESTART, loader) != EGD_OK) {
    report(w, json_pack("{ss si si ss+}", "op", "unrestorable", "rank", w->rank, "incarnation", w->incarnation, "why",
                        "a part of Egida is missing: ", loader));
    return;
  }
  image_path(w, (uint32_t)w->image, path);
  snprintf(hash, sizeof(hash), "--job-hash=%016llx", (unsigned long long)w->seg->job_hash);
  char *argv[] = {loader, hash, path, NULL};
  w->loading = true;
  spawn(w, loader, argv);
}

// ---- end --------------------------------------------------------------------------------------------------------------

// Ours are the agent, if this watchdog started it, and watchdogs that the agent left behind: the rank's are the others.
static bool is_of_egida(int pid) {
  char path[64], program[PATH_MAX];
  snprintf(path, sizeof(path), "/proc/%d/exe", pid);
  ssize_t n = readlink(path, program, sizeof(program) - 1);
  program[n > 0 ? n : 0] = 0;
  const char *name = strrchr(program, '/');
  return name && (strcmp(name, "/egida-agent") == 0 || strcmp(name, "/egida-exec") == 0);
}

static void kill_children_left(struct watchdog *w) {
  char path[64], line[4096];
  int writer = atomic_load(&w->cb->image_child);
  if (writer > 0 && wait4(writer, NULL, WNOHANG | __WALL, NULL) == 0) {
    kill(writer, SIGKILL);
    wait4(writer, NULL, __WALL, NULL);
  }
  atomic_store(&w->cb->image_child, 0);
  snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
  for (int round = 0; round < 16; round++) {
    FILE *file = fopen(path, "re");
    bool any = false;
    if (file && fgets(line, sizeof(line), file))
      for (char *p = line; *p > ' ';) {
        long child = strtol(p, &p, 10);
        if (child > 1 && !is_of_egida((int)child)) any = kill((pid_t)child, SIGKILL) == 0 || any;
        while (*p == ' ') p++;
      }
    if (file) fclose(file);
    if (!any) return;
    while (wait4(-1, NULL, WNOHANG | __WALL, NULL) > 0) {
    }
    usleep(1000);
  }
}

static void leave_if_done(struct watchdog *w) {
  if (w->leaving && w->pid == 0) egd_reactor_stop(w->reactor);
}

static void end_of_rank(struct watchdog *w, int status) {
  struct egd_rank_cb *cb = w->cb;
  egd_reactor_remove(w->reactor, w->pidfd);
  close(w->pidfd);
  w->pidfd = -1;
  w->pid = 0;
  bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  // A crashed rank's own children would do their work twice.
  if (!clean) kill_children_left(w);
  close_capture(w);
  if (w->pmi.fd >= 0) egd_pmi1_read(&w->pmi); // an abort may be its last word
  close_pmi(w);
  atomic_store(&cb->pid, 0);
  bool restored = !w->loading || atomic_load(&cb->restored_ns) != 0;
  if (!restored && WIFEXITED(status) && WEXITSTATUS(status) == LOADER_REFUSED && !w->leaving) {
    egd_log("rank %u: image %lld cannot be used; trying an older one", w->rank, (long long)w->image);
    start_loader(w, w->image);
    return;
  }
  atomic_store(&cb->state, clean ? EGD_RANK_FINISHED : EGD_RANK_DEAD);
  json_decref(w->death);
  w->death = json_pack("{ss si si si si sb sb si sI sI sI}", "op", "died", "rank", w->rank, "incarnation",
                       w->incarnation, "birth", w->start_up, "status", status, "restored", restored, "fault_done",
                       atomic_load(&cb->fault_done) != 0, "notes", (int)atomic_load(&cb->notes), "determinants",
                       (json_int_t)atomic_load(&cb->determinant_head), "sends", (json_int_t)atomic_load(&cb->sends),
                       "polls", (json_int_t)atomic_load(&cb->polls));
  report(w, json_incref(w->death));
  leave_if_done(w);
}

// ---- quiesce: an image of the very last state, then the end -------------------------------------------------------------

static void write_suspended(struct watchdog *w) {
  // What a finished rank did after its image would have to be replayed, and its determinants end with this node.
  if (w->pid == 0 && atomic_load(&w->cb->determinant_head) > atomic_load(&w->cb->determinant_newest)) {
    egd_log("rank %u finished after its last image; the job cannot be resumed", w->rank);
    return;
  }
  char name[64], dir[PATH_MAX];
  json_t *state = json_pack("{si sI sI}", "rank", w->rank, "image", (json_int_t)atomic_load(&w->cb->image_durable),
                            "output", (json_int_t)atomic_load(&w->cb->output_head));
  char *text = json_dumps(state, JSON_COMPACT);
  snprintf(name, sizeof(name), "rank-%u.json", w->rank);
  snprintf(dir, sizeof(dir), "%s/suspended", w->job_dir);
  if (egd_secure_mkdir(dir) != EGD_OK || !text || egd_secure_write(dir, name, text, strlen(text), true) != EGD_OK)
    egd_log("rank %u: cannot write %s/%s: %s; the job cannot be resumed", w->rank, dir, name, strerror(errno));
  free(text);
  json_decref(state);
}

static void stop_rank(struct watchdog *w) {
  w->quiesce_end_ns = 0;
  w->leaving = true;
  if (w->pid > 0) kill(w->pid, SIGKILL);
  leave_if_done(w);
}

static void on_quiesce_tick(void *arg) {
  struct watchdog *w = arg;
  struct egd_rank_cb *cb = w->cb;
  if (w->quiesce_end_ns == 0) return;
  uint64_t now_ns = egd_monotonic_ns();
  uint32_t durable = atomic_load(&cb->image_durable);
  bool done = durable >= w->quiesce_target && durable == atomic_load(&cb->image_started);
  bool finished = w->pid == 0 && atomic_load(&cb->state) == EGD_RANK_FINISHED;
  if (finished || (done && w->quiesced_once)) {
    write_suspended(w);
    stop_rank(w);
    return;
  }
  w->quiesced_once = done; // twice in a row: not the image of just before
  if (now_ns >= w->quiesce_end_ns || w->pid == 0) {
    egd_log("rank %u: no image of its last state within %llu s; the job cannot be resumed from there", w->rank,
            EXEC_QUIESCE_NS / 1000000000ull);
    stop_rank(w);
    return;
  }
  atomic_store(&cb->attention, 1);
  syscall(SYS_futex, &cb->sleeping, FUTEX_WAKE, 1, NULL, NULL, 0);
  if (now_ns >= w->quiesce_poke_ns && atomic_load(&cb->image_started) < w->quiesce_target && w->pid > 0) {
    kill(w->pid, EGD_IMAGE_SIGNAL); // it computes: interrupt it
    w->quiesce_poke_ns = now_ns + 200000000u;
  }
  egd_reactor_after(w->reactor, TICK_NS, on_quiesce_tick, w);
}

static void quiesce(struct watchdog *w) {
  if (w->quiesce_end_ns != 0) return;
  bool possible = atomic_load(&w->seg->started) && w->seg->plan.flags & EGD_PLAN_CHECKPOINT;
  if (!possible || (w->pid == 0 && atomic_load(&w->cb->state) != EGD_RANK_FINISHED)) {
    stop_rank(w);
    return;
  }
  uint64_t now_ns = egd_monotonic_ns();
  w->quiesce_end_ns = now_ns + EXEC_QUIESCE_NS;
  w->quiesce_poke_ns = now_ns + 200000000u;
  w->quiesce_target = atomic_load(&w->cb->image_started) + 1;
  w->quiesced_once = false;
  atomic_store(&w->cb->quiesce, 1);
  on_quiesce_tick(w);
}

// ---- agent ------------------------------------------------------------------------------------------------------------

static void on_command(void *arg, struct egd_link *link, json_t *message) {
  struct watchdog *w = arg;
  const char *op = json_string_value(json_object_get(message, "op"));
  if (!op) return;
  uint32_t incarnation = (uint32_t)json_integer_value(json_object_get(message, "incarnation"));
  if (strcmp(op, "run") == 0) {
    if (w->pid > 0 || w->leaving) return;
    json_decref(w->death);
    w->death = NULL;
    w->incarnation = incarnation;
    w->start_up = (uint32_t)json_integer_value(json_object_get(message, "birth"));
    if (json_is_true(json_object_get(message, "restore")))
      start_loader(w, INT64_MAX);
    else
      start_program(w);
  } else if (strcmp(op, "pmi-reply") == 0) {
    if (w->pmi.fd >= 0 && w->pmi.pending && incarnation == w->incarnation)
      egd_pmi1_reply(&w->pmi, json_is_true(json_object_get(message, "ok")),
                     json_string_value(json_object_get(message, "value")));
  } else if (strcmp(op, "kill") == 0) {
    int number = (int)json_integer_value(json_object_get(message, "signal"));
    if (w->pid > 0) kill(w->pid, number > 0 ? number : SIGKILL);
  } else if (strcmp(op, "quiesce") == 0) {
    quiesce(w);
  } else if (strcmp(op, "leave") == 0) {
    w->exit_code = (int)json_integer_value(json_object_get(message, "code"));
    stop_rank(w);
  }
}

static void on_reconnect(void *arg);

static void on_agent_closed(void *arg, struct egd_link *link) {
  struct watchdog *w = arg;
  egd_link_destroy(link);
  w->agent = NULL;
  if (w->leaving) return;
  if (w->agent_lost_ns == 0) w->agent_lost_ns = egd_monotonic_ns();
  on_reconnect(w);
}

static bool greet(struct watchdog *w) {
  static const struct egd_link_handlers handlers = {.json = on_command, .closed = on_agent_closed};
  int fd = egd_unix_connect(w->node_dir, "agent.sock");
  if (fd < 0) return false;
  if (egd_link_create(w->reactor, fd, EGD_CONTROL_MAX_BODY, &handlers, w, &w->agent) != EGD_OK) {
    close(fd);
    return false;
  }
  w->agent_lost_ns = 0;
  report(w, json_pack("{ss si si si si}", "op", "watchdog", "rank", w->rank, "pid", getpid(), "incarnation",
                      w->incarnation, "child", w->pid));
  if (w->death) report(w, json_incref(w->death));
  if (w->pmi.fd >= 0 && w->pmi.pending) forward_pmi(w);
  return true;
}

static void start_agent_again(struct watchdog *w) {
  struct exec_agent how = {.job_dir = w->job_dir,
                           .node_dir = w->node_dir,
                           .control = w->seg->control,
                           .node = w->seg->node,
                           .incarnation = atomic_load(&w->seg->agent_incarnation) + 1,
                           .adopt = true};
  exec_start_agent(&how);
}

static void on_reconnect(void *arg) {
  struct watchdog *w = arg;
  if (w->leaving || w->agent || greet(w)) return;
  if (w->seg->control[0]) start_agent_again(w);
  if (egd_monotonic_ns() - w->agent_lost_ns > EXEC_LEASE_NS && w->quiesce_end_ns == 0) {
    egd_verbose("rank %u: the lease of its agent has ended", w->rank);
    quiesce(w);
    if (w->leaving) return;
  }
  egd_reactor_after(w->reactor, RECONNECT_NS, on_reconnect, w);
}

// The batch system is about to end the job: cancelled, out of time, preempted.
static void on_term(void *arg, int fd, uint32_t events) {
  struct watchdog *w = arg;
  struct signalfd_siginfo info;
  while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
  }
  if (w->seg->control[0]) report(w, json_pack("{ss si si}", "op", "signalled", "rank", w->rank, "signal", SIGTERM));
}

static bool catch_term(struct watchdog *w, const sigset_t *term) {
  int fd = signalfd(-1, term, SFD_CLOEXEC | SFD_NONBLOCK);
  return fd >= 0 && egd_reactor_add(w->reactor, fd, EPOLLIN, on_term, w) == EGD_OK;
}

// The agent does this too; but it may be stopped or dead, and the rank must not outlive the lease.
static void on_lease_tick(void *arg) {
  struct watchdog *w = arg;
  if (egd_boottime_ns() >= atomic_load(&w->seg->lease_until_ns) && !w->leaving) {
    egd_log("rank %u: this node was given up, the rank ends here", w->rank);
    stop_rank(w);
    return;
  }
  egd_reactor_after(w->reactor, LEASE_TICK_NS, on_lease_tick, w);
}

static void on_housekeeping(void *arg) {
  struct watchdog *w = arg;
  reap(w);
  egd_reactor_after(w->reactor, 1000000000u, on_housekeeping, w);
}

static void write_pid_file(struct watchdog *w) {
  char name[64], text[32];
  snprintf(name, sizeof(name), "watchdog-%u.pid", w->rank);
  int n = snprintf(text, sizeof(text), "%d\n", getpid());
  if (egd_secure_write(w->node_dir, name, text, (size_t)n, false) != EGD_OK)
    egd_log("rank %u: cannot write %s/%s: %s; a new agent would not find this rank", w->rank, w->node_dir, name,
            strerror(errno));
}

// Where tasks come from a batch system each rank has a birth of its own.
static bool read_birth(struct watchdog *w, char *why, size_t why_size) {
  char dir[PATH_MAX];
  snprintf(dir, sizeof(dir), "%s/birth/rank-%u", w->job_dir, w->rank);
  if (access(dir, F_OK) != 0) snprintf(dir, sizeof(dir), "%s/birth", w->job_dir);
  return egd_birth_read(dir, &w->birth, why, why_size);
}

// Which rank, and its node's segment; false after a message.
static bool join_node(struct watchdog *w, int argc, char **argv) {
  char *end;
  if (exec_is_task()) {
    if (!exec_join_node(argv, &w->rank)) return false;
  } else if (argc == 2) {
    w->rank = (uint32_t)strtoul(argv[1], &end, 10);
  } else {
    fprintf(stderr, "egida-exec: it is started by egida-agent, with a rank and the node segment as descriptor %d\n",
            EGD_SEGMENT_FD);
    return false;
  }
  int status = egd_segment_map(EGD_SEGMENT_FD, &w->seg);
  if (status == EGD_OK && w->rank < w->seg->nranks) return true;
  egd_log("descriptor %d is not the node segment of a job with a rank %u (%s)", EGD_SEGMENT_FD, w->rank,
          egd_status_string(status));
  return false;
}

int main(int argc, char **argv) {
  static struct watchdog w = {.pidfd = -1, .capture = {-1, -1}, .image = -1};
  w.pmi.fd = -1;
  egd_log_set_name("egida-exec");
  // Terminals and batch systems signal whole groups and tasks; the launcher decides.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGUSR1, SIG_IGN);
  signal(SIGUSR2, SIG_IGN);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, NULL);
  if (!join_node(&w, argc, argv)) return 64;
  w.cb = egd_cb(w.seg, w.rank);
  w.job_dir = w.seg->job_dir;
  w.node_dir = w.seg->node_dir;
  char why[PATH_MAX + 128];
  if (!read_birth(&w, why, sizeof(why)) ||
      !(w.environ = exec_environment(&w.birth, w.rank, w.seg->nranks, why, sizeof(why)))) {
    egd_log("%s", why);
    return 71;
  }
  if (egd_reactor_create(&w.reactor) != EGD_OK || !catch_term(&w, &term)) return 71;
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  // Ranks write to the doorbell; without a reader, between two agents, the write would kill them.
  char doorbell[PATH_MAX];
  snprintf(doorbell, sizeof(doorbell), "%s/doorbell", w.node_dir);
  if (open(doorbell, O_RDWR | O_NONBLOCK | O_CLOEXEC) < 0) egd_log("cannot open %s: %s", doorbell, strerror(errno));
  atomic_store(&w.cb->watchdog_pid, getpid());
  write_pid_file(&w);
  if (!greet(&w)) {
    w.agent_lost_ns = egd_monotonic_ns();
    egd_reactor_after(w.reactor, RECONNECT_NS, on_reconnect, &w);
  }
  egd_reactor_after(w.reactor, 1000000000u, on_housekeeping, &w);
  on_lease_tick(&w);
  int status = egd_reactor_run(w.reactor);
  egd_link_drain(w.agent, 1000000000u);
  return status == EGD_OK ? w.exit_code : 71;
}
