#include "pmix_agent/replica_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "common/securepath.h"
#include "common/segment.h"
#include "common/status.h"

#define MAGIC 0x31544544444745ull // "EGDDET1"
#define FIRST 1u                  // flag: the file begins here
#define ROTATE_AT (128ull << 20)  // a longer file is written anew from its tail on

// Before each run of bytes; the whole is checksummed, so a torn end is recognised.
struct run {
  uint64_t magic, job_hash;
  uint32_t rank, flags;
  uint64_t position, length, tail, newest, polls;
  uint64_t check;
};
_Static_assert(sizeof(struct run) == 72, "file format");

struct file {
  int fd; // + 1; 0 = not open
  uint64_t size;
};

struct egd_disk {
  int folder, signal;
  uint64_t job_hash;
  char path[512]; // of the folder, for messages
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  bool stop, busy, finished; // under the lock
  uint64_t cut;
  struct egd_disk_entry *entries;
  size_t count, size;
  int status;
  char why[256];
  struct file files[EGD_MAX_RANKS]; // the thread's
};

static uint64_t checksum(const struct run *run, const struct iovec *data, int count) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, run, offsetof(struct run, check));
  for (int i = 0; i < count; i++) XXH3_64bits_update(&state, data[i].iov_base, data[i].iov_len);
  return XXH3_64bits_digest(&state);
}

// ---- the thread -------------------------------------------------------------------------------------------------------

static bool write_all(int fd, struct iovec *parts, int count) {
  while (count > 0) {
    ssize_t n = writev(fd, parts, count);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    while (count > 0 && (size_t)n >= parts->iov_len) {
      n -= (ssize_t)parts->iov_len;
      parts++;
      count--;
    }
    if (count > 0) {
      parts->iov_base = (char *)parts->iov_base + n;
      parts->iov_len -= (size_t)n;
    }
  }
  return true;
}

static bool write_run(int fd, uint64_t job_hash, uint32_t rank, uint64_t from, const struct egd_replica_state *state,
                      bool first, const struct iovec data[2]) {
  struct run run = {
      .magic = MAGIC,
      .job_hash = job_hash,
      .rank = rank,
      .flags = first ? FIRST : 0,
      .position = from,
      .length = state->head - from,
      .tail = state->tail,
      .newest = state->newest,
      .polls = state->polls,
  };
  struct iovec parts[3] = {{&run, sizeof run}, data[0], data[1]};
  run.check = checksum(&run, data, 2);
  return write_all(fd, parts, 3);
}

static bool write_entry(struct egd_disk *disk, int fd, const struct egd_disk_entry *entry, uint64_t from, bool first) {
  struct iovec data[2];
  egd_replica_of_ring(entry->ring, from, entry->state.head, data);
  return write_run(fd, disk->job_hash, entry->rank, from, &entry->state, first, data);
}

void egd_replica_of_ring(const unsigned char *ring, uint64_t from, uint64_t to, struct iovec ret_parts[2]) {
  uint64_t at = from % EGD_DETERMINANT_RING, one = EGD_DETERMINANT_RING - at;
  if (one > to - from) one = to - from;
  ret_parts[0] = (struct iovec){(void *)(ring + at), one};
  ret_parts[1] = (struct iovec){(void *)ring, to - from - one};
}

int egd_disk_write_log(const char *path, uint64_t job_hash, uint32_t rank, const struct egd_replica_state *state,
                       const struct iovec data[2]) {
  unlink(path);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  bool good = fd >= 0 && write_run(fd, job_hash, rank, state->tail, state, true, data) && fsync(fd) == 0;
  int error = errno;
  if (fd >= 0) close(fd);
  if (!good && fd >= 0) unlink(path);
  errno = error;
  return good ? EGD_OK : error == ENOSPC || error == EDQUOT ? EGD_ERR_NO_SPACE : EGD_ERR_IO;
}

static bool start_file(struct egd_disk *disk, const struct egd_disk_entry *entry, uint64_t from) {
  struct file *file = &disk->files[entry->rank];
  char name[64], temporary[72];
  snprintf(name, sizeof name, "rank-%u.log", entry->rank);
  snprintf(temporary, sizeof temporary, "%s.%d", name, (int)getpid());
  if (file->fd) close(file->fd - 1);
  file->fd = 0;
  unlinkat(disk->folder, temporary, 0);
  int fd = openat(disk->folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_APPEND, 0600);
  if (fd < 0) return false;
  // A node that was given up may still write: it writes to the file that this one replaces.
  if (!write_entry(disk, fd, entry, from, true) || fsync(fd) != 0 ||
      renameat(disk->folder, temporary, disk->folder, name) != 0 || fsync(disk->folder) != 0) {
    int error = errno;
    close(fd);
    unlinkat(disk->folder, temporary, 0);
    errno = error;
    return false;
  }
  file->fd = fd + 1;
  file->size = sizeof(struct run) + (entry->state.head - from);
  return true;
}

static bool add_run(struct egd_disk *disk, const struct egd_disk_entry *entry) {
  struct file *file = &disk->files[entry->rank];
  uint64_t retained = entry->state.head - entry->state.tail;
  if (entry->restart || !file->fd) return start_file(disk, entry, entry->restart ? entry->from : entry->state.tail);
  if (file->size > ROTATE_AT && file->size > 4 * retained) return start_file(disk, entry, entry->state.tail);
  file->size += sizeof(struct run) + (entry->state.head - entry->from);
  return write_entry(disk, file->fd - 1, entry, entry->from, false);
}

static int commit(struct egd_disk *disk, const struct egd_disk_entry *entries, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!add_run(disk, &entries[i])) goto failed;
  for (size_t i = 0; i < count; i++)
    if (fdatasync(disk->files[entries[i].rank].fd - 1) != 0) goto failed;
  return EGD_OK;
failed:
  snprintf(disk->why, sizeof disk->why, "cannot write determinants to %.180s: %s", disk->path, strerror(errno));
  return errno == ENOSPC || errno == EDQUOT ? EGD_ERR_NO_SPACE : EGD_ERR_IO;
}

static void *run_thread(void *arg) {
  struct egd_disk *disk = arg;
  pthread_mutex_lock(&disk->lock);
  for (;;) {
    while (!disk->stop && !(disk->busy && !disk->finished)) pthread_cond_wait(&disk->wake, &disk->lock);
    if (!disk->busy || disk->finished) break;
    pthread_mutex_unlock(&disk->lock);
    int status = commit(disk, disk->entries, disk->count); // the entries stay as they are while busy
    pthread_mutex_lock(&disk->lock);
    disk->status = status;
    disk->finished = true;
    uint64_t one = 1;
    if (write(disk->signal, &one, sizeof one) < 0) continue; // cannot fail: the counter is drained each time
  }
  pthread_mutex_unlock(&disk->lock);
  return NULL;
}

// ---- the agent's side -------------------------------------------------------------------------------------------------

int egd_disk_create(const char *job_dir, uint64_t job_hash, struct egd_disk **ret_disk, char *why, size_t why_size) {
  struct egd_disk *disk = calloc(1, sizeof *disk);
  if (!disk) {
    snprintf(why, why_size, "no memory for the determinants' writer");
    return EGD_ERR_NO_MEMORY;
  }
  disk->job_hash = job_hash;
  snprintf(disk->path, sizeof disk->path, "%.480s/determinants", job_dir);
  disk->signal = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  bool made = egd_secure_mkdir(disk->path) == EGD_OK;
  disk->folder = made ? open(disk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
  pthread_mutex_init(&disk->lock, NULL);
  pthread_cond_init(&disk->wake, NULL);
  if (disk->folder < 0 || disk->signal < 0 || pthread_create(&disk->thread, NULL, run_thread, disk) != 0) {
    snprintf(why, why_size, "cannot keep determinants in %s: %s", disk->path, strerror(errno));
    if (disk->folder >= 0) close(disk->folder);
    if (disk->signal >= 0) close(disk->signal);
    free(disk);
    return EGD_ERR_IO;
  }
  *ret_disk = disk;
  return EGD_OK;
}

void egd_disk_destroy(struct egd_disk *disk) {
  if (!disk) return;
  pthread_mutex_lock(&disk->lock);
  disk->stop = true;
  pthread_cond_signal(&disk->wake);
  pthread_mutex_unlock(&disk->lock);
  pthread_join(disk->thread, NULL);
  for (uint32_t rank = 0; rank < EGD_MAX_RANKS; rank++)
    if (disk->files[rank].fd) close(disk->files[rank].fd - 1);
  pthread_mutex_destroy(&disk->lock);
  pthread_cond_destroy(&disk->wake);
  close(disk->folder);
  close(disk->signal);
  free(disk->entries);
  free(disk);
}

int egd_disk_fd(const struct egd_disk *disk) {
  return disk->signal;
}

bool egd_disk_busy(const struct egd_disk *disk) {
  return disk->busy;
} // only the agent's thread changes it

int egd_disk_submit(struct egd_disk *disk, uint64_t cut, const struct egd_disk_entry *entries, size_t count) {
  if (count > disk->size) {
    struct egd_disk_entry *grown = realloc(disk->entries, count * sizeof *grown);
    if (!grown) return EGD_ERR_NO_MEMORY;
    disk->entries = grown;
    disk->size = count;
  }
  if (count > 0) memcpy(disk->entries, entries, count * sizeof *entries);
  pthread_mutex_lock(&disk->lock);
  disk->count = count;
  disk->cut = cut;
  disk->busy = true;
  disk->finished = false;
  pthread_cond_signal(&disk->wake);
  pthread_mutex_unlock(&disk->lock);
  return EGD_OK;
}

uint64_t egd_disk_finished(struct egd_disk *disk, int *ret_status, char *why, size_t why_size) {
  uint64_t signals;
  if (read(disk->signal, &signals, sizeof signals) < 0) return 0;
  pthread_mutex_lock(&disk->lock);
  uint64_t cut = disk->finished ? disk->cut : 0;
  if (disk->finished) {
    *ret_status = disk->status;
    snprintf(why, why_size, "%s", disk->status == EGD_OK ? "" : disk->why);
    disk->busy = disk->finished = false;
  }
  pthread_mutex_unlock(&disk->lock);
  return cut;
}

// ---- reading ------------------------------------------------------------------------------------------------------------

static bool read_all(int fd, void *to, size_t length) {
  unsigned char *p = to;
  while (length > 0) {
    ssize_t n = read(fd, p, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n;
    length -= (size_t)n;
  }
  return true;
}

// The next run of the file. EGD_ERR_CORRUPT: no whole run follows.
static int read_run(int fd, uint64_t job_hash, uint32_t rank, bool first, struct egd_replica *replica) {
  struct run run;
  if (!read_all(fd, &run, sizeof run) || run.magic != MAGIC) return EGD_ERR_CORRUPT;
  if (run.job_hash != job_hash || run.rank != rank) return first ? EGD_ERR_FOREIGN : EGD_ERR_CORRUPT;
  if (run.length > EGD_DETERMINANT_RING || (run.flags & FIRST) != (first ? FIRST : 0)) return EGD_ERR_CORRUPT;
  unsigned char *data = malloc(run.length + 1);
  if (!data) return EGD_ERR_NO_MEMORY;
  int status = read_all(fd, data, run.length) ? EGD_OK : EGD_ERR_CORRUPT;
  struct iovec part = {data, run.length};
  if (status == EGD_OK && checksum(&run, &part, 1) != run.check) status = EGD_ERR_CORRUPT;
  struct egd_replica_state state = {.tail = run.tail, .newest = run.newest, .polls = run.polls};
  if (status == EGD_OK) status = egd_replica_append(replica, run.position, first, &state, data, run.length);
  if (status == EGD_OK) egd_replica_commit(replica);
  free(data);
  return status;
}

int egd_disk_read(const char *path, uint64_t job_hash, uint32_t rank, struct egd_replica *replica) {
  int fd = egd_secure_open(path);
  if (fd < 0)
    return errno == ENOENT ? EGD_ERR_NOT_FOUND : errno == EPERM || errno == ELOOP ? EGD_ERR_FOREIGN : EGD_ERR_IO;
  int status = read_run(fd, job_hash, rank, true, replica);
  bool whole = status == EGD_OK;
  while (status == EGD_OK) status = read_run(fd, job_hash, rank, false, replica);
  close(fd);
  // A torn end was never confirmed to anybody.
  return whole && status == EGD_ERR_CORRUPT ? EGD_OK : status;
}
