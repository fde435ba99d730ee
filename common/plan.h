// The plan: what a specification means, flattened for execution.
//
// Synthesis (protocol/synthesis.c) compiles a checked specification into one struct egd_plan outside the ranks; it is
// handed to every rank and agent inside the node segment. Plain data: no pointers, little-endian, versioned.
#ifndef EGIDA_COMMON_PLAN_H
#define EGIDA_COMMON_PLAN_H

#include <stdint.h>

#define EGD_PLAN_VERSION 1u

// Where a determinant becomes stable.
enum egd_determinant_store {
  EGD_DETERMINANT_NONE = 0,        // not logged: no recovery (specs/none.egd)
  EGD_DETERMINANT_PROCESSES = 1,   // volatile memory of f other processes (failure domains)
  EGD_DETERMINANT_SHARED_DISK = 2, // a shared ("NFS") disk folder, group commit
};

// Where the payload of a sent message is kept.
enum egd_message_store {
  EGD_MESSAGE_NONE = 0,
  EGD_MESSAGE_SELF = 1, // volatile memory of the sender: the payload arena
};

enum egd_checkpoint_protocol { EGD_CHECKPOINT_NONE = 0, EGD_CHECKPOINT_INDEPENDENT = 1 };

// Flag word tested on the fast path; zero means that a send needs no more than the transport.
enum egd_plan_flags {
  EGD_PLAN_LOG_DETERMINANTS = 1u << 0, // admissions and other non-deterministic events are logged
  EGD_PLAN_LOG_MESSAGES = 1u << 1,     // sent records are kept until their receiver's oldest retained image covers them
  EGD_PLAN_SYNC_DETERMINANTS = 1u << 2, // visible acts wait until all earlier determinants are stable
  EGD_PLAN_CHECKPOINT = 1u << 3,
  EGD_PLAN_CHECKPOINT_ASYNC = 1u << 4, // images are written by a forked copy
};

struct egd_plan {
  uint32_t version; // EGD_PLAN_VERSION
  uint32_t flags;   // enum egd_plan_flags
  uint32_t determinant_store;
  uint32_t message_store;
  uint32_t checkpoint_protocol;
  uint32_t f;                      // failures of other failure domains that determinants outlive (default 1)
  uint64_t checkpoint_interval_ns; // 0: only on request
  uint64_t spec_hash;              // XXH3-64 of the specification's text
  char name[64];                   // specification's name, NUL-terminated ("pessimistic")
};

#endif
