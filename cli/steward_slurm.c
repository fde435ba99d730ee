// What Slurm tells about a step's nodes, and how an agent gets to a node that has no task of ours.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/run.h"
#include "cli/steward.h"
#include "common/install.h"
#include "common/log.h"
#include "common/status.h"

// ---- hosts --------------------------------------------------------------------------------------------------------------

// The output of a command of Slurm, at most `size` - 1 bytes; false after a message.
static bool read_command(const char *const *argv, char *text, size_t size) {
  int fds[2], status = 0;
  if (pipe2(fds, O_CLOEXEC) != 0) {
    egd_log("no pipe is left: %s", strerror(errno));
    return false;
  }
  int pid = fork();
  if (pid == 0) {
    dup2(fds[1], STDOUT_FILENO);
    execvp(argv[0], (char *const *)argv);
    egd_log("cannot execute %s: %s; are Slurm's commands in $PATH?", argv[0], strerror(errno));
    _exit(127);
  }
  close(fds[1]);
  size_t length = 0;
  for (ssize_t n; (n = read(fds[0], text + length, size - 1 - length)) != 0 && length < size - 1;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0) length += (size_t)n;
  }
  close(fds[0]);
  text[length] = 0;
  if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  egd_log("%s %s failed; Egida needs to know the nodes of the job", argv[0], argv[1]);
  return false;
}

static bool expand(const char *list, struct steward_hosts *ret_hosts) {
  static char text[1 << 20];
  const char *const argv[] = {"scontrol", "show", "hostnames", list, NULL};
  if (!read_command(argv, text, sizeof(text))) return false;
  struct steward_hosts hosts = {0};
  char *state = NULL;
  for (char *name = strtok_r(text, "\n", &state); name; name = strtok_r(NULL, "\n", &state)) {
    char **more = realloc(hosts.names, (hosts.count + 1) * sizeof(*more));
    if (more) hosts.names = more;
    if (!more || !(hosts.names[hosts.count] = strdup(name))) {
      egd_log("out of memory");
      return false;
    }
    hosts.count++;
  }
  *ret_hosts = hosts;
  return true;
}

// The value of `name` in what `scontrol show` printed: NAME=VALUE or NAME = VALUE, to the next space.
static bool field(const char *text, const char *name, char *value, size_t size) {
  size_t length = strlen(name);
  for (const char *p = text; (p = strstr(p, name)); p += length) {
    const char *sign = p + length + strspn(p + length, " ");
    if ((p != text && p[-1] != ' ' && p[-1] != '\n') || *sign != '=') continue;
    sign += 1 + strspn(sign + 1, " ");
    snprintf(value, size, "%.*s", (int)strcspn(sign, " \n"), sign);
    return true;
  }
  return false;
}

static bool show(const char *what, const char *id, const char *name, char *value, size_t size) {
  static char text[1 << 20];
  const char *const argv[] = {"scontrol", "show", what, id, NULL};
  if (!read_command(argv, text, sizeof(text))) return false;
  if (field(text, name, value, size)) return true;
  egd_log("scontrol show %s %s does not tell %s", what, id ? id : "", name);
  return false;
}

static bool binds_tasks; // Slurm binds tasks to processors, and complains about --cpu-bind if it does not

bool steward_find_hosts(const struct steward_step *step, struct steward_hosts *ret_used,
                        struct steward_hosts *ret_free) {
  static char list[1 << 16];
  char id[48], plugin[256];
  struct steward_hosts all;
  snprintf(id, sizeof(id), "%u.%u", step->job, step->step);
  if (!show("step", id, "NodeList", list, sizeof(list)) || !expand(list, ret_used)) return false;
  snprintf(id, sizeof(id), "%u", step->job);
  if (!show("job", id, "NodeList", list, sizeof(list)) || !expand(list, &all)) return false;
  if (!show("config", NULL, "TaskPlugin", plugin, sizeof(plugin))) return false;
  binds_tasks = strcmp(plugin, "task/none") != 0 && strcmp(plugin, "(null)") != 0;
  *ret_free = (struct steward_hosts){calloc(all.count + 1, sizeof(char *)), 0};
  for (uint32_t i = 0; ret_free->names && i < all.count; i++) {
    bool used = false;
    for (uint32_t j = 0; j < ret_used->count; j++) used |= strcmp(all.names[i], ret_used->names[j]) == 0;
    if (!used) ret_free->names[ret_free->count++] = all.names[i];
  }
  return ret_free->names != NULL;
}

// ---- agents -------------------------------------------------------------------------------------------------------------

// Options of the user's srun must not become those of ours; --jobid tells it all.
static char **agent_environment(void) {
  size_t count = 0;
  while (environ[count]) count++;
  char **list = calloc(count + 1, sizeof(*list)), **p = list;
  for (char **e = environ; list && *e; e++)
    if (strncmp(*e, "SLURM_CONF=", 11) == 0 || (strncmp(*e, "SLURM", 5) != 0 && strncmp(*e, "SRUN_", 5) != 0))
      *p++ = *e;
  return list;
}

int steward_start_agent(const struct steward_step *step, uint32_t node, const char *host, uint32_t incarnation) {
  static bool tried[RUN_MAX_NODES];
  bool again = node < step->nodes || tried[node];
  tried[node] = true;
  char program[PATH_MAX], job[32], where[300], number[16], birth[16], control[EGD_TCP_ADDRESS + 16];
  if (egd_install_find(EGD_PART_AGENT, program) != EGD_OK) {
    egd_log("a part of Egida is missing: %s; install it anew, or set EGIDA_LIBDIR to the folder that has it", program);
    return -1;
  }
  snprintf(job, sizeof(job), "--jobid=%u", step->job);
  snprintf(where, sizeof(where), "--nodelist=%s", host);
  snprintf(number, sizeof(number), "%u", node);
  snprintf(birth, sizeof(birth), "%u", incarnation);
  snprintf(control, sizeof(control), "--control=%s", step->control);
  char **environment = agent_environment();
  // An agent's ranks may use all that the job has on the node.
  const char *argv[24] = {"srun",    job,       where,       "--overlap",  "--nodes=1",    "--ntasks=1",  "--whole",
                          "--mem=0", "--quiet", "--no-kill", "--mpi=none", "--input=none", "--unbuffered"};
  const char *const agent[] = {program, control, step->job_dir, number, birth};
  size_t n = 13;
  if (binds_tasks) argv[n++] = "--cpu-bind=none";
  memcpy(argv + n, agent, sizeof(agent));
  int pid = environment ? fork() : -1;
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (again && !egd_log_is_verbose()) { // that the node is lost was said; each attempt would say it again
      int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
      dup2(nowhere, STDERR_FILENO);
    }
    execvpe(argv[0], (char *const *)argv, environment);
    egd_log("cannot execute srun: %s; are Slurm's commands in $PATH?", strerror(errno));
    _exit(127);
  }
  free(environment);
  if (pid < 0) egd_log("the system refuses a new process: %s; is there a limit (ulimit -u)?", strerror(errno));
  return pid;
}

// ---- this machine's address ---------------------------------------------------------------------------------------------

static bool print_address(const struct sockaddr *address, char text[EGD_TCP_ADDRESS]) {
  char host[INET6_ADDRSTRLEN];
  bool is_v6 = address->sa_family == AF_INET6;
  if (getnameinfo(address, is_v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in), host, sizeof(host), NULL,
                  0, NI_NUMERICHOST) != 0)
    return false;
  snprintf(text, EGD_TCP_ADDRESS, is_v6 ? "[%s]:0" : "%s:0", host);
  return true;
}

static bool address_of_interface(const char *name, char text[EGD_TCP_ADDRESS]) {
  struct ifaddrs *list = NULL;
  bool found = false;
  if (getifaddrs(&list) != 0) return false;
  for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next)
    if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && strcmp(i->ifa_name, name) == 0)
      found = print_address(i->ifa_addr, text);
  freeifaddrs(list);
  return found;
}

// No packet is sent: the kernel only chooses the route.
static bool address_towards(const char *host, char text[EGD_TCP_ADDRESS]) {
  struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *info = NULL;
  struct sockaddr_storage own;
  socklen_t size = sizeof(own);
  bool found = false;
  if (getaddrinfo(host, "9", &hints, &info) != 0) return false;
  for (const struct addrinfo *i = info; i && !found; i = i->ai_next) {
    int fd = socket(i->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    found = connect(fd, i->ai_addr, i->ai_addrlen) == 0 && getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
            print_address((struct sockaddr *)&own, text);
    close(fd);
  }
  freeaddrinfo(info);
  return found;
}

bool steward_own_address(const char *listen, const char *host, char address[EGD_TCP_ADDRESS]) {
  struct addrinfo *info = NULL;
  if (listen) {
    if (address_of_interface(listen, address)) return true;
    snprintf(address, EGD_TCP_ADDRESS, strchr(listen, ':') ? "[%s]:0" : "%s:0", listen);
    if (strlen(listen) + 4 < EGD_TCP_ADDRESS && egd_tcp_resolve(address, true, &info) == EGD_OK) {
      freeaddrinfo(info);
      return true;
    }
    egd_log("--listen=%s is neither an interface of this machine nor a numeric address", listen);
    return false;
  }
  if (address_towards(host, address)) return true;
  egd_log("the address of %s is not known here, so nor is that by which it reaches this machine; listen=HOST|INTERFACE "
          "in Slurm's plugstack.conf tells it",
          host);
  return false;
}
