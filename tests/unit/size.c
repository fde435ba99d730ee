// Sizes and durations, and the description of a recovery.
#include <string.h>

#include "common/size.h"
#include "common/status.h"
#include "restartd/recovery_times.h"
#include "tests/unit/tap_store.h"

static void size_is(const char *text, uint64_t want) {
  uint64_t got = 77;
  int status = egd_size_parse(text, &got);
  ok(status == EGD_OK && got == want, "\"%s\" is %llu bytes (%llu)", text, (unsigned long long)want,
     (unsigned long long)got);
}
static void duration_is(const char *text, uint64_t want) {
  uint64_t got = 77;
  int status = egd_duration_parse(text, &got);
  ok(status == EGD_OK && got == want, "\"%s\" is %llu ns (%llu)", text, (unsigned long long)want,
     (unsigned long long)got);
}

int main(void) {
  size_is("0", 0);
  size_is("4096", 4096);
  size_is("1k", 1024);
  size_is("512M", 512ull << 20);
  size_is("1.5G", 3ull << 29);
  size_is("1.5 GiB", 3ull << 29);
  size_is("10kb", 10240);
  size_is(".5K", 512);
  size_is("7B", 7);
  size_is("3T", 3ull << 40);
  size_is("18446744073709551615", UINT64_MAX);
  static const char *const bad_sizes[] = {
      "", "M", "-1", "1.5X", "12 34", "1e6", "16777216T", "18446744073709551616", "5 MBs", ".", "0x10", "1Mi"};
  for (unsigned i = 0; i < sizeof bad_sizes / sizeof *bad_sizes; i++) {
    uint64_t untouched = 77;
    int status = egd_size_parse(bad_sizes[i], &untouched);
    ok(status == EGD_ERR_INVALID && untouched == 77, "size \"%s\" is refused", bad_sizes[i]);
  }

  duration_is("30", 30000000000);
  duration_is("30s", 30000000000);
  duration_is("1.5s", 1500000000);
  duration_is("2min", 120000000000);
  duration_is("2m", 120000000000);
  duration_is("250ms", 250000000);
  duration_is("3us", 3000);
  duration_is("9ns", 9);
  duration_is("1h30m", 5400000000000);
  duration_is("1d 2h", 93600000000000);
  duration_is("0.1", 100000000);
  static const char *const bad_durations[] = {"", "s", "-1s", "1x", "5 5", "1h30", "1e3s", "99999999999999d"};
  for (unsigned i = 0; i < sizeof bad_durations / sizeof *bad_durations; i++) {
    uint64_t untouched = 77;
    int status = egd_duration_parse(bad_durations[i], &untouched);
    ok(status == EGD_ERR_INVALID && untouched == 77, "duration \"%s\" is refused", bad_durations[i]);
  }

  static const struct {
    uint64_t value;
    const char *text;
  } sizes[] = {{0, "0"},
               {999, "999"},
               {1000, "0.98K"},
               {1024, "1.00K"},
               {1500, "1.46K"},
               {10235, "10.0K"},
               {1023 * 1024, "1.00M"},
               {999 * 1024, "999K"},
               {12 << 20, "12.0M"},
               {512 << 20, "512M"},
               {UINT64_MAX, "16.0E"}},
    durations[] = {{0, "0"},
                   {870, "870ns"},
                   {1000, "1.00us"},
                   {12345, "12.3us"},
                   {999499, "999us"},
                   {999500, "1.00ms"},
                   {210000000, "210ms"},
                   {999999999, "1.00s"},
                   {1250000000, "1.25s"},
                   {59900000000, "59.9s"},
                   {59960000000, "1m00s"},
                   {125000000000, "2m05s"},
                   {3599600000000, "1h00m"},
                   {11220000000000, "3h07m"},
                   {352800000000000, "4d02h"},
                   {UINT64_MAX, "213503d23h"}};
  char text[EGD_SIZE_TEXT];
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
    ok(strcmp(egd_size_format(sizes[i].value, text), sizes[i].text) == 0, "%llu bytes are \"%s\" (\"%s\")",
       (unsigned long long)sizes[i].value, sizes[i].text, text);
  for (unsigned i = 0; i < sizeof durations / sizeof *durations; i++)
    ok(strcmp(egd_duration_format(durations[i].value, text), durations[i].text) == 0, "%llu ns are \"%s\" (\"%s\")",
       (unsigned long long)durations[i].value, durations[i].text, text);

  struct egd_recovery_times times = {0};
  char line[160];
  egd_recovery_describe(&times, line, sizeof line);
  ok(strcmp(line, "not finished") == 0, "an empty recovery: \"%s\"", line);
  egd_recovery_mark(&times, EGD_RECOVERY_DETECTED, 1000000000);
  egd_recovery_mark(&times, EGD_RECOVERY_RESPAWNED, 1012000000);
  egd_recovery_mark(&times, EGD_RECOVERY_RESPAWNED, 1900000000);
  egd_recovery_mark(&times, EGD_RECOVERY_RESTORED, 1100000000);
  ok(egd_recovery_total(&times) == 0, "no total before the rank is live");
  egd_recovery_mark(&times, EGD_RECOVERY_REPLAYED, 1210000000);
  egd_recovery_describe(&times, line, sizeof line);
  ok(strcmp(line, "0.21 s: respawned 12.0ms, restored 88.0ms, replayed 110ms") == 0, "phases: \"%s\"", line);
  ok(egd_recovery_total(&times) == 210000000, "the total ends with the replay");
  size_t length = egd_recovery_describe(&times, line, 20);
  ok(length == 19 && strcmp(line, "0.21 s: respawned 1") == 0, "a short buffer cuts the text: \"%s\"", line);
  egd_recovery_mark(&times, EGD_RECOVERY_CAUGHT_UP, 0);
  ok(times.at_ns[EGD_RECOVERY_CAUGHT_UP] > 0, "0 marks with the clock");
  return done();
}
