// The watchdogs of this node.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/install.h"
#include "common/log.h"
#include "common/status.h"
#include "pmix_agent/agent.h"
#include "pmix_agent/control.h"

// A connection that did not say yet which rank it watches.
struct stranger {
  struct agent *agent;
  struct agent_rank *rank; // NULL: unknown
};

static void on_watchdog_end(void *arg, int fd, uint32_t events);

static struct agent *the_agent; // pidfd callbacks know only the rank

// ---- start ------------------------------------------------------------------------------------------------------------

static void watch_process(struct agent *agent, struct agent_rank *rank, int pid) {
  the_agent = agent;
  rank->watchdog_pid = pid;
  rank->watchdog_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (rank->watchdog_pidfd >= 0) {
    fcntl(rank->watchdog_pidfd, F_SETFD, FD_CLOEXEC);
    egd_reactor_add(agent->reactor, rank->watchdog_pidfd, EPOLLIN, on_watchdog_end, rank);
  }
}

static bool start_watchdog(struct agent *agent, struct agent_rank *rank) {
  char program[PATH_MAX], number[16];
  if (egd_install_find(EGD_PART_EXEC, program) != EGD_OK) {
    agent_report(agent, json_pack("{ss si ss+}", "op", "broken", "node", agent->node, "why",
                                  "a part of Egida is missing: ", program));
    return false;
  }
  snprintf(number, sizeof(number), "%u", rank->rank);
  int pid = fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(agent->segment_fd, EGD_SEGMENT_FD) == EGD_SEGMENT_FD) execl(program, "egida-exec", number, (char *)NULL);
    egd_log("cannot execute %s: %s", program, strerror(errno));
    _exit(127);
  }
  if (pid < 0) {
    agent_report(agent, json_pack("{ss si ss+}", "op", "broken", "node", agent->node, "why",
                                  "the system refuses a new process: ", strerror(errno)));
    return false;
  }
  watch_process(agent, rank, pid);
  return true;
}

static void send_run(struct agent *agent, struct agent_rank *rank) {
  rank->run_pending = false;
  egd_link_send(rank->link, json_pack("{ss si si sb}", "op", "run", "incarnation", rank->incarnation, "birth",
                                      atomic_load(&agent->seg->birth), "restore", rank->restore));
}

void agent_run_rank(struct agent *agent, uint32_t r, uint32_t incarnation, bool restore) {
  struct agent_rank *rank = &agent->ranks[r];
  rank->here = true;
  rank->incarnation = incarnation;
  rank->restore = restore;
  rank->run_pending = true;
  json_decref(rank->death);
  rank->death = NULL;
  if (rank->link)
    send_run(agent, rank);
  else if (rank->watchdog_pid == 0 && !rank->awaited)
    start_watchdog(agent, rank);
}

// ---- end --------------------------------------------------------------------------------------------------------------

static void on_watchdog_end(void *arg, int fd, uint32_t events) {
  struct agent_rank *rank = arg;
  struct agent *agent = the_agent;
  egd_reactor_remove(agent->reactor, fd);
  close(fd);
  rank->watchdog_pidfd = -1;
  waitpid(rank->watchdog_pid, NULL, WNOHANG);
  rank->watchdog_pid = 0;
  if (rank->link) egd_link_destroy(rank->link);
  rank->link = NULL;
  struct egd_rank_cb *cb = egd_cb(agent->seg, rank->rank);
  int child = atomic_load(&cb->pid);
  if (agent->ending || agent->birth_wanted != atomic_load(&agent->seg->birth)) {
    if (child > 0) kill(child, SIGKILL);
    atomic_store(&cb->pid, 0);
    return;
  }
  // The rank dies with its watchdog by the kernel's hand; nothing may follow before it is gone.
  for (int i = 0; child > 0 && kill(child, SIGKILL) == 0 && i < 1000; i++) usleep(1000);
  atomic_store(&cb->pid, 0);
  bool finished = atomic_load(&cb->state) == EGD_RANK_FINISHED;
  if (atomic_load(&cb->incarnation) != rank->incarnation) rank->run_pending = true; // told, but not begun
  if (rank->run_pending) { // it died before it could start anything
    start_watchdog(agent, rank);
    return;
  }
  if (finished) {
    start_watchdog(agent, rank); // keeps the segment
    return;
  }
  atomic_store(&cb->state, EGD_RANK_DEAD);
  agent_report(agent,
               json_pack("{ss si si si sb si sI sI sI}", "op", "died", "rank", rank->rank, "incarnation",
                         atomic_load(&cb->incarnation), "status", SIGKILL, "restored", true, "notes",
                         (int)atomic_load(&cb->notes), "determinants", (json_int_t)atomic_load(&cb->determinant_head),
                         "sends", (json_int_t)atomic_load(&cb->sends), "polls", (json_int_t)atomic_load(&cb->polls)));
}

bool agent_rank_is_dead(const struct agent *agent, uint32_t r) {
  const struct egd_rank_cb *cb = egd_cb(agent->seg, r);
  uint32_t state = atomic_load(&cb->state);
  int pid = atomic_load(&cb->pid), writer = atomic_load(&cb->image_child);
  if (writer > 0 && kill(writer, 0) == 0) return false;
  return pid == 0 && state != EGD_RANK_STARTING;
}

bool agent_is_empty(const struct agent *agent) {
  for (uint32_t r = 0; r < agent->seg->nranks; r++)
    if (agent->ranks[r].watchdog_pid > 0) return false;
  return true;
}

void agent_tell(struct agent *agent, uint32_t r, json_t *message) {
  egd_link_send(agent->ranks[r].link, message);
}

void agent_kill_rank(struct agent *agent, uint32_t r, int number) {
  struct agent_rank *rank = &agent->ranks[r];
  if (rank->link)
    agent_tell(agent, r, json_pack("{ss si}", "op", "kill", "signal", number));
  else if (rank->watchdog_pid > 0)
    kill(rank->watchdog_pid, SIGKILL);
}

// ---- connections --------------------------------------------------------------------------------------------------------

static void on_closed(void *arg, struct egd_link *link) {
  struct stranger *s = arg;
  if (s->rank && s->rank->link == link) s->rank->link = NULL; // its end is seen by the pidfd
  egd_link_destroy(link);
  free(s);
}

// Its greeting may be read after its end was seen.
static bool is_watchdog(const struct agent_rank *rank, int pid) {
  return rank->watchdog_pid > 0 ? pid == rank->watchdog_pid : kill(pid, 0) == 0;
}

static void greeted(struct agent *agent, struct agent_rank *rank, json_t *message) {
  int pid = (int)json_integer_value(json_object_get(message, "pid"));
  int child = (int)json_integer_value(json_object_get(message, "child"));
  uint32_t incarnation = (uint32_t)json_integer_value(json_object_get(message, "incarnation"));
  if (rank->watchdog_pid == 0) watch_process(agent, rank, pid);
  rank->here = true;
  rank->awaited = false;
  if (agent->ending) {
    agent_tell(agent, rank->rank, json_pack("{ss si}", "op", "leave", "code", agent->exit_code));
    return;
  }
  if (rank->run_pending && child == 0)
    send_run(agent, rank);
  else if (child > 0)
    rank->incarnation = incarnation;
  json_object_set_new(message, "node", json_integer(agent->node));
  agent_report(agent, json_incref(message));
}

static void on_json(void *arg, struct egd_link *link, json_t *message) {
  struct stranger *s = arg;
  struct agent *agent = s->agent;
  const char *op = json_string_value(json_object_get(message, "op"));
  json_int_t number = json_integer_value(json_object_get(message, "rank"));
  if (!op || number < 0 || number >= agent->seg->nranks) return;
  struct agent_rank *rank = &agent->ranks[number];
  if (!s->rank) {
    if (strcmp(op, "watchdog") != 0 || !is_watchdog(rank, (int)json_integer_value(json_object_get(message, "pid"))))
      return;
    if (rank->link) egd_link_destroy(rank->link);
    s->rank = rank;
    rank->link = link;
    greeted(agent, rank, message);
    return;
  }
  if (s->rank != rank || rank->link != link) return;
  if (strcmp(op, "died") == 0) {
    // The report of a process that was killed for a new start-up may come after the new one began.
    if (json_integer_value(json_object_get(message, "birth")) != atomic_load(&agent->seg->birth)) return;
    agent_hold_death(agent, rank->rank, message);
    return;
  }
  json_object_set_new(message, "node", json_integer(agent->node));
  agent_report(agent, json_incref(message));
}

static void on_binary(void *arg, struct egd_link *link, const unsigned char *data, size_t length) {
  struct stranger *s = arg;
  struct egd_control_head head;
  if (length < sizeof(head) || !s->rank) return;
  memcpy(&head, data, sizeof(head));
  if (head.kind == EGD_CONTROL_RAW && head.rank == s->rank->rank)
    egd_link_send_binary(s->agent->launcher, data, length, NULL, 0);
}

void agent_accept(struct agent *agent) {
  static const struct egd_link_handlers handlers = {.json = on_json, .binary = on_binary, .closed = on_closed};
  int fd = egd_unix_accept(agent->listener);
  if (fd < 0) return;
  struct stranger *s = calloc(1, sizeof(*s));
  struct egd_link *link;
  if (s) s->agent = agent;
  if (!s || egd_link_create(agent->reactor, fd, EGD_CONTROL_MAX_BODY, &handlers, s, &link) != EGD_OK) {
    free(s);
    close(fd);
  }
}

// ---- a new agent on a living node -----------------------------------------------------------------------------------------

// Only a segment of this very job counts: process ids are used again.
static bool is_ours(int fd, uint64_t job_hash, const char *node_dir) {
  struct egd_segment *seg = mmap(NULL, sizeof(*seg), PROT_READ, MAP_SHARED, fd, 0);
  if (seg == MAP_FAILED) return false;
  bool ours = seg->magic == EGD_SEGMENT_MAGIC && seg->job_hash == job_hash && strcmp(seg->node_dir, node_dir) == 0;
  munmap(seg, sizeof(*seg));
  return ours;
}

static int pid_in(const char *node_dir, const char *name) {
  char path[PATH_MAX];
  int pid = 0;
  snprintf(path, sizeof(path), "%s/%s", node_dir, name);
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  if (fscanf(file, "%d", &pid) != 1) pid = 0;
  fclose(file);
  return pid;
}

int agent_find_segment(const char *node_dir, uint64_t job_hash) {
  int found = -1;
  DIR *dir = opendir(node_dir);
  for (struct dirent *entry; dir && found < 0 && (entry = readdir(dir));) {
    if (strncmp(entry->d_name, "watchdog-", 9) != 0) continue;
    char path[64];
    int pid = pid_in(node_dir, entry->d_name);
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, EGD_SEGMENT_FD);
    int fd = pid > 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0 && is_ours(fd, job_hash, node_dir))
      found = fd;
    else if (fd >= 0)
      close(fd);
  }
  if (dir) closedir(dir);
  return found;
}

// They connect by themselves; until then at least their end must be seen.
void agent_adopt_watchdogs(struct agent *agent) {
  for (uint32_t r = 0; r < agent->seg->nranks; r++) {
    char name[64];
    snprintf(name, sizeof(name), "watchdog-%u.pid", r);
    int pid = pid_in(agent->node_dir, name);
    if (pid <= 0 || pid != atomic_load(&egd_cb(agent->seg, r)->watchdog_pid)) continue;
    struct agent_rank *rank = &agent->ranks[r];
    rank->here = true;
    rank->incarnation = atomic_load(&egd_cb(agent->seg, r)->incarnation);
    rank->offered = atomic_load(&egd_cb(agent->seg, r)->output_acked);
    atomic_store(&egd_cb(agent->seg, r)->output_taken, rank->offered);
    watch_process(agent, rank, pid);
    if (rank->watchdog_pidfd < 0) { // it died while there was no agent
      rank->watchdog_pid = 0;
      start_watchdog(agent, rank);
      agent_report(agent, json_pack("{ss si si si sb si sI sI sI}", "op", "died", "rank", r, "incarnation",
                                    rank->incarnation, "status", SIGKILL, "restored", true, "notes", 0, "determinants",
                                    (json_int_t)0, "sends", (json_int_t)0, "polls", (json_int_t)0));
    }
  }
}
