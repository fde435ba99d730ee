// egida doctor: can Egida work here, and for this user? On this host, and within a Slurm allocation on each of its nodes.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <jansson.h>
#include "cli/commands.h"
#include "cli/doctor.h"
#include "common/log.h"
#include "common/securepath.h"
#include "common/status.h"
#include "config.h"

#define SKEW_NS 1000000000ll // clocks of nodes further apart make times in messages hard to compare

struct request {
  const char *dir, *token;
  bool json, on_node;
  char **program; // and arguments; may be empty
};

static void usage(FILE *to) {
  fputs("usage: egida doctor [OPTIONS] [PROGRAM]\n\n"
        "Checks whether Egida can protect this user's programs here, and says what to mend: the installation, the "
        "kernel,\n"
        "limits, folders, MPI, Slurm's plugin, egida-restartd. Within a Slurm allocation (salloc, sbatch) also on each "
        "of\n"
        "its nodes: versions, the shared folder, clocks.\n\n"
        "      --dir=DIR   folder of jobs that the nodes must share (default ./.egida or $EGIDA_DIR)\n"
        "      --json      JSON\n"
        "      --help\n\n"
        "Exit code: 0 nothing to mend; 1 otherwise.\n",
        to);
}

static bool parse(int argc, char **argv, struct request *request, int *ret_exit) {
  enum { DIR_OPTION = 256, JSON, NODE, HELP };
  static const struct option options[] = {{"dir", required_argument, NULL, DIR_OPTION},
                                          {"json", no_argument, NULL, JSON},
                                          {"on-node", required_argument, NULL, NODE},
                                          {"help", no_argument, NULL, HELP},
                                          {0}};
  const char *dir = getenv("EGIDA_DIR");
  request->dir = dir && *dir ? dir : ".egida";
  *ret_exit = 1;
  opterr = 0;
  optind = 1;
  for (int c; (c = getopt_long(argc, argv, "+:", options, NULL)) != -1;) {
    switch (c) {
    case DIR_OPTION:
      request->dir = optarg;
      break;
    case JSON:
      request->json = true;
      break;
    case NODE: // this is the part of another doctor
      request->on_node = true;
      request->token = optarg;
      break;
    case HELP:
      usage(stdout);
      *ret_exit = 0;
      return false;
    default:
      egd_log("doctor: %s %s; 'egida doctor --help' tells more", argv[optind - 1],
              c == ':' ? "needs a value" : "is no option");
      return false;
    }
  }
  request->program = argv + optind;
  return true;
}

// ---- findings -----------------------------------------------------------------------------------------------------------

static const char *const words[] = {[DOCTOR_GOOD] = "good", [DOCTOR_NOTE] = "note", [DOCTOR_BAD] = "BAD"};

void doctor_find(json_t *findings, enum doctor_verdict verdict, const char *what, const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  json_array_append_new(findings, json_pack("{ss ss ss}", "check", what, "verdict", words[verdict], "text", text));
}

static bool print_findings(const char *host, json_t *findings) {
  size_t i;
  json_t *finding;
  bool good = true;
  json_array_foreach(findings, i, finding) {
    const char *verdict = json_string_value(json_object_get(finding, "verdict"));
    good &= strcmp(verdict, words[DOCTOR_BAD]) != 0;
    printf("%-12s %-5s %-14s %s\n", host, verdict, json_string_value(json_object_get(finding, "check")),
           json_string_value(json_object_get(finding, "text")));
  }
  return good;
}

// ---- the folder that nodes share ------------------------------------------------------------------------------------------

static bool has_token(const struct request *request) {
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/doctor-%s", request->dir, request->token);
  return access(path, R_OK) == 0;
}

static void look_at_folder(const struct request *request, json_t *findings) {
  char name[64];
  errno = 0;
  if (request->on_node && !has_token(request)) {
    doctor_find(findings, DOCTOR_BAD, "shared folder",
                "%s is not the folder that the other hosts see; --dir (and --egida-dir) must name one on a shared disk",
                request->dir);
    return;
  }
  int status = egd_secure_mkdir(request->dir);
  snprintf(name, sizeof(name), "doctor-%d", (int)getpid());
  if (status == EGD_OK) status = egd_secure_write(request->dir, name, "egida\n", 6, true);
  if (status != EGD_OK) {
    doctor_find(findings, DOCTOR_BAD, "folder", "cannot write to %s: %s; --dir names another folder", request->dir,
                status == EGD_ERR_PERMISSION && errno == EPERM
                    ? "it must be a folder of your own, closed to others (chmod 700)"
                    : strerror(errno));
    return;
  }
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/%s", request->dir, name);
  unlink(path);
  doctor_find(findings, DOCTOR_GOOD, request->on_node ? "shared folder" : "folder", "%s can be written", request->dir);
}

// ---- one host --------------------------------------------------------------------------------------------------------------

static json_t *examine(const struct request *request) {
  json_t *findings = json_array();
  doctor_look_at_installation(findings);
  doctor_look_at_kernel(findings);
  doctor_look_at_limits(findings);
  look_at_folder(request, findings);
  doctor_look_at_mpi(findings, request->program[0]);
  if (!request->on_node) doctor_look_at_slurm(findings);
  doctor_look_at_service(findings);
  return findings;
}

static json_t *report_of(json_t *findings) {
  char host[HOST_NAME_MAX + 1] = "";
  struct timespec now;
  gethostname(host, sizeof(host) - 1);
  clock_gettime(CLOCK_REALTIME, &now);
  return json_pack("{ss ss sI so}", "host", host, "version", PACKAGE_VERSION, "time_ns",
                   (json_int_t)now.tv_sec * 1000000000 + now.tv_nsec, "findings", findings);
}

// ---- the nodes of an allocation ---------------------------------------------------------------------------------------------

static void compare(json_t *report, json_int_t before_ns, json_int_t after_ns) {
  json_t *findings = json_object_get(report, "findings");
  const char *version = json_string_value(json_object_get(report, "version"));
  json_int_t time_ns = json_integer_value(json_object_get(report, "time_ns"));
  if (!version || strcmp(version, PACKAGE_VERSION) != 0)
    doctor_find(findings, DOCTOR_BAD, "version", "egida %s here, %s where srun runs; install the same",
                version ? version : "unknown", PACKAGE_VERSION);
  json_int_t skew_ns = time_ns < before_ns ? before_ns - time_ns : time_ns > after_ns ? time_ns - after_ns : 0;
  if (skew_ns > SKEW_NS)
    doctor_find(findings, DOCTOR_NOTE, "clock",
                "%.1f s off; leases don't use it, but times in the history will not fit (chrony, ntp)",
                (double)skew_ns / 1e9);
}

static json_int_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (json_int_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// One line of JSON from each node. The number of nodes that did not answer.
static unsigned examine_nodes(const struct request *request, const char *self, json_t *reports) {
  const char *nodes = getenv("SLURM_JOB_NUM_NODES");
  char dir[PATH_MAX], command[3 * PATH_MAX], *line = NULL, token[17];
  unsigned long expected = nodes ? strtoul(nodes, NULL, 10) : 1;
  unsigned char noise[8] = {0};
  if (getrandom(noise, sizeof(noise), 0) < 0) return (unsigned)expected;
  for (int i = 0; i < 8; i++) sprintf(token + 2 * i, "%02x", noise[i]);
  snprintf(command, sizeof(command), "doctor-%s", token);
  if (!realpath(request->dir, dir) || egd_secure_write(dir, command, "", 0, true) != EGD_OK) return (unsigned)expected;
  snprintf(command, sizeof(command),
           "timeout 60 srun --overlap --nodes=%lu --ntasks=%lu --ntasks-per-node=1 --mpi=none --input=none '%s' "
           "doctor --json --on-node=%s --dir='%s'",
           expected, expected, self, token, dir);
  json_int_t before_ns = now_ns();
  FILE *pipe = popen(command, "r");
  size_t size = 0;
  unsigned answered = 0;
  while (pipe && getline(&line, &size, pipe) > 0) {
    json_t *report = json_loads(line, 0, NULL);
    if (!report) continue;
    compare(report, before_ns, now_ns());
    json_array_append_new(reports, report);
    answered++;
  }
  free(line);
  if (pipe) pclose(pipe);
  snprintf(command, sizeof(command), "%s/doctor-%s", dir, token);
  unlink(command);
  return answered < expected ? (unsigned)expected - answered : 0;
}

// ---- the command -----------------------------------------------------------------------------------------------------------

int egida_cmd_doctor(int argc, char **argv) {
  struct request request = {0};
  char self[PATH_MAX];
  int exit_code;
  egd_log_set_name("egida");
  if (!parse(argc, argv, &request, &exit_code)) return exit_code;
  json_t *reports = json_array();
  json_array_append_new(reports, report_of(examine(&request)));
  if (request.on_node) {
    json_dumpf(json_array_get(reports, 0), stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(reports);
    return 0;
  }
  ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
  bool in_allocation = getenv("SLURM_JOB_ID") && n > 0;
  if (in_allocation) {
    self[n] = 0;
    unsigned silent = examine_nodes(&request, self, reports);
    if (silent > 0)
      doctor_find(json_object_get(json_array_get(reports, 0), "findings"), DOCTOR_BAD, "nodes",
                  "%u node(s) of the allocation did not answer (srun's message is above); is %s there too?", silent,
                  self);
  }
  bool good = true;
  size_t i, j;
  json_t *report, *finding;
  if (request.json) json_dumpf(reports, stdout, JSON_INDENT(1)), putchar('\n');
  json_array_foreach(reports, i, report) {
    json_t *findings = json_object_get(report, "findings");
    if (!request.json) good &= print_findings(json_string_value(json_object_get(report, "host")), findings);
    json_array_foreach(findings, j, finding) good &=
        strcmp(json_string_value(json_object_get(finding, "verdict")), words[DOCTOR_BAD]) != 0;
  }
  if (!request.json) {
    printf("%s\n", good ? "Egida can work here." : "What is BAD above must be mended first.");
    if (!in_allocation) printf("For the nodes: salloc -N 2 egida doctor\n");
  }
  json_decref(reports);
  return good ? 0 : 1;
}
