// egida clean: remove images, node folders and what else jobs left behind. Never of a job that runs.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/clean_files.h"
#include "cli/commands.h"
#include "cli/history.h"
#include "common/size.h"
#include "common/status.h"
#include "restartd/store.h"

struct candidate {
  char id[EGD_JOB_ID_SIZE];
  enum egd_history_state state;
  bool live, known, on_disk, named, selected;
  uint64_t last_ns; // its end, or what is known of it
};

struct request {
  bool all, dry, force, forget;
  int64_t older_ns; // -1 = any age
  int64_t keep;     // -1 = none
  struct candidate *jobs;
  size_t count;
  unsigned spared; // because they may be resumed
  bool no_memory;
};

static const struct egd_column columns[] = {
    {"job", "job", "JOB", false, true},
    {"state", "state", "STATE", false, true},
    {"files", "files", "FILES", true, true},
    {"freed", "bytes", "FREED", true, true},
    {0},
};

static bool own_option(void *arg, int letter, const char *value) {
  struct request *request = arg;
  char *end;
  switch (letter) {
  case 'a':
    request->all = true;
    break;
  case 'n':
    request->dry = true;
    break;
  case 'F':
    request->force = true;
    break;
  case 'X':
    request->forget = true;
    break;
  case 'O': {
    double days = strtod(value, &end);
    uint64_t ns = 0;
    if (end != value && !*end && days >= 0 && days < 36500)
      request->older_ns = (int64_t)(days * 86400e9);
    else if (egd_duration_parse(value, &ns) == EGD_OK && ns < INT64_MAX)
      request->older_ns = (int64_t)ns;
    else {
      egd_list_complain("clean", "--older: '%s' is not a number of days; e.g. --older=7 or --older=12h", value);
      return false;
    }
    break;
  }
  case 'K': {
    long keep = strtol(value, &end, 10);
    if (*end || end == value || keep < 0) {
      egd_list_complain("clean", "--keep: '%s' is not a number of jobs; e.g. --keep=3", value);
      return false;
    }
    request->keep = keep;
    break;
  }
  }
  return true;
}

static struct candidate *candidate_of(struct request *request, const char *id) {
  for (size_t i = 0; i < request->count; i++)
    if (strcmp(request->jobs[i].id, id) == 0) return &request->jobs[i];
  struct candidate *larger = reallocarray(request->jobs, request->count + 1, sizeof *larger);
  if (!larger) {
    request->no_memory = true;
    return NULL;
  }
  request->jobs = larger;
  struct candidate *job = &larger[request->count++];
  memset(job, 0, sizeof *job);
  snprintf(job->id, sizeof job->id, "%s", id);
  return job;
}

static bool history_row(void *arg, const struct egd_history_job *row) {
  if (strlen(row->id) >= EGD_JOB_ID_SIZE) return true;
  struct candidate *job = candidate_of(arg, row->id);
  if (!job) return false;
  job->known = true;
  job->state = row->state;
  job->live = row->live;
  job->last_ns = row->ended_ns ? row->ended_ns : row->image_ns ? row->image_ns : row->begun_ns;
  return true;
}

static void read_folder(struct request *request, int jobs_fd) {
  DIR *dir = fdopendir(dup(jobs_fd));
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    struct stat status;
    if (entry->d_name[0] == '.' || strlen(entry->d_name) >= EGD_JOB_ID_SIZE ||
        fstatat(jobs_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    struct candidate *job = candidate_of(request, entry->d_name);
    if (!job) break;
    job->on_disk = true;
    if (!job->last_ns) job->last_ns = (uint64_t)status.st_mtim.tv_sec * 1000000000u;
  }
  if (dir) closedir(dir);
}

// The launcher of a running job holds DIR/lock. Looked at after the folder was read: what was listed is older.
static bool is_locked(int dir_fd) {
  int fd = openat(dir_fd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return false;
  bool locked = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(fd);
  return locked;
}

static int newest_first(const void *a, const void *b) {
  const struct candidate *one = a, *two = b;
  if (one->last_ns != two->last_ns) return one->last_ns < two->last_ns ? 1 : -1;
  return strcmp(two->id, one->id);
}

static bool select_jobs(struct request *request, const struct egd_list_options *options, bool locked) {
  struct timespec clock;
  clock_gettime(CLOCK_REALTIME, &clock);
  int64_t now = (int64_t)clock.tv_sec * 1000000000 + clock.tv_nsec;
  bool any_named = false, any_live = false;
  for (size_t i = 0; i < request->count; i++) {
    any_named |= request->jobs[i].named;
    any_live |= request->jobs[i].live;
  }
  // One job runs in a folder at a time. If it is none that the history shows as running, it is being resumed just now, or
  // runs without history.
  bool hidden = locked && !any_live;
  qsort(request->jobs, request->count, sizeof *request->jobs, newest_first);
  int64_t kept = 0;
  for (size_t i = 0; i < request->count; i++) {
    struct candidate *job = &request->jobs[i];
    // What can go on with --resume stays, unless all is asked for. So may a job that the history does not know: it may
    // have been damaged and begun anew.
    bool resumable = !job->known || job->state == EGD_HISTORY_SUSPENDED || job->state == EGD_HISTORY_INTERRUPTED ||
                     job->state == EGD_HISTORY_ELSEWHERE;
    bool may_run = job->live || (hidden && resumable);
    bool elsewhere = job->known && job->state == EGD_HISTORY_ELSEWHERE && !request->force;
    if (job->named) {
      if (may_run || elsewhere) {
        egd_list_complain("clean",
                          may_run ? "job %s is running; end it first (Ctrl-C at its launcher)"
                                  : "job %s began on another host and may still run there; --force if it does not",
                          job->id);
        return false;
      }
      job->selected = true;
      continue;
    }
    if (any_named || may_run || elsewhere) continue;
    if (!job->on_disk && !request->forget) continue;
    if (kept < request->keep) {
      kept++;
      continue;
    }
    if (resumable && !request->all) {
      request->spared += job->on_disk;
      continue;
    }
    if (request->older_ns >= 0 && now - (int64_t)job->last_ns < request->older_ns) continue;
    job->selected = true;
  }
  return true;
}

// Damaged histories that were moved aside.
static void remove_damaged(int dir_fd, const char *shown, bool dry, struct egd_clean_sum *sum) {
  DIR *dir = fdopendir(dup(dir_fd));
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    if (strncmp(entry->d_name, "history.db.damaged-", 19) != 0) continue;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", shown, entry->d_name);
    egd_clean_remove(dir_fd, entry->d_name, path, dry, sum);
  }
  if (dir) closedir(dir);
}

static bool clean(struct request *request, const struct egd_list_options *options, int dir_fd, int jobs_fd) {
  struct egd_table *table = egd_table_create(columns, "cleaned", options);
  struct egd_store *store = NULL;
  struct egd_clean_sum total = {0};
  if (!table) return false;
  if (!request->dry && faccessat(dir_fd, "history.db", F_OK, 0) == 0) store = egd_store_open(options->dir);
  for (size_t i = 0; i < request->count; i++) {
    struct candidate *job = &request->jobs[i];
    if (!job->selected) continue;
    struct egd_clean_sum sum = {0};
    char shown[PATH_MAX];
    snprintf(shown, sizeof shown, "%s/jobs/%s", options->dir, job->id);
    if (job->on_disk) egd_clean_remove(jobs_fd, job->id, shown, request->dry, &sum);
    if (job->known && request->forget && !sum.errors)
      egd_store_forget(store, job->id);
    else if (job->known && job->on_disk)
      egd_store_cleaned(store, job->id, 0);
    egd_table_text(table, job->id);
    egd_table_text(table, job->known ? egd_history_state_name(job->state) : NULL);
    egd_table_number(table, (int64_t)sum.files);
    egd_table_size(table, (int64_t)sum.bytes);
    total.files += sum.files;
    total.bytes += sum.bytes;
    total.errors += sum.errors;
  }
  egd_store_close(store);
  if (request->all) remove_damaged(dir_fd, options->dir, request->dry, &total);
  bool good = true;
  if (options->json) {
    json_t *document = json_pack("{s:o, s:I, s:I, s:b}", "cleaned", egd_table_rows_as_json(table), "files",
                                 (json_int_t)total.files, "bytes", (json_int_t)total.bytes, "dry_run", request->dry);
    json_dumpf(document, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(document);
    good = fflush(stdout) == 0;
  } else {
    char freed[EGD_SIZE_TEXT];
    if (egd_table_rows(table)) good = egd_table_print(table);
    if (!egd_table_rows(table) && !total.files)
      printf("nothing to clean in %s\n", options->dir);
    else
      printf("%s %s (%llu bytes) in %llu files of %u jobs\n", request->dry ? "would free" : "freed",
             egd_size_format(total.bytes, freed), (unsigned long long)total.bytes, (unsigned long long)total.files,
             egd_table_rows(table));
    if (request->spared)
      printf("kept %u that may be resumed or are not in the history; 'egida clean --all' removes them too\n",
             request->spared);
  }
  egd_table_destroy(table);
  return good && !total.errors;
}

// Mark what the operands name: an id, or a part of one, of the history or of a folder.
static bool mark_named(struct request *request, struct egd_history *history, const struct egd_list_options *options,
                       int count, char **operands) {
  for (int i = 0; i < count; i++) {
    char id[EGD_JOB_ID_SIZE];
    struct candidate *job = NULL;
    for (size_t k = 0; k < request->count; k++)
      if (strcmp(request->jobs[k].id, operands[i]) == 0) job = &request->jobs[k];
    if (!job && history) {
      if (!egd_cli_find_job(history, options, operands[i], id)) return false;
      for (size_t k = 0; k < request->count; k++)
        if (strcmp(request->jobs[k].id, id) == 0) job = &request->jobs[k];
    }
    if (!job) {
      egd_list_complain("clean", "job '%s' is not in %s; 'egida jobs' lists what is", operands[i], options->dir);
      return false;
    }
    job->named = true;
  }
  return true;
}

int egida_cmd_clean(int argc, char **argv) {
  static const struct option own[] = {
      {"all", no_argument, NULL, 'a'},
      {"dry-run", no_argument, NULL, 'n'},
      {"force", no_argument, NULL, 'F'},
      {"forget", no_argument, NULL, 'X'},
      {"older", required_argument, NULL, 'O'},
      {"keep", required_argument, NULL, 'K'},
      {0},
  };
  static const struct egd_list_command command = {
      .name = "clean",
      .arguments = "[JOB…]",
      .about =
          "Remove images, node folders and other files of jobs that do not run. Without JOB and --all: of jobs that\n"
          "ended for good; what 'egida run --resume' could go on with stays. The history stays.",
      .own_options = "  -a, --all            also of interrupted and suspended jobs, and damaged histories\n"
                     "  -n, --dry-run        only say what would be removed\n"
                     "      --older=DAYS     only of jobs whose end is so long ago (also 12h, 30min)\n"
                     "      --keep=N         not of the N newest jobs\n"
                     "      --forget         remove them from the history too\n"
                     "      --force          also of jobs that began on another host\n",
      .columns = columns,
      .short_options = "an",
      .long_options = own,
      .option = own_option,
  };
  struct egd_list_options options;
  struct request request = {.older_ns = -1, .keep = -1};
  int exit_code;
  int first = egd_list_options_parse(argc, argv, &command, &request, &options, &exit_code);
  if (first < 0) return exit_code;
  if (first < argc && (request.all || request.older_ns >= 0 || request.keep >= 0)) {
    egd_list_complain("clean", "JOB and --all, --older or --keep exclude each other; see 'egida clean --help'");
    return 1;
  }
  int dir_fd = open(options.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) {
    egd_list_complain("clean", "%s: %s; --dir names another folder", options.dir, strerror(errno));
    return 1;
  }
  // jobs/ itself is ours and must not be a link to elsewhere.
  int jobs_fd = openat(dir_fd, "jobs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct egd_history *history = NULL;
  bool good = true;
  if (jobs_fd < 0 && errno != ENOENT) {
    egd_list_complain("clean", "%s/jobs: %s", options.dir, strerror(errno));
    good = false;
  }
  // Without a history that can be read, running jobs are known by the lock only.
  if (good && faccessat(dir_fd, "history.db", F_OK, 0) == 0 && egd_history_open(options.dir, &history) == EGD_OK)
    good = egd_history_jobs(history, NULL, 0, history_row, &request) == EGD_OK;
  if (good && jobs_fd >= 0) read_folder(&request, jobs_fd);
  bool locked = is_locked(dir_fd);
  good = good && mark_named(&request, history, &options, argc - first, argv + first);
  egd_history_close(history); // its snapshot would keep the log of the history from being written back
  if (good && request.no_memory) {
    egd_list_complain("clean", "out of memory");
    good = false;
  }
  good = good && select_jobs(&request, &options, locked) && clean(&request, &options, dir_fd, jobs_fd);
  free(request.jobs);
  if (jobs_fd >= 0) close(jobs_fd);
  close(dir_fd);
  return good ? 0 : 1;
}
