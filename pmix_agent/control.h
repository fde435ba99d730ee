// Binary frames on the streams watchdog -> agent -> launcher (docs/formats/control.md). Little-endian.
#ifndef EGIDA_PMIX_AGENT_CONTROL_H
#define EGIDA_PMIX_AGENT_CONTROL_H

#include <stdint.h>

#define EGD_CONTROL_MAX_BODY (4u << 20)
#define EGD_CONTROL_STRANGER_BODY (64u << 10) // before a proof of the job's secret
#define EGD_CONTROL_STATEMENT "agent %u %u" // node, incarnation: what an agent proves to be
#define EGD_CONTROL_FENCE "fence/%u-%u"     // in the job's folder: this incarnation of the node was given up

enum egd_control_kind {
  EGD_CONTROL_OUTPUT = 1, // bytes [value, value + length) of the rank's output ring: whole output records
  EGD_CONTROL_RAW = 2,    // bytes that came round the runtime, value = stream (1 or 2)
  EGD_CONTROL_ACK = 3,    // launcher -> agent: output below `value` was written
};

struct egd_control_head {
  uint32_t kind, rank;
  uint64_t value;
};
_Static_assert(sizeof(struct egd_control_head) == 16, "no padding");

#endif
