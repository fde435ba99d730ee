// What `egida doctor` looks at on one host.
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/doctor.h"
#include "cli/run.h"
#include "common/config.h"
#include "common/install.h"
#include "common/link.h"
#include "common/nodedir.h"
#include "common/segment.h"
#include "common/status.h"
#include "common/tcp.h"
#include "config.h"

#define CONNECT_NS 1000000000ull
#define DESCRIPTORS (EGD_SEGMENT_FD + 8) // the runtime's own have fixed numbers

// ---- installation ---------------------------------------------------------------------------------------------------------

void doctor_look_at_installation(json_t *findings) {
  static const enum egd_install_part parts[] = {EGD_PART_AGENT, EGD_PART_EXEC, EGD_PART_RESTART, EGD_PART_RUNTIME,
                                                EGD_PART_STUBS};
  char path[PATH_MAX] = "";
  for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
    if (egd_install_find(parts[i], path) == EGD_OK) continue;
    doctor_find(findings, DOCTOR_BAD, "installation", "%s is missing; install Egida anew, or set EGIDA_LIBDIR", path);
    return;
  }
  doctor_find(findings, DOCTOR_GOOD, "installation", "egida %s is complete", PACKAGE_VERSION);
}

// ---- kernel ---------------------------------------------------------------------------------------------------------------

// Run `probe` in a child, because it changes its process. 0, or an errno.
static int try(int (*probe)(void)) {
  int pid = fork(), status = 0;
  if (pid == 0) _exit(probe() & 0xff);
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT;
}

static int dispatch_calls(void) {
  static volatile char selector; // 0 = allow
  return prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &selector) == 0 ? 0 : errno;
}
static int switch_randomisation_off(void) {
  return personality(ADDR_NO_RANDOMIZE) >= 0 ? 0 : errno;
}
static int map_segment(void) {
  int fd = (int)syscall(SYS_memfd_create, "egida-doctor", 0);
  if (fd < 0 || ftruncate(fd, (off_t)egd_segment_size(64)) != 0) return errno;
  void *at = mmap((void *)EGD_SEGMENT_BASE, egd_segment_size(64), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);
  if (at == MAP_FAILED) return errno;
  memset(at, 1, 4096);
  return 0;
}
static int open_pidfd(void) {
  return syscall(SYS_pidfd_open, getpid(), 0) >= 0 ? 0 : errno;
}

void doctor_look_at_kernel(json_t *findings) {
  static const struct {
    int (*probe)(void);
    const char *name, *advice;
  } probes[] = {
      {dispatch_calls, "syscall user dispatch", "Linux 5.11 or later is needed, and no seccomp filter that forbids it"},
      {switch_randomisation_off, "personality(ADDR_NO_RANDOMIZE)", "a container's seccomp filter may forbid it"},
      {map_segment, "mapping 16 TiB of sparse shared memory",
       "vm.overcommit_memory=2 or a limit (ulimit -v) forbids it"},
      {open_pidfd, "pidfd_open", "Linux 5.3 or later is needed"},
  };
  struct utsname name;
  bool good = true;
  for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
    int error = try(probes[i].probe);
    if (!error) continue;
    good = false;
    doctor_find(findings, DOCTOR_BAD, "kernel", "%s: %s; %s", probes[i].name, strerror(error), probes[i].advice);
  }
  if (uname(&name) != 0 || !good) return;
  if (strcmp(name.machine, "x86_64") != 0)
    doctor_find(findings, DOCTOR_BAD, "kernel", "this machine is %s; images are for x86_64 only", name.machine);
  else
    doctor_find(findings, DOCTOR_GOOD, "kernel", "Linux %s has what images and interposition need", name.release);
}

// ---- limits ---------------------------------------------------------------------------------------------------------------

void doctor_look_at_limits(json_t *findings) {
  struct rlimit files, space;
  char path[PATH_MAX];
  getrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_AS, &space);
  bool good = files.rlim_cur >= DESCRIPTORS && space.rlim_cur == RLIM_INFINITY;
  if (files.rlim_cur < DESCRIPTORS)
    doctor_find(findings, DOCTOR_BAD, "limits", "open files: %llu, %d are needed (ulimit -n 1024)",
                (unsigned long long)files.rlim_cur, DESCRIPTORS);
  if (space.rlim_cur != RLIM_INFINITY)
    doctor_find(findings, DOCTOR_BAD, "limits", "virtual memory is limited (ulimit -v); it must be unlimited");
  if (egd_node_dir("/x/doctor", 0, path) != EGD_OK) {
    good = false;
    doctor_find(findings, DOCTOR_BAD, "local folder", "cannot use %s: %s; $TMPDIR may name another place", path,
                strerror(errno));
  }
  if (good) doctor_find(findings, DOCTOR_GOOD, "limits", "open files, virtual memory and the node's folder will do");
}

// ---- MPI ------------------------------------------------------------------------------------------------------------------

static bool output_has(const char *command, const char *word, char *line, size_t size) {
  FILE *pipe = popen(command, "r");
  bool found = false;
  while (pipe && fgets(line, (int)size, pipe))
    if (strstr(line, word)) {
      found = true;
      break;
    }
  if (pipe) pclose(pipe);
  line[strcspn(line, "\n")] = 0;
  return found;
}

void doctor_look_at_mpi(json_t *findings, const char *program) {
  char line[1024] = "", path[PATH_MAX];
  if (program) {
    if (run_program_find(program, path)) // says itself what is wrong
      doctor_find(findings, DOCTOR_GOOD, "program", "%s can be protected as far as its file tells", path);
    else
      doctor_find(findings, DOCTOR_BAD, "program", "%s cannot be protected (see the message)", program);
  }
  if (output_has("PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null", "libmpich.so.12", line, sizeof(line)))
    doctor_find(findings, DOCTOR_GOOD, "MPI", "MPICH:%s", strrchr(line, '>') ? strrchr(line, '>') + 1 : line);
  else
    doctor_find(
        findings, program ? DOCTOR_NOTE : DOCTOR_BAD, "MPI",
        "no MPICH (libmpich.so.12) where the loader looks; programs built with MPICH ch4:ucx are what this version "
        "protects (Debian: apt-get install libmpich-dev)");
}

// ---- Slurm ----------------------------------------------------------------------------------------------------------------

void doctor_look_at_slurm(json_t *findings) {
  char version[128] = "", line[1024] = "";
  if (!output_has("command -v srun", "srun", line, sizeof(line)))
    doctor_find(findings, DOCTOR_NOTE, "Slurm", "no srun in $PATH; 'egida run' works without Slurm");
  else if (!output_has("srun --version 2>/dev/null", "slurm", version, sizeof(version)))
    doctor_find(findings, DOCTOR_NOTE, "Slurm", "%s is there, but has no configuration (slurm.conf) on this host",
                line);
  else if (output_has("srun --help 2>/dev/null", "--egida-spec", line, sizeof(line)))
    doctor_find(findings, DOCTOR_GOOD, "Slurm", "%s, with Egida's plugin", version);
  else
    doctor_find(
        findings, DOCTOR_BAD, "Slurm",
        "%s without Egida's plugin: srun has no --egida-spec; plugstack.conf on this host and the nodes must name "
        "spank_egida.so (egida-srun(1))",
        version);
}

// ---- egida-restartd -------------------------------------------------------------------------------------------------------

void doctor_look_at_service(json_t *findings) {
  struct egd_config config;
  bool good = egd_config_load(&config, NULL) && egd_config_check(&config);
  const char *address = good ? config.control_service : "";
  if (!good) {
    doctor_find(findings, DOCTOR_BAD, "configuration", "it has errors (see the message); 'egida config' shows it");
  } else if (!*address) {
    doctor_find(findings, DOCTOR_NOTE, "egida-restartd",
                "not configured (ControlService in %s): jobs are protected all the same, their history stays in their "
                "folders",
                egd_config_file());
  } else {
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", address);
    char *slash = strrchr(dir, '/');
    if (slash) *slash = 0;
    int fd = slash ? egd_unix_connect(*dir ? dir : "/", slash + 1) : egd_tcp_connect(address, CONNECT_NS);
    if (fd >= 0)
      doctor_find(findings, DOCTOR_GOOD, "egida-restartd", "%s answers", address);
    else
      doctor_find(findings, DOCTOR_BAD, "egida-restartd", "%s: %s; is the service running, and the address right?",
                  address, strerror(errno));
    if (fd >= 0) close(fd);
  }
  egd_config_clear(&config);
}
