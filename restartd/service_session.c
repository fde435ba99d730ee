// One connection: who is it, for which job, and its records.
#include "restartd/service_private.h"

#include <ctype.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/config.h"
#include "common/log.h"
#include "common/status.h"
#include "config.h"
#include "restartd/credential.h"
#include "restartd/journal_record.h"

#define STRANGER_BODY (16u << 10)
#define ANSWERS_MAX (64u << 10) // a client that does not read its answers gets no more

// An answer may meet a client that reads nothing: it must not cost memory.
static void answer(struct egd_session *session, json_t *message) {
  egd_link_send(session->link, message);
  if (egd_link_queued(session->link) > ANSWERS_MAX) egd_session_end(session);
}

void egd_session_refuse(struct egd_session *session, bool retry, const char *format, ...) {
  char why[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why, sizeof why, format, arguments);
  va_end(arguments);
  egd_verbose("%s%sa connection of user %s ends: %s", session->id, *session->id ? ": " : "",
              session->has_user ? session->user : "(unknown)", why);
  egd_link_send(session->link, json_pack("{ss ss sb}", "op", "refused", "why", why, "retry", retry));
  egd_session_end(session);
}

void egd_session_acknowledge(struct egd_session *session) {
  session->changed = false;
  answer(session, json_pack("{ss sI}", "op", "ack", "seq", (json_int_t)session->job.applied));
}

static void set_user(struct egd_session *session, uid_t uid) {
  const struct passwd *entry = getpwuid(uid);
  session->has_user = true;
  session->job.uid = uid;
  snprintf(session->user, sizeof session->user, "%s", entry ? entry->pw_name : "");
  if (!entry) snprintf(session->user, sizeof session->user, "%u", (unsigned)uid);
}

static bool is_job_id(const char *text) {
  if (!text || !*text || *text == '.' || strlen(text) >= EGD_SERVICE_JOB_SIZE) return false;
  for (; *text; text++)
    if (!isalnum((unsigned char)*text) && !strchr("._-", *text)) return false;
  return true;
}

// The user of a TCP connection, and the credential that answers it. False: the session has ended.
static bool prove(struct egd_session *session, const json_t *message, const char *id, char **ret_answer) {
  const char *credential = json_string_value(json_object_get(message, "credential"));
  const char *nonce = json_string_value(json_object_get(message, "nonce"));
  const char *munge_socket = session->service->config->munge_socket;
  char payload[EGD_CREDENTIAL_PAYLOAD], why[256];
  uid_t uid;
  if (!credential || !nonce || strlen(nonce) != EGD_PROOF_TEXT - 1) {
    egd_session_refuse(session, false, "by TCP, a nonce and a munge credential are needed");
    return false;
  }
  egd_credential_payload(payload, "register", session->nonce, nonce, id);
  int status = egd_credential_check(munge_socket, credential, payload, &uid, why, sizeof why);
  if (status == EGD_OK) {
    egd_credential_payload(payload, "registered", nonce, session->nonce, id);
    status = egd_credential_make(munge_socket, payload, uid, ret_answer, why, sizeof why);
  }
  if (status != EGD_OK) {
    egd_log("a connection by TCP is refused: %s", why);
    egd_session_refuse(session, status == EGD_ERR_IO, "%s", why);
    return false;
  }
  set_user(session, uid);
  return true;
}

static void on_register(struct egd_session *session, const json_t *message) {
  struct egd_service *service = session->service;
  const char *id = json_string_value(json_object_get(message, "job"));
  char *credential = NULL;
  if (session->registered) return egd_session_refuse(session, false, "this connection has its job already");
  if (json_integer_value(json_object_get(message, "version")) != 1)
    return egd_session_refuse(session, false, "version 1 of the protocol is needed; are both of the same Egida?");
  if (!is_job_id(id)) return egd_session_refuse(session, false, "this is not the id of a job");
  if (session->by_tcp && !prove(session, message, id, &credential)) return;
  snprintf(session->id, sizeof session->id, "%s", id);
  session->job.id = session->id;
  session->job.user = session->user;
  // What is in the open transaction counts as acknowledged in the answer.
  int status = egd_service_commit(service) ? egd_ingest_find(service->store, &session->job) : EGD_ERR_IO;
  unsigned others = egd_service_sessions_of(service, session->job.uid);
  if (status == EGD_ERR_FOREIGN) {
    egd_session_refuse(session, false, "job %s is another user's", id);
  } else if (status != EGD_OK) {
    egd_session_refuse(session, true, "the history can't be used now; see the log of egida-restartd");
  } else if (others >= service->config->max_connections_per_user) {
    egd_session_refuse(session, true, "user %s has %u connections (MaxConnectionsPerUser)", session->user, others);
  } else {
    for (struct egd_session *other = service->sessions, *next; other; other = next) {
      next = other->next;
      if (other != session && other->registered && other->job.uid == session->job.uid &&
          strcmp(other->id, session->id) == 0)
        egd_session_refuse(other, false, "the job connected again");
    }
    session->registered = true;
    egd_link_set_max_body(session->link, EGD_RECORD_MAX);
    json_t *registered = json_pack("{ss ss sI ss*}", "op", "registered", "job", id, "acknowledged",
                                   (json_int_t)session->job.applied, "credential", credential);
    egd_verbose("job %s of user %s is connected, its records up to %llu are here", id, session->user,
                (unsigned long long)session->job.applied);
    answer(session, registered);
  }
  free(credential);
}

static void on_node_lost(struct egd_session *session, const json_t *message) {
  json_int_t slurm_job = json_integer_value(json_object_get(message, "slurm_job"));
  const char *node = json_string_value(json_object_get(message, "node"));
  if (!session->registered) return egd_session_refuse(session, false, "register first");
  if (slurm_job <= 0 || slurm_job > UINT32_MAX || !node || !*node || strlen(node) > 255)
    return egd_session_refuse(session, false, "node-lost needs slurm_job and node");
  egd_node_requests_add(session->service->nodes, session, (uint32_t)slurm_job, node);
}

static void on_json(void *arg, struct egd_link *link, json_t *message) {
  const char *op = json_string_value(json_object_get(message, "op"));
  if (op && strcmp(op, "register") == 0) on_register(arg, message);
  if (op && strcmp(op, "node-lost") == 0) on_node_lost(arg, message);
}

static void on_records(void *arg, struct egd_link *link, const unsigned char *data, size_t length) {
  struct egd_session *session = arg;
  const char *why = NULL;
  if (!session->registered) return egd_session_refuse(session, false, "register first");
  int status = egd_ingest_records(session->service->store, &session->job, data, length, &why);
  if (status == EGD_OK) {
    session->changed = true;
    egd_service_changed(session->service, (unsigned)length);
  } else if (status == EGD_ERR_IO) {
    session->changed = true;
    egd_service_lost_changes(session->service);
  } else {
    egd_log("user %s sent records for job %s that are refused: %s", session->user, session->id, why);
    egd_session_refuse(session, false, "%s", why);
  }
}

static void on_closed(void *arg, struct egd_link *link) {
  egd_session_end(arg);
}

void egd_session_begin(struct egd_service *service, int fd, bool by_tcp, uid_t uid) {
  static const struct egd_link_handlers handlers = {.json = on_json, .binary = on_records, .closed = on_closed};
  struct egd_session *session = calloc(1, sizeof *session);
  if (!session || !egd_proof_nonce(session->nonce) ||
      egd_link_create(service->reactor, fd, STRANGER_BODY, &handlers, session, &session->link) != EGD_OK) {
    close(fd);
    free(session);
    return;
  }
  session->service = service;
  session->by_tcp = by_tcp;
  session->begun_ns = egd_monotonic_ns();
  session->next = service->sessions;
  service->sessions = session;
  if (!by_tcp) set_user(session, uid);
  answer(session, json_pack("{ss si ss ss}", "op", "hello", "version", 1, "nonce", session->nonce, "service",
                            "egida-restartd " PACKAGE_VERSION));
}

void egd_session_end(struct egd_session *session) {
  struct egd_service *service = session->service;
  for (struct egd_session **at = &service->sessions; *at; at = &(*at)->next)
    if (*at == session) {
      *at = session->next;
      break;
    }
  egd_node_requests_forget(service->nodes, session);
  egd_link_destroy(session->link);
  free(session);
}
