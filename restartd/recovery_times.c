#include "restartd/recovery_times.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "common/size.h"

const char *egd_recovery_phase_name(enum egd_recovery_phase phase) {
  static const char *const names[EGD_RECOVERY_PHASES] = {
      "detected", "fenced", "respawned", "restored", "replayed", "caught-up", "rereplicated",
  };
  return (unsigned)phase < EGD_RECOVERY_PHASES ? names[phase] : "unknown";
}

void egd_recovery_mark(struct egd_recovery_times *times, enum egd_recovery_phase phase, uint64_t at_ns) {
  if ((unsigned)phase >= EGD_RECOVERY_PHASES || times->at_ns[phase]) return;
  if (!at_ns) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    at_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
  }
  times->at_ns[phase] = at_ns;
}

uint64_t egd_recovery_since_detected(const struct egd_recovery_times *times, enum egd_recovery_phase phase) {
  uint64_t from = times->at_ns[EGD_RECOVERY_DETECTED], to = times->at_ns[phase];
  return from && to > from ? to - from : 0;
}

uint64_t egd_recovery_duration(const struct egd_recovery_times *times, enum egd_recovery_phase phase) {
  if (!times->at_ns[phase]) return 0;
  uint64_t before = 0;
  for (unsigned i = 0; i < (unsigned)phase; i++)
    if (times->at_ns[i] > before) before = times->at_ns[i];
  return before && times->at_ns[phase] > before ? times->at_ns[phase] - before : 0;
}

uint64_t egd_recovery_total(const struct egd_recovery_times *times) {
  return egd_recovery_since_detected(times, EGD_RECOVERY_REPLAYED);
}

__attribute__((format(printf, 4, 5))) static size_t append(char *text, size_t size, size_t at, const char *format,
                                                           ...) {
  if (at + 1 >= size) return at;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text + at, size - at, format, arguments);
  va_end(arguments);
  if (length < 0) return at;
  return at + (size_t)length < size ? at + (size_t)length : size - 1;
}

size_t egd_recovery_describe(const struct egd_recovery_times *times, char *text, size_t size) {
  if (!size) return 0;
  text[0] = '\0';
  char part[EGD_SIZE_TEXT];
  uint64_t total = egd_recovery_total(times);
  size_t at = 0;
  if (total)
    at = append(text, size, at, "%.2f s", (double)total / 1e9);
  else
    at = append(text, size, at, "not finished");
  bool first = true;
  for (unsigned i = EGD_RECOVERY_FENCED; i < EGD_RECOVERY_PHASES; i++) {
    if (!times->at_ns[i]) continue;
    at = append(text, size, at, "%s%s %s", first ? ": " : ", ", egd_recovery_phase_name(i),
                egd_duration_format(egd_recovery_duration(times, i), part));
    first = false;
  }
  return at;
}
