// Between service.c (sockets, commits, life), service_session.c (one connection) and service_nodes.c (lost nodes).
#ifndef EGIDA_RESTARTD_SERVICE_PRIVATE_H
#define EGIDA_RESTARTD_SERVICE_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/link.h"
#include "common/proof.h"
#include "common/reactor.h"
#include "restartd/ingest.h"

struct egd_config;
struct egd_node_requests;

#define EGD_SERVICE_JOB_SIZE 64

struct egd_session {
  struct egd_service *service;
  struct egd_session *next;
  struct egd_link *link;
  bool by_tcp, registered;
  bool has_user; // by SO_PEERCRED or munge
  bool changed;  // records wait for a commit
  uint64_t begun_ns;
  char nonce[EGD_PROOF_TEXT];
  char id[EGD_SERVICE_JOB_SIZE], user[64];
  struct egd_ingest_job job; // .uid is valid with has_user, the rest with registered
};

struct egd_service {
  struct egd_config *config;
  struct egd_reactor *reactor;
  struct egd_store *store;
  struct egd_session *sessions;
  struct egd_node_requests *nodes;
  uint64_t commit_timer;
  unsigned uncommitted; // bytes
  unsigned room;        // connections
};

// service.c
/// Something was applied: commit soon, then acknowledge.
void egd_service_changed(struct egd_service *service, unsigned bytes);
/// Commit now and acknowledge. False: the changes are lost.
bool egd_service_commit(struct egd_service *service);
/// The transaction was given up: the connections that had a part in it end, their owners will send all again.
void egd_service_lost_changes(struct egd_service *service);
unsigned egd_service_sessions_of(const struct egd_service *service, uid_t uid);

// service_session.c
/// Takes over `fd`. `uid` of the peer is known unless `by_tcp`.
void egd_session_begin(struct egd_service *service, int fd, bool by_tcp, uid_t uid);
void egd_session_acknowledge(struct egd_session *session);
/// Say why and close. `retry`: it may go better later.
void egd_session_refuse(struct egd_session *session, bool retry, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void egd_session_end(struct egd_session *session);

// service_nodes.c
/// At most so many requests at a time. NULL: no memory.
struct egd_node_requests *egd_node_requests_create(struct egd_service *service);
void egd_node_requests_destroy(struct egd_node_requests *requests);
/// A session asks for a node to be marked DOWN; it gets the answer if it is still there then.
void egd_node_requests_add(struct egd_node_requests *requests, struct egd_session *session, uint32_t slurm_job,
                           const char *node);
void egd_node_requests_forget(struct egd_node_requests *requests, struct egd_session *session);

#endif
