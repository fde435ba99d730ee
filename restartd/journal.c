#include "restartd/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/securepath.h"
#include "common/status.h"
#include "restartd/journal_record.h"

#define MAGIC "EGDJRNL1"
#define MAGIC_SIZE 8
#define CUT_BYTES (1 << 20)
#define LIMIT_BYTES (256 << 20)
#define SCAN_BYTES (256u << 10)
#define EPOCH_2020 1577836800

struct egd_journal {
  char path[PATH_MAX];
  const char *job; // the last part of the path
  int fd;
  bool said_full, said_lost;
  uint64_t next;                 // sequence number
  uint64_t newest, acknowledged; // of records; 0 = none
  uint64_t skip;                 // records up to this one are not given again
  int64_t first_end;             // behind the first record, which stays
  int64_t read_at, end;
  unsigned char *record, *chunk;
  size_t record_size, chunk_size;
  void (*appended)(void *arg);
  void *arg;
};

// Bytes from `at` on, in journal->chunk; fewer than `wanted` only at the end of the file.
static size_t load(struct egd_journal *journal, int64_t at, size_t wanted) {
  if (wanted > journal->chunk_size) {
    unsigned char *larger = realloc(journal->chunk, wanted);
    if (!larger) return 0;
    journal->chunk = larger;
    journal->chunk_size = wanted;
  }
  size_t length = 0;
  while (length < wanted) {
    ssize_t n = pread(journal->fd, journal->chunk + length, wanted - length, at + (int64_t)length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    length += (size_t)n;
  }
  return length;
}

// Whole records from `at` on: their bytes, at least one record; 0: there is none. *ret_begin: the first one above `skip`.
static size_t load_records(struct egd_journal *journal, int64_t at, size_t size, uint64_t skip, size_t *ret_begin,
                           uint64_t *ret_newest) {
  for (size_t wanted = size;;) {
    size_t length = load(journal, at, wanted), used = 0, record_length = 0;
    struct egd_record record;
    int status = EGD_ERR_NOT_FOUND;
    *ret_begin = 0;
    while (used < length) {
      status = egd_record_decode(journal->chunk + used, length - used, &record, &record_length);
      if (status != EGD_OK) break;
      used += record_length;
      if (record.seq <= skip) *ret_begin = used;
      *ret_newest = record.seq;
    }
    if (used > 0 || status != EGD_ERR_NOT_FOUND || length < wanted || record_length <= wanted) return used;
    wanted = record_length;
  }
}

// The end of the last whole record; what follows it was torn.
static void scan(struct egd_journal *journal) {
  size_t length, begin;
  journal->end = journal->first_end = MAGIC_SIZE;
  if (load(journal, MAGIC_SIZE, SCAN_BYTES) > 0) {
    struct egd_record first;
    size_t first_length;
    if (egd_record_decode(journal->chunk, journal->chunk_size, &first, &first_length) == EGD_OK)
      journal->first_end += (int64_t)first_length;
  }
  while ((length = load_records(journal, journal->end, SCAN_BYTES, 0, &begin, &journal->newest)) > 0)
    journal->end += (int64_t)length;
}

static struct egd_journal *create(const char *dir, const char *job, int flags) {
  struct egd_journal *journal = calloc(1, sizeof *journal);
  if (!journal) return NULL;
  int n = snprintf(journal->path, sizeof journal->path, "%s/journal/%s", dir, job);
  journal->job = strrchr(journal->path, '/') + 1;
  journal->fd = -1;
  struct stat status;
  errno = ENAMETOOLONG;
  if (n > 0 && (size_t)n < sizeof journal->path)
    journal->fd = open(journal->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
  if (journal->fd >= 0 && flock(journal->fd, LOCK_EX | LOCK_NB) == 0 && fstat(journal->fd, &status) == 0) {
    errno = EPERM;
    if (S_ISREG(status.st_mode) && status.st_uid == geteuid() && status.st_nlink == 1) return journal;
  }
  int error = errno;
  egd_journal_close(journal);
  errno = error;
  return NULL;
}

struct egd_journal *egd_journal_open(const char *dir, const char *job) {
  char folder[PATH_MAX];
  if (snprintf(folder, sizeof folder, "%s/journal", dir) >= (int)sizeof folder) return NULL;
  struct egd_journal *journal = egd_secure_mkdir(folder) == EGD_OK ? create(dir, job, O_CREAT) : NULL;
  if (!journal) {
    egd_log("%s/%s can't be written (%s): the cluster's service will not hear of this job; check the folder", folder,
            job, strerror(errno));
    return NULL;
  }
  char magic[MAGIC_SIZE];
  if (pread(journal->fd, magic, MAGIC_SIZE, 0) == MAGIC_SIZE && memcmp(magic, MAGIC, MAGIC_SIZE) == 0) {
    scan(journal);
  } else {
    journal->end = journal->first_end = MAGIC_SIZE;
    if (pwrite(journal->fd, MAGIC, MAGIC_SIZE, 0) != MAGIC_SIZE)
      egd_verbose("%s: its head can't be written: %s", journal->path, strerror(errno));
  }
  if (ftruncate(journal->fd, journal->end) != 0)
    egd_verbose("%s: its end can't be cut off: %s", journal->path, strerror(errno));
  uint64_t opening = (uint64_t)(time(NULL) - EPOCH_2020), last = journal->newest >> 32;
  journal->next = ((opening > last ? opening : last + 1) << 32) + 1;
  journal->read_at = MAGIC_SIZE;
  return journal;
}

struct egd_journal *egd_journal_open_left(const char *dir, const char *job) {
  struct egd_journal *journal = create(dir, job, 0);
  char magic[MAGIC_SIZE];
  if (!journal) return NULL;
  if (pread(journal->fd, magic, MAGIC_SIZE, 0) == MAGIC_SIZE && memcmp(magic, MAGIC, MAGIC_SIZE) == 0) {
    scan(journal);
    journal->next = journal->newest + 1;
    journal->read_at = MAGIC_SIZE;
    return journal;
  }
  egd_journal_close(journal);
  return NULL;
}

void egd_journal_close(struct egd_journal *journal) {
  if (!journal) return;
  if (journal->fd >= 0) {
    if (journal->end && egd_journal_is_confirmed(journal)) unlink(journal->path);
    close(journal->fd);
  }
  free(journal->record);
  free(journal->chunk);
  free(journal);
}

const char *egd_journal_job(const struct egd_journal *journal) {
  return journal->job;
}

void egd_journal_on_append(struct egd_journal *journal, void (*fn)(void *arg), void *arg) {
  journal->appended = fn;
  journal->arg = arg;
}

uint64_t egd_journal_next(const struct egd_journal *journal) {
  return journal->next;
}

void egd_journal_append(struct egd_journal *journal, enum egd_fact fact, bool durable, unsigned count,
                        const struct egd_value *values) {
  if (journal->end > LIMIT_BYTES && !durable) {
    if (!journal->said_full)
      egd_log("%s is full: the cluster's service gets only the main facts of this job until it takes what waits; see "
              "whether egida-restartd runs",
              journal->path);
    journal->said_full = true;
    return;
  }
  struct egd_record record = {.seq = journal->next, .fact = fact, .count = count};
  if (count > EGD_RECORD_VALUES) return;
  memcpy(record.values, values, count * sizeof *values);
  errno = ENOMEM;
  size_t length = egd_record_encode(&record, &journal->record, &journal->record_size);
  ssize_t n = length ? pwrite(journal->fd, journal->record, length, journal->end) : -1;
  if (n != (ssize_t)length || length == 0) { // the next record takes its place
    if (!journal->said_lost)
      egd_log("%s can't be written (%s): the cluster's service will miss some facts of this job; free some disk space",
              journal->path, strerror(n > 0 ? ENOSPC : errno));
    journal->said_lost = true;
    return;
  }
  if (journal->end == MAGIC_SIZE) journal->first_end = MAGIC_SIZE + (int64_t)length;
  journal->end += (int64_t)length;
  journal->newest = journal->next++;
  if (journal->appended) journal->appended(journal->arg);
}

bool egd_journal_rewind(struct egd_journal *journal, uint64_t acknowledged) {
  if (acknowledged >= journal->next) return false;
  journal->skip = acknowledged;
  journal->read_at = MAGIC_SIZE;
  return true;
}

size_t egd_journal_read(struct egd_journal *journal, size_t size, const unsigned char **ret_data,
                        uint64_t *ret_newest) {
  while (journal->read_at < journal->end) {
    size_t begin;
    uint64_t newest;
    size_t length = load_records(journal, journal->read_at, size, journal->skip, &begin, &newest);
    if (length == 0) {
      if (!journal->said_lost)
        egd_log("%s can't be read at %lld: the cluster's service will miss some facts of this job; check the disk",
                journal->path, (long long)journal->read_at);
      journal->said_lost = true;
      journal->read_at = journal->end;
      return 0;
    }
    journal->read_at += (int64_t)length;
    if (length == begin) continue;
    *ret_data = journal->chunk + begin;
    *ret_newest = newest;
    return length - begin;
  }
  return 0;
}

void egd_journal_acknowledge(struct egd_journal *journal, uint64_t seq) {
  if (seq > journal->acknowledged) journal->acknowledged = seq;
  if (!egd_journal_is_confirmed(journal) || journal->end <= CUT_BYTES || journal->end <= journal->first_end) return;
  if (ftruncate(journal->fd, journal->first_end) != 0) return; // it stays long
  journal->end = journal->read_at = journal->first_end;
  journal->said_full = false;
}

bool egd_journal_is_confirmed(const struct egd_journal *journal) {
  return journal->acknowledged >= journal->newest;
}
