// Injected faults: the rank kills itself at a named point, as a crash would, once.
#include <signal.h>
#include "runtime/internal.h"

void egd_fault_arm_check(enum egd_fault_point point, uint64_t count) {
  struct egd_rank_cb *cb = egd_rank.cb;
  if (atomic_load(&cb->fault_done)) return;
  if (count < atomic_load(&cb->fault_count)) return;
  atomic_store(&cb->fault_done, 1);
  // The image writer is a copy of the rank: it takes the rank with it.
  egd_sys2(SYS_kill, atomic_load(&cb->pid), SIGKILL);
  egd_sys2(SYS_kill, egd_sys0(SYS_getpid), SIGKILL);
}
