// PMI-1, the line protocol that MPICH speaks on PMI_FD: the server's end for one rank.
//
// Answers what is constant; hands the rest (put, get, barrier, abort) to its owner, one request at a time.
#ifndef EGIDA_PMIX_AGENT_PMI1_H
#define EGIDA_PMIX_AGENT_PMI1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EGD_PMI_KVSNAME_MAX 256
#define EGD_PMI_KEY_MAX 64
#define EGD_PMI_VALUE_MAX 1024
#define EGD_PMI_LINE_MAX 4096

enum egd_pmi_request {
  EGD_PMI_PUT = 1,
  EGD_PMI_GET = 2,
  EGD_PMI_BARRIER = 3,
  EGD_PMI_ABORT = 4, // no answer; `code` is the exit code
};

struct egd_pmi1 {
  uint32_t rank, size;
  int fd; // blocking writes are fine: a rank reads its answers
  char line[EGD_PMI_LINE_MAX];
  size_t used;
  // The request that waits for egd_pmi1_reply(), 0 = none.
  enum egd_pmi_request pending;
  char key[EGD_PMI_KEY_MAX], value[EGD_PMI_VALUE_MAX];
  int code;
  bool in_spawn; // within mcmd=spawn … endcmd
  void (*request)(void *arg, struct egd_pmi1 *pmi);
  void *arg;
};

void egd_pmi1_init(struct egd_pmi1 *pmi, uint32_t rank, uint32_t size, int fd,
                   void (*request)(void *arg, struct egd_pmi1 *pmi), void *arg);
/// Read what the rank wrote and answer. False: end of stream, or not PMI-1.
bool egd_pmi1_read(struct egd_pmi1 *pmi);
/// Answer the pending request. GET: `value`, NULL = no such key. False: the rank is gone.
bool egd_pmi1_reply(struct egd_pmi1 *pmi, bool success, const char *value);

#endif
