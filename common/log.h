// Messages for people: one line each on stderr, "egida: …", whole lines even when several processes write.
#ifndef EGIDA_COMMON_LOG_H
#define EGIDA_COMMON_LOG_H

#include <stdarg.h>
#include <stdbool.h>

/// Lines begin with "egida: ", or "egida-agent (node 1): " …; copied, at most 63 bytes.
void egd_log_set_name(const char *name);
/// Show what egd_verbose() says.
void egd_log_set_verbose(bool verbose);
bool egd_log_is_verbose(void);
/// Write lines to this descriptor instead of stderr.
void egd_log_set_stream(int fd);
/// Also write lines to this descriptor (a log file); -1 = none.
void egd_log_set_file(int fd);

void egd_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
void egd_verbose(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
