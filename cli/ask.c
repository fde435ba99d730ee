#include "cli/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/frame.h"
#include "common/link.h"
#include "common/size.h"
#include "common/status.h"

#define CONTROL_SOCKET "control.sock"
#define MAX_REPLY (1u << 20)

struct question {
  const char *command;
  uint64_t timeout_ns;
  bool live;
  char state[16], directory[4096];
  json_t *reply;
};

bool egd_cli_timeout(const char *command, const char *value, uint64_t *ret_timeout_ns) {
  if (egd_duration_parse(value, ret_timeout_ns) == EGD_OK && *ret_timeout_ns > 0 &&
      *ret_timeout_ns < 1000000ull * 1000000000)
    return true;
  egd_list_complain(command, "--timeout: '%s' is not a time; e.g. --timeout=2min", value);
  return false;
}

static bool keep_job(void *arg, const struct egd_history_job *job) {
  struct question *question = arg;
  question->live = job->live;
  snprintf(question->state, sizeof question->state, "%s", egd_history_state_name(job->state));
  snprintf(question->directory, sizeof question->directory, "%s", job->job_dir ? job->job_dir : "");
  return true;
}

// The folder of jobs may have moved since the job began; a job that runs is then still where it was.
static int connect_to(const struct question *question, const struct egd_list_options *options, const char *id) {
  char path[4352];
  snprintf(path, sizeof path, "%s/jobs/%s", options->dir, id);
  int fd = egd_unix_connect(path, CONTROL_SOCKET);
  int error = errno;
  if (fd < 0 && *question->directory) fd = egd_unix_connect(question->directory, CONTROL_SOCKET);
  if (fd < 0)
    egd_list_complain(question->command, "%s/" CONTROL_SOCKET ": %s; is the job still running? See 'egida status'",
                      path, strerror(error));
  return fd;
}

static int take_reply(void *arg, uint8_t type, const unsigned char *body, size_t length) {
  struct question *question = arg;
  if (type != EGD_FRAME_JSON) return EGD_OK;
  json_t *value = json_loadb((const char *)body, length, 0, NULL);
  const char *op = json_string_value(json_object_get(value, "op"));
  // Other news may come on the same stream.
  if (!question->reply && json_is_object(value) && (!op || strcmp(op, question->command) == 0))
    question->reply = value;
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
static bool converse(int fd, const char *text, struct question *question) {
  struct egd_frame_queue queue;
  egd_frame_queue_init(&queue, 4096);
  bool good = text && egd_frame_put(&queue, EGD_FRAME_JSON, text, strlen(text)) == EGD_OK;
  while (good && egd_frame_queued(&queue)) good = egd_frame_flush(&queue, fd) == EGD_OK;
  egd_frame_queue_clear(&queue);
  if (!good) {
    egd_list_complain(question->command,
                      "the job's launcher does not take the request: it is gone; see 'egida status'");
    return false;
  }
  struct egd_frame_decoder decoder;
  egd_frame_decoder_init(&decoder, MAX_REPLY);
  uint64_t deadline = monotonic_ns() + question->timeout_ns;
  while (good && !question->reply) {
    uint64_t now = monotonic_ns();
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int ready = now < deadline ? poll(&wait, 1, (int)((deadline - now) / 1000000 + 1)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      egd_list_complain(question->command, "no answer within the --timeout; 'egida events' shows what happens");
      good = false;
      break;
    }
    char bytes[4096];
    ssize_t length = read(fd, bytes, sizeof bytes);
    if (length < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (length <= 0 || egd_frame_push(&decoder, bytes, (size_t)length, take_reply, question) != EGD_OK) {
      if (question->reply) break;
      egd_list_complain(question->command, "the job ended before it was done; see 'egida status'");
      good = false;
    }
  }
  egd_frame_decoder_clear(&decoder);
  return good;
}

bool egd_cli_ask(const char *command, const struct egd_list_options *options, const char *operand, json_t *request,
                 uint64_t timeout_ns, char ret_id[EGD_JOB_ID_SIZE]) {
  struct question question = {.command = command, .timeout_ns = timeout_ns};
  struct egd_history *history = NULL;
  json_object_set_new(request, "op", json_string(command));
  char *text = json_dumps(request, JSON_COMPACT);
  json_decref(request);
  bool good = text && egd_history_open(options->dir, &history) == EGD_OK;
  if (good) {
    good = egd_cli_find_job(history, options, operand, ret_id) &&
           egd_history_jobs(history, ret_id, 1, keep_job, &question) == EGD_OK;
    egd_history_close(history); // the job goes on writing it while this waits
  }
  if (good && !question.live) {
    egd_list_complain(command, "job %s is not running (%s)", ret_id, question.state);
    good = false;
  }
  int fd = good ? connect_to(&question, options, ret_id) : -1;
  good = fd >= 0 && converse(fd, text, &question);
  if (fd >= 0) close(fd);
  free(text);
  const char *error = json_string_value(json_object_get(question.reply, "error"));
  if (good && (error || json_is_false(json_object_get(question.reply, "ok")))) {
    egd_list_complain(command, "job %s: %s", ret_id, error ? error : "the request was refused");
    good = false;
  }
  if (question.reply && options->json) {
    json_dumpf(question.reply, stdout, JSON_INDENT(2));
    putchar('\n');
  }
  json_decref(question.reply);
  return good;
}
