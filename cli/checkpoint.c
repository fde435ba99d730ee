// egida checkpoint: ask a running job for images now, and wait until they are durable.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/commands.h"
#include "cli/history.h"
#include "common/frame.h"
#include "common/link.h"
#include "common/size.h"
#include "common/status.h"

#define CONTROL_SOCKET "control.sock"
#define MAX_REPLY (1u << 20)

struct request {
  uint64_t timeout_ns;
  bool live;
  char state[16], directory[4096];
  json_t *reply;
};

static bool own_option(void *arg, int letter, const char *value) {
  struct request *request = arg;
  if (egd_duration_parse(value, &request->timeout_ns) == EGD_OK && request->timeout_ns > 0 &&
      request->timeout_ns < 1000000ull * 1000000000)
    return true;
  egd_list_complain("checkpoint", "--timeout: '%s' is not a time; e.g. --timeout=2min", value);
  return false;
}

static bool keep_job(void *arg, const struct egd_history_job *job) {
  struct request *request = arg;
  request->live = job->live;
  snprintf(request->state, sizeof request->state, "%s", egd_history_state_name(job->state));
  snprintf(request->directory, sizeof request->directory, "%s", job->job_dir ? job->job_dir : "");
  return true;
}

// The folder of jobs may have moved since the job began; a job that runs is then still where it was.
static int connect_to(const struct egd_list_options *options, const char *id, const char *directory) {
  char path[4352];
  snprintf(path, sizeof path, "%s/jobs/%s", options->dir, id);
  int fd = egd_unix_connect(path, CONTROL_SOCKET);
  int error = errno;
  if (fd < 0 && *directory) fd = egd_unix_connect(directory, CONTROL_SOCKET);
  if (fd < 0)
    egd_list_complain("checkpoint", "%s/" CONTROL_SOCKET ": %s; is the job still running? See 'egida status'", path,
                      strerror(error));
  return fd;
}

static int take_reply(void *arg, uint8_t type, const unsigned char *body, size_t length) {
  struct request *request = arg;
  if (type != EGD_FRAME_JSON) return EGD_OK;
  json_t *value = json_loadb((const char *)body, length, 0, NULL);
  const char *op = json_string_value(json_object_get(value, "op"));
  // Other news may come on the same stream.
  if (!request->reply && json_is_object(value) && (!op || strcmp(op, "checkpoint") == 0))
    request->reply = value;
  else
    json_decref(value);
  return EGD_OK;
}

static uint64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Send the request, wait for the reply. False after a message.
static bool converse(int fd, long rank, struct request *request) {
  json_t *message = json_pack("{s:s, s:o}", "op", "checkpoint", "rank", rank < 0 ? json_null() : json_integer(rank));
  char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
  json_decref(message);
  struct egd_frame_queue queue;
  egd_frame_queue_init(&queue, 4096);
  bool good = text && egd_frame_put(&queue, EGD_FRAME_JSON, text, strlen(text)) == EGD_OK;
  while (good && egd_frame_queued(&queue)) good = egd_frame_flush(&queue, fd) == EGD_OK;
  egd_frame_queue_clear(&queue);
  free(text);
  if (!good) {
    egd_list_complain("checkpoint", "the job's launcher does not take the request: it is gone; see 'egida status'");
    return false;
  }
  struct egd_frame_decoder decoder;
  egd_frame_decoder_init(&decoder, MAX_REPLY);
  uint64_t deadline = monotonic_ns() + request->timeout_ns;
  while (good && !request->reply) {
    uint64_t now = monotonic_ns();
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int ready = now < deadline ? poll(&wait, 1, (int)((deadline - now) / 1000000 + 1)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      egd_list_complain("checkpoint", "no durable image within the --timeout; 'egida checkpoints' shows what there is");
      good = false;
      break;
    }
    char bytes[4096];
    ssize_t length = read(fd, bytes, sizeof bytes);
    if (length < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (length <= 0 || egd_frame_push(&decoder, bytes, (size_t)length, take_reply, request) != EGD_OK) {
      if (request->reply) break;
      egd_list_complain("checkpoint", "the job ended before the images were durable; see 'egida status'");
      good = false;
    }
  }
  egd_frame_decoder_clear(&decoder);
  return good;
}

int egida_cmd_checkpoint(int argc, char **argv) {
  static const struct option own[] = {{"timeout", required_argument, NULL, 't'}, {0}};
  static const struct egd_list_command command = {
      .name = "checkpoint",
      .arguments = "JOB [RANK]",
      .about = "Ask a running job for an image of all ranks, or of RANK, and wait until it is durable.",
      .own_options = "  -t, --timeout=TIME   wait at most so long (default 5min)\n",
      .short_options = "t:",
      .long_options = own,
      .option = own_option,
  };
  struct egd_list_options options;
  struct request request = {.timeout_ns = 300ull * 1000000000};
  int exit_code;
  int first = egd_list_options_parse(argc, argv, &command, &request, &options, &exit_code);
  if (first < 0) return exit_code;
  if (argc - first < 1 || argc - first > 2) {
    egd_list_complain("checkpoint", "JOB [RANK] is needed; 'egida jobs --state=RUNNING' lists the jobs that run");
    return 1;
  }
  long rank = -1;
  if (argc - first == 2) {
    char *end;
    rank = strtol(argv[first + 1], &end, 10);
    if (*end || end == argv[first + 1] || rank < 0 || rank > 1000000) {
      egd_list_complain("checkpoint", "'%s' is not a rank; 'egida ranks %s' lists them", argv[first + 1], argv[first]);
      return 1;
    }
  }
  struct egd_history *history = NULL;
  char id[EGD_JOB_ID_SIZE];
  if (egd_history_open(options.dir, &history) != EGD_OK) return 1;
  bool good = egd_cli_find_job(history, &options, argv[first], id) &&
              egd_history_jobs(history, id, 1, keep_job, &request) == EGD_OK;
  egd_history_close(history); // the job goes on writing it while this waits
  if (good && !request.live) {
    egd_list_complain("checkpoint", "job %s is not running (%s)", id, request.state);
    good = false;
  }
  int fd = good ? connect_to(&options, id, request.directory) : -1;
  good = good && fd >= 0 && converse(fd, rank, &request);
  if (fd >= 0) close(fd);
  if (good) {
    const char *error = json_string_value(json_object_get(request.reply, "error"));
    if (error || json_is_false(json_object_get(request.reply, "ok"))) {
      egd_list_complain("checkpoint", "job %s: %s", id, error ? error : "the request was refused");
      good = false;
    }
    if (options.json) {
      json_dumpf(request.reply, stdout, JSON_INDENT(2));
      putchar('\n');
    } else if (good) {
      if (rank >= 0)
        printf("rank %ld of job %s has a durable image\n", rank, id);
      else
        printf("all ranks of job %s have durable images\n", id);
    }
    if (fflush(stdout) != 0) good = false;
  }
  json_decref(request.reply);
  return good ? 0 : 1;
}
