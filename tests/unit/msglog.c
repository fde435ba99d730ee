// The message log under its hardest use: the writer is killed at random instructions, attaches again and goes on, while
// the reader reads everything exactly once and in order; memory stays bounded by what the reader has not consumed.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "common/msglog.h"
#include "common/status.h"

static int test, failed;
static void ok(int good, const char *what) {
  printf("%s %d - %s\n", good ? "ok" : "not ok", ++test, what);
  if (!good) failed = 1;
  fflush(stdout);
}

static void release(void *p, size_t size) {
  (void)size;
  free(p);
}
static const struct egd_log_hooks hooks = {malloc, release, NULL, NULL};

static struct egd_segment *segment(int *ret_fd, uint64_t limit) {
  struct egd_plan plan = {.version = EGD_PLAN_VERSION, .name = "test"};
  struct egd_segment *seg;
  if (egd_segment_create(3, 0, 1, "job", 1, "/x", "/y", &plan, limit, ret_fd) != EGD_OK) abort();
  if (egd_segment_map(*ret_fd, &seg) != EGD_OK) abort();
  return seg;
}

static uint32_t mix(uint64_t x) {
  x ^= x >> 31;
  x *= 0x9E3779B97F4A7C15ull;
  x ^= x >> 29;
  return (uint32_t)(x >> 16);
}
static uint64_t length_of(uint64_t ssn) {
  uint32_t r = mix(ssn + 1);
  switch (r % 8) {
  case 0:
    return 0;
  case 1:
    return r % 40000;
  case 2:
    return r % 300000;
  default:
    return r % 200;
  }
}

static void write_record(struct egd_log *log, uint32_t dest, uint64_t ssn) {
  uint64_t length = length_of(ssn);
  struct egd_record *record;
  while (!(record = egd_log_open(log, dest, EGD_RECORD_TAG, ssn, 0, 0, length))) usleep(100);
  if (length <= EGD_INLINE_MAX) {
    memset(record->inline_payload, (int)mix(ssn), length);
  } else {
    for (uint64_t at = record->payload; at;) {
      struct egd_extent *extent = egd_at(log->seg, at);
      memset(egd_at(log->seg, extent->data), (int)mix(ssn), extent->length);
      at = extent->next;
    }
  }
  egd_log_publish(log, dest, record);
}

static int check_record(const struct egd_segment *seg, const struct egd_record *record, uint64_t ssn) {
  static unsigned char buffer[300000];
  if (record->imm != ssn || record->length != length_of(ssn)) return 0;
  egd_record_read(seg, record, 0, buffer, record->length);
  for (uint64_t i = 0; i < record->length; i++)
    if (buffer[i] != (unsigned char)mix(ssn)) return 0;
  return 1;
}

static void writer(struct egd_segment *seg, uint64_t limit, uint64_t total) {
  struct egd_log log;
  egd_log_attach(&log, seg, 0, false, limit, &hooks);
  for (;;) {
    uint64_t ssn = atomic_load(&egd_channel(seg, 0, 1)->published);
    if (ssn >= total) _exit(0);
    write_record(&log, 1, ssn);
  }
}

// States that a kill between two stores leaves, made by hand.
static void killed_between_stores(struct egd_segment *seg, uint64_t limit) {
  struct egd_log log;
  struct egd_channel *channel = egd_channel(seg, 2, 0);
  egd_log_attach(&log, seg, 2, true, limit, &hooks);
  write_record(&log, 0, 0);
  uint64_t block = atomic_load(&channel->head);
  atomic_store(&channel->head, 0); // the first block was made, but not named
  atomic_store(&channel->published, 0);
  egd_log_detach(&log);
  egd_log_attach(&log, seg, 2, true, limit, &hooks);
  ok(block && atomic_load(&channel->tail) == 0, "a first block that was not named yet is forgotten");
  for (uint64_t ssn = 0; ssn < 300; ssn++) write_record(&log, 0, ssn);
  struct egd_reader reader;
  egd_reader_init(&reader, seg, 2, 0, 0);
  int bad = 0;
  for (uint64_t ssn = 0; ssn < 300; ssn++) {
    const struct egd_record *record = egd_reader_peek(&reader);
    if (!record || !check_record(seg, record, ssn)) {
      bad = 1;
      break;
    }
    egd_reader_advance(&reader, record);
  }
  ok(!bad, "and the channel begins anew");

  atomic_fetch_add(&channel->generation, 1);
  egd_reader_init(&reader, seg, 2, 0, 17);
  ok(egd_reader_locate(&reader) == EGD_ERR_NOT_FOUND, "a reader does not wait for a writer that died while it freed");
  egd_log_detach(&log);
  egd_log_attach(&log, seg, 2, true, limit, &hooks);
  ok(egd_reader_locate(&reader) == EGD_OK, "and finds its place when the writer is back");

  egd_log_reset_channel(&log, 0, 300);
  atomic_fetch_add(&channel->generation, 1);
  egd_log_detach(&log);
  egd_log_attach(&log, seg, 2, true, limit, &hooks);
  write_record(&log, 0, 300);
  egd_reader_init(&reader, seg, 2, 0, 300);
  ok(egd_reader_locate(&reader) == EGD_OK, "the same in an empty channel");
  egd_log_detach(&log);
}

static int spill_fd;
static bool grow(uint64_t offset, uint64_t length) {
  return fallocate(spill_fd, 0, (off_t)offset, (off_t)length) == 0;
}

// Writers that spill and are killed again and again use the same room of the file.
static void spilled(struct egd_segment *seg) {
  static const struct egd_log_hooks with_spill = {malloc, release, NULL, grow};
  const uint64_t limit = 2 << 20;
  spill_fd = memfd_create("spill", 0);
  uint64_t size = 3 * egd_spill_slice_size(3);
  void *at = mmap((void *)EGD_SPILL_BASE, size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, spill_fd, 0);
  if (spill_fd < 0 || at != (void *)EGD_SPILL_BASE) abort();
  struct egd_log log;
  uint64_t ssn = 0, read = 0, highest = 0;
  int bad = 0;
  for (int life = 0; life < 30; life++) {
    egd_log_attach(&log, seg, 1, true, limit, &with_spill);
    for (int i = 0; i < 600; i++) write_record(&log, 2, ssn++);
    if (life == 5) highest = log.spill.bump;
    if (log.spill.bump > log.spill.end) bad = 1;
    struct egd_reader reader;
    for (egd_reader_init(&reader, seg, 1, 2, read); read + 300 < ssn; read++) {
      const struct egd_record *record = egd_reader_peek(&reader);
      if (!record || !check_record(seg, record, read)) bad = 1;
      if (!record) break;
      egd_reader_advance(&reader, record);
    }
    atomic_store(&egd_bounds(seg, 2)[1], read);
    egd_log_detach(&log);
  }
  struct stat st;
  fstat(spill_fd, &st);
  printf("# spill: %llu bytes after 6 lives, %llu after 30\n", (unsigned long long)(highest - log.spill.begin),
         (unsigned long long)(log.spill.bump - log.spill.begin));
  ok(!bad && highest > log.spill.begin, "what is spilled is read back, also by readers of a restarted writer");
  ok(log.spill.bump - log.spill.begin < 2 * (highest - log.spill.begin), "restarts do not use up the spill file");
}

int main(void) {
  const uint64_t limit = 8 << 20, total = 30000;
  int fd;
  struct egd_segment *seg = segment(&fd, limit);
  struct egd_reader reader;
  egd_reader_init(&reader, seg, 0, 1, 0);
  unsigned seed = (unsigned)time(NULL);
  printf("# seed %u\n", seed);
  srand(seed);
  int bad = 0, kills = 0;
  pid_t child = 0;
  time_t deadline = time(NULL) + 60;
  uint64_t kill_at = 0;
  while (reader.ssn < total && time(NULL) < deadline && !bad) {
    if (!child) {
      child = fork();
      if (child == 0) writer(seg, limit, total);
      kill_at = reader.ssn + (unsigned)rand() % 400;
    }
    const struct egd_record *record = egd_reader_peek(&reader);
    if (record) {
      if (!check_record(seg, record, reader.ssn)) bad = 1;
      egd_reader_advance(&reader, record);
      atomic_store(&egd_consumed(seg, 1)[0], reader.ssn);
    }
    if (reader.ssn >= kill_at && reader.ssn < total - 500) {
      kill(child, SIGKILL);
      waitpid(child, NULL, 0);
      child = 0;
      kills++;
    }
  }
  if (child) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  printf("# %d kills, %llu records\n", kills, (unsigned long long)reader.ssn);
  ok(!bad && reader.ssn == total,
     "every record arrives once, in order and whole, although the writer is killed again and again");
  ok(kills > 20, "the writer was killed often");

  // Kept until the receiver's images cover them.
  struct egd_log log;
  egd_log_attach(&log, seg, 2, true, limit, &hooks);
  for (uint64_t ssn = 0; ssn < 200; ssn++) write_record(&log, 1, ssn);
  uint64_t used = egd_log_used(&log);
  atomic_store(&egd_consumed(seg, 1)[2], 200);
  ok(!egd_log_collect(&log, 1) && egd_log_used(&log) == used, "consumed records are kept while no image covers them");
  atomic_store(&egd_bounds(seg, 1)[2], 100);
  ok(egd_log_collect(&log, 1) && egd_log_used(&log) < used, "covered records are freed");
  egd_reader_init(&reader, seg, 2, 1, 100);
  bad = 0;
  for (uint64_t ssn = 100; ssn < 200; ssn++) {
    const struct egd_record *record = egd_reader_peek(&reader);
    if (!record || !check_record(seg, record, ssn)) bad = 1;
    if (record) egd_reader_advance(&reader, record);
  }
  ok(!bad, "the others are read again, as a restarted receiver does");
  egd_reader_init(&reader, seg, 2, 1, 10);
  ok(egd_reader_locate(&reader) == EGD_ERR_LOST || egd_reader_peek(&reader) != NULL,
     "a record that was freed is reported or still whole");
  uint64_t before = egd_log_used(&log);
  egd_log_detach(&log);
  egd_log_attach(&log, seg, 2, true, limit, &hooks);
  ok(egd_log_used(&log) <= before, "attaching again finds the same memory in use");
  bad = 0;
  for (uint64_t ssn = 200; ssn < 100000; ssn++) {
    atomic_store(&egd_bounds(seg, 1)[2], ssn > 50 ? ssn - 50 : 0);
    write_record(&log, 1, ssn);
    if (egd_log_used(&log) > limit) bad = 1;
  }
  ok(!bad, "the log stays within its limit");
  atomic_store(&egd_bounds(seg, 1)[2], 100000);
  egd_log_collect(&log, 1);
  ok(egd_log_used(&log) <= 256 << 10, "and is empty but for its last block when all is covered");

  egd_log_reset_channel(&log, 1, 5000);
  write_record(&log, 1, 5000);
  egd_reader_init(&reader, seg, 2, 1, 5000);
  const struct egd_record *record = egd_reader_peek(&reader);
  ok(record && check_record(seg, record, 5000), "a mirror can begin anew at any ssn");
  egd_log_detach(&log);
  killed_between_stores(seg, limit);
  spilled(seg);
  printf("1..%d\n", test);
  return failed;
}
