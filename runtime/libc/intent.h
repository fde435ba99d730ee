// The intent of a file operation, as logged before it is done (EGD_EVENT_INTENT; aux = number of the system call, value =
// 1 if the name existed before, or the position of a write).
#ifndef EGIDA_RUNTIME_LIBC_INTENT_H
#define EGIDA_RUNTIME_LIBC_INTENT_H

#include <stdint.h>

struct egd_intent {
  uint64_t device, inode;
  uint64_t offset, length; // of a write
  uint64_t size_before;    // of the file
};

#endif
