// The folder of a job: DIR/jobs/ID with all that agents and watchdogs read (docs/formats/control.md).
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <jansson.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "cli/run.h"
#include "common/birth.h"
#include "common/log.h"
#include "common/securepath.h"
#include "common/status.h"

#define SECRET_SIZE 32
#define AGENT_PATH_MAX 480 // the node segment holds paths of 511 bytes

static bool complain(const char *what, const char *path, int status) {
  const char *space = *path ? " " : "";
  if (errno == EROFS)
    egd_log("%s%s%s: the file system is read-only; %sdir names another folder", what, space, path, run_option_prefix());
  else if (status == EGD_ERR_NO_SPACE || errno == ENOSPC || errno == EDQUOT)
    egd_log("%s%s%s: no space is left; 'egida clean' removes old jobs, %sdir names another folder", what, space, path,
            run_option_prefix());
  else if (status == EGD_ERR_PERMISSION && errno == EPERM)
    egd_log("%s%s%s: it must be a folder of your own, closed to others (chmod 700); %sdir names another one", what,
            space, path, run_option_prefix());
  else
    egd_log("%s%s%s: %s; %sdir names another folder", what, space, path, strerror(errno), run_option_prefix());
  return false;
}

static bool make_folder(const char *path) {
  errno = 0;
  int status = egd_secure_mkdir(path);
  return status == EGD_OK || complain("cannot use the folder", path, status);
}

static bool write_file(const char *dir, const char *name, const void *data, size_t length) {
  errno = 0;
  int status = egd_secure_write(dir, name, data, length, true);
  if (status == EGD_OK) return true;
  char path[2 * PATH_MAX];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  return complain("cannot write", path, status);
}

bool run_folder_open(const char *dir, struct run_job *job) {
  char path[PATH_MAX + 16];
  if (!make_folder(dir)) return false;
  if (!realpath(dir, job->dir)) {
    egd_log("%s: %s", dir, strerror(errno));
    return false;
  }
  if (strlen(job->dir) + sizeof("/jobs/") + 24 > AGENT_PATH_MAX) {
    egd_log("the path %s is too long (at most %d bytes); %sdir names another folder", job->dir, AGENT_PATH_MAX - 32,
            run_option_prefix());
    return false;
  }
  snprintf(path, sizeof(path), "%s/lock", job->dir);
  job->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (job->lock_fd < 0) return complain("cannot write", path, EGD_ERR_IO);
  if (flock(job->lock_fd, LOCK_EX | LOCK_NB) == 0) return true;
  egd_log("another job uses the folder %s; wait for its end ('egida status'), or give this one its own by %sdir",
          job->dir, run_option_prefix());
  return false;
}

static void make_id(struct run_job *job) {
  unsigned char noise[2] = {0};
  time_t now = time(NULL);
  struct tm tm;
  localtime_r(&now, &tm);
  if (getrandom(noise, sizeof(noise), 0) < 0) noise[0] = (unsigned char)getpid();
  size_t n = strftime(job->id, sizeof(job->id), "%Y%m%d-%H%M%S", &tm);
  snprintf(job->id + n, sizeof(job->id) - n, "-%02x%02x", noise[0], noise[1]);
}

// ---- birth ----------------------------------------------------------------------------------------------------------

extern char **environ;

static bool write_birth(const struct run_job *job, const struct run_options *options, const char *program) {
  char dir[PATH_MAX + 16], why[2 * PATH_MAX];
  snprintf(dir, sizeof(dir), "%s/birth", job->job_dir);
  if (options->allow_degraded) setenv("EGIDA_ALLOW_DEGRADED", "1", 1);
  int status = egd_birth_write(dir, program, options->argv, environ, why, sizeof(why));
  return status == EGD_OK || complain(why, "", status);
}

// ---- job.json ---------------------------------------------------------------------------------------------------------

static void hex(char *to, const void *data, size_t length) {
  for (size_t i = 0; i < length; i++) sprintf(to + 2 * i, "%02x", ((const unsigned char *)data)[i]);
}

// Steals it.
static bool write_json(const struct run_job *job, json_t *root) {
  char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
  json_decref(root);
  bool good = text && write_file(job->job_dir, "job.json", text, strlen(text));
  free(text);
  return good;
}

static bool write_job(const struct run_job *job, const struct run_options *options, const struct egd_plan *plan,
                      const unsigned char *secret) {
  char plan_text[2 * sizeof(*plan) + 1], hash[20];
  unsigned char key[RUN_JOB_ID_SIZE + SECRET_SIZE] = {0};
  memcpy(key, job->id, strlen(job->id));
  memcpy(key + RUN_JOB_ID_SIZE, secret, SECRET_SIZE);
  snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)XXH3_64bits(key, sizeof(key)));
  hex(plan_text, plan, sizeof(*plan));
  json_t *root = json_pack("{ss ss si si si si sI ss sb sb sb ss sI}", "id", job->id, "hash", hash, "nranks",
                           options->nranks, "nodes", options->nodes + options->spares, "spares", options->spares,
                           "max_restarts", options->max_restarts, "log_limit", (json_int_t)options->log_limit, "plan",
                           plan_text, "divergence_warn", options->divergence_warn, "label", options->label, "verbose",
                           options->verbose, "spec", options->spec, "slurm_job", (json_int_t)options->slurm_job);
  return write_json(job, root);
}

static bool make_image_folders(const struct run_job *job, uint32_t nranks) {
  char path[PATH_MAX + 64];
  snprintf(path, sizeof(path), "%s/images", job->job_dir);
  bool good = make_folder(path);
  for (uint32_t r = 0; good && r < nranks; r++) {
    snprintf(path, sizeof(path), "%s/images/rank-%u", job->job_dir, r);
    good = make_folder(path);
  }
  return good;
}

bool run_job_create(struct run_job *job, const struct run_options *options, const struct egd_plan *plan,
                    const char *program) {
  char jobs[PATH_MAX + 16];
  unsigned char secret[SECRET_SIZE];
  if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret)) {
    egd_log("the system gives no random bytes: %s", strerror(errno));
    return false;
  }
  snprintf(jobs, sizeof(jobs), "%s/jobs", job->dir);
  if (!make_folder(jobs)) return false;
  make_id(job);
  int n = snprintf(job->job_dir, sizeof(job->job_dir), "%s/jobs/%s", job->dir, job->id);
  return n > 0 && (size_t)n < sizeof(job->job_dir) && make_folder(job->job_dir) &&
         make_image_folders(job, options->nranks) && write_file(job->job_dir, "secret", secret, sizeof(secret)) &&
         write_birth(job, options, program) && write_job(job, options, plan, secret);
}

// ---- resume -------------------------------------------------------------------------------------------------------------

static bool read_plan(const char *text, struct egd_plan *ret_plan) {
  if (!text || strlen(text) != 2 * sizeof(*ret_plan)) return false;
  for (size_t i = 0; i < sizeof(*ret_plan); i++) {
    unsigned value;
    if (sscanf(text + 2 * i, "%2x", &value) != 1) return false;
    ((unsigned char *)ret_plan)[i] = (unsigned char)value;
  }
  return ret_plan->version == EGD_PLAN_VERSION;
}

// Did every rank leave an image of its last state, and is that image still there?
static bool is_suspended(const struct run_job *job, uint32_t nranks) {
  for (uint32_t r = 0; r < nranks; r++) {
    char path[PATH_MAX + 64], *text;
    snprintf(path, sizeof(path), "%s/suspended/rank-%u.json", job->job_dir, r);
    if (egd_secure_read(path, 65536, &text, NULL) != EGD_OK) return false;
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    json_int_t image = json_integer_value(json_object_get(root, "image"));
    json_decref(root);
    snprintf(path, sizeof(path), "%s/images/rank-%u/%lld.img", job->job_dir, r, (long long)image);
    if (access(path, R_OK) != 0) return false;
  }
  return true;
}

// Is there a file BEGIN….END of the rank?
static bool has_file(const char *folder, const char *begin, const char *end) {
  DIR *dir = opendir(folder);
  bool found = false;
  for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
    const char *dot = strrchr(entry->d_name, '.');
    found = strncmp(entry->d_name, begin, strlen(begin)) == 0 && dot && strcmp(dot, end) == 0;
  }
  if (dir) closedir(dir);
  return found;
}

// Without images of the last state: durable images, and determinants, on the shared disk or as the nodes left them behind.
static bool can_be_gathered(const struct run_job *job, uint32_t nranks, const struct egd_plan *plan) {
  for (uint32_t r = 0; r < nranks; r++) {
    char images[PATH_MAX + 64], kept[PATH_MAX + 64], name[32];
    snprintf(images, sizeof(images), "%s/images/rank-%u", job->job_dir, r);
    snprintf(kept, sizeof(kept), "%s/suspended", job->job_dir);
    snprintf(name, sizeof(name), "rank-%u.", r);
    if (!has_file(images, "", ".img")) {
      egd_log("job %s cannot be resumed: rank %u has no image in %s; start it anew", job->id, r, images);
      return false;
    }
    if (plan->determinant_store == EGD_DETERMINANT_SHARED_DISK || has_file(kept, name, ".log")) continue;
    egd_log(
        "job %s cannot be resumed: rank %u left no image of its last state, and its determinants, which were in memory "
        "only, are lost (pessimistic-nfs keeps them on the shared disk)",
        job->id, r);
    return false;
  }
  return true;
}

// Nodes that were given up are not given up in the resumed job; what they left behind is older than what was done elsewhere.
static void forget_fences(const struct run_job *job) {
  char path[PATH_MAX + 64], name[300];
  snprintf(path, sizeof(path), "%s/fence", job->job_dir);
  DIR *dir = opendir(path);
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof(path), "%s/suspended", job->job_dir);
    snprintf(name, sizeof(name), ".%s.log", entry->d_name);
    DIR *kept = opendir(path);
    for (struct dirent *file; kept && (file = readdir(kept));) {
      size_t length = strlen(file->d_name), end = strlen(name);
      if (length > end && strcmp(file->d_name + length - end, name) == 0) unlinkat(dirfd(kept), file->d_name, 0);
    }
    if (kept) closedir(kept);
  }
  if (dir) closedir(dir);
  snprintf(path, sizeof(path), "%s/fence", job->job_dir);
  egd_remove_tree(path);
}

// For the messages and the history; ranks take their arguments from their images.
static bool read_argv(const struct run_job *job, struct run_options *options) {
  char path[PATH_MAX + 64], *data;
  size_t length, count = 0;
  snprintf(path, sizeof(path), "%s/birth/argv", job->job_dir);
  if (egd_secure_read(path, 64u << 20, &data, &length) != EGD_OK) return false;
  for (size_t i = 0; i < length; i++) count += data[i] == 0;
  options->argv = calloc(count + 1, sizeof(*options->argv));
  if (!options->argv || count == 0) return false;
  for (size_t i = 0; i < count; i++) {
    options->argv[i] = data;
    data += strlen(data) + 1;
  }
  return true;
}

bool run_job_resume(struct run_job *job, struct run_options *options, struct egd_plan *ret_plan) {
  char path[PATH_MAX + 64], *text;
  if (strchr(options->resume, '/') || strlen(options->resume) >= RUN_JOB_ID_SIZE) {
    egd_log("%sresume=%s: a job's id is needed; 'egida jobs' lists them", run_option_prefix(), options->resume);
    return false;
  }
  snprintf(job->id, sizeof(job->id), "%s", options->resume);
  if (snprintf(job->job_dir, sizeof(job->job_dir), "%s/jobs/%s", job->dir, job->id) >= (int)sizeof(job->job_dir))
    return false;
  snprintf(path, sizeof(path), "%s/job.json", job->job_dir);
  if (egd_secure_read(path, 1 << 20, &text, NULL) != EGD_OK) {
    egd_log("%sresume=%s: there is no such job in %s (%s: %s); 'egida jobs' lists them", run_option_prefix(),
            options->resume, job->dir, path, strerror(errno));
    return false;
  }
  json_t *root = json_loads(text, 0, NULL);
  free(text);
  options->nranks = (uint32_t)json_integer_value(json_object_get(root, "nranks"));
  options->spares = (uint32_t)json_integer_value(json_object_get(root, "spares"));
  options->nodes = (uint32_t)json_integer_value(json_object_get(root, "nodes")) - options->spares;
  options->max_restarts = (uint32_t)json_integer_value(json_object_get(root, "max_restarts"));
  options->label |= json_is_true(json_object_get(root, "label"));
  const char *spec = json_string_value(json_object_get(root, "spec"));
  options->spec = spec ? strdup(spec) : "";
  bool good = read_plan(json_string_value(json_object_get(root, "plan")), ret_plan) && options->nranks > 0 &&
              options->nodes > 0 && read_argv(job, options);
  json_decref(root);
  if (!good) egd_log("%s is damaged or of another version of Egida; the job cannot be resumed", path);
  if (!good) return false;
  options->gather = !is_suspended(job, options->nranks);
  if (!options->gather) return true;
  forget_fences(job);
  return can_be_gathered(job, options->nranks, ret_plan);
}

bool run_job_place(const struct run_job *job, const struct run_options *options) {
  char path[PATH_MAX + 64];
  snprintf(path, sizeof(path), "%s/job.json", job->job_dir);
  json_t *root = json_load_file(path, 0, NULL);
  json_object_set_new(root, "nodes", json_integer(options->nodes + options->spares));
  json_object_set_new(root, "spares", json_integer(options->spares));
  return write_json(job, root);
}
