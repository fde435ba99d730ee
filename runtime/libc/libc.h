// What runtime/libc offers to the rest of the runtime beyond the hooks in runtime/rank.h.
#ifndef EGIDA_RUNTIME_LIBC_LIBC_H
#define EGIDA_RUNTIME_LIBC_LIBC_H

#include <stdint.h>

/// A point of the execution that replay finds again: signals that arrived for the application are logged and handed to its
/// handlers here, and nowhere else. Called at the start of every progress call and at every trapped system call. May not
/// return (a handler that calls siglongjmp), so no state of the runtime may be half-changed.
void egd_libc_event_point(void);

/// The clock as the kernel has it: no log, no offset. Nanoseconds.
int64_t egd_libc_raw_clock_ns(int clock);

#endif
