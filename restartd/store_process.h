// Which process runs a job: enough to know later, and from another process, whether it still does.
#ifndef EGIDA_RESTARTD_STORE_PROCESS_H
#define EGIDA_RESTARTD_STORE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct egd_store_process {
  int64_t pid;
  int64_t start; // clock ticks since boot, field 22 of /proc/PID/stat: tells a reused pid
  char host[72];
  char boot[40]; // /proc/sys/kernel/random/boot_id
};

void egd_store_process_self(struct egd_store_process *ret_process);

enum egd_store_life { EGD_STORE_DEAD, EGD_STORE_ALIVE, EGD_STORE_ELSEWHERE };
/// ELSEWHERE: it runs, or ran, on another host, from where it can't be told.
enum egd_store_life egd_store_process_life(const struct egd_store_process *process);

#endif
