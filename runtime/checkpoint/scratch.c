#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include "runtime/checkpoint/format.h"
#include "runtime/checkpoint/image.h"
#include "runtime/checkpoint/scratch.h"
#include "runtime/syscall.h"

void egd_table_init(struct egd_table *table, enum egd_scratch_window window) {
  table->base = (char *)(EGD_SCRATCH_BASE + window * EGD_SCRATCH_WINDOW);
  table->used = table->mapped = 0;
}

static int make_room(struct egd_table *table, size_t size) {
  if (table->used + size <= table->mapped) return 0;
  size_t more = table->mapped < (64u << 10) ? (64u << 10) : table->mapped;
  while (table->mapped + more < table->used + size) more *= 2;
  if (table->mapped + more > EGD_SCRATCH_WINDOW) return -ENOMEM;
  char *at = table->base + table->mapped;
  long got = egd_sys6(SYS_mmap, at, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (got < 0) return (int)got;
  table->mapped += more;
  return 0;
}

void *egd_table_add(struct egd_table *table, size_t size) {
  if (make_room(table, size) < 0) return NULL;
  void *at = table->base + table->used;
  table->used += size;
  __builtin_memset(at, 0, size); // the room may have been used before (egd_table_read_file)
  return at;
}

static long reserve(uint64_t begin, uint64_t end, int how) {
  return egd_sys6(SYS_mmap, begin, end - begin, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | how, -1, 0);
}

void egd_scratch_release(void) {
  reserve(EGD_SCRATCH_BASE, EGD_SCRATCH_END, MAP_FIXED);
}

void egd_loader_release(void) {
  reserve(EGD_LOADER_BASE, EGD_LOADER_END, MAP_FIXED);
}

int egd_image_reserve(void) {
  long at = reserve(EGD_SCRATCH_BASE, EGD_SCRATCH_END, MAP_FIXED_NOREPLACE);
  if (at >= 0) at = reserve(EGD_LOADER_BASE, EGD_LOADER_END, MAP_FIXED_NOREPLACE);
  return at < 0 ? (int)at : 0;
}

int64_t egd_table_read_file(struct egd_table *table, const char *path) {
  int fd = (int)egd_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  size_t begin = table->used;
  int64_t result;
  for (;;) {
    int status = make_room(table, 16384);
    if (status < 0) {
      result = status;
      break;
    }
    long got = egd_sys3(SYS_read, fd, table->base + table->used, table->mapped - table->used - 1);
    if (got == -EINTR) continue;
    if (got < 0) {
      result = got;
      break;
    }
    if (got == 0) {
      result = (int64_t)(table->used - begin);
      table->base[table->used++] = '\0';
      break;
    }
    table->used += (size_t)got;
  }
  egd_sys1(SYS_close, fd);
  if (result < 0) table->used = begin;
  return result;
}

int egd_write_all(int fd, const void *data, size_t length, uint64_t offset) {
  const char *from = data;
  while (length > 0) {
    long put = egd_sys4(SYS_pwrite64, fd, from, length, offset);
    if (put == -EINTR) continue;
    if (put < 0) return (int)put;
    if (put == 0) return -EIO;
    from += put, offset += (uint64_t)put, length -= (size_t)put;
  }
  return 0;
}

int egd_read_all(int fd, void *data, size_t length, uint64_t offset) {
  char *to = data;
  while (length > 0) {
    long got = egd_sys4(SYS_pread64, fd, to, length, offset);
    if (got == -EINTR) continue;
    if (got < 0) return (int)got;
    if (got == 0) return -EBADMSG;
    to += got, offset += (uint64_t)got, length -= (size_t)got;
  }
  return 0;
}
