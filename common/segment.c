#include "common/segment.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/status.h"

#define HEADER_SIZE (2ull << 20)

static int copy_name(char *to, size_t size, const char *from) {
  size_t length = strlen(from);
  if (length >= size) return EGD_ERR_INVALID;
  memcpy(to, from, length + 1);
  return EGD_OK;
}

int egd_segment_create(uint32_t nranks, uint32_t node, uint32_t nnodes, const char *job_id, uint64_t job_hash,
                       const char *job_dir, const char *node_dir, const struct egd_plan *plan, uint64_t log_limit,
                       int *ret_fd) {
  if (nranks == 0 || nranks > EGD_MAX_RANKS || node >= nnodes) return EGD_ERR_INVALID;
  int fd = memfd_create("egida-node-segment", MFD_CLOEXEC);
  if (fd < 0) return EGD_ERR_NO_MEMORY;
  int status = EGD_ERR_NO_MEMORY;
  if (ftruncate(fd, (off_t)egd_segment_size(nranks)) != 0) goto fail;
  struct egd_segment *seg = mmap(NULL, HEADER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (seg == MAP_FAILED) goto fail;
  seg->version = EGD_SEGMENT_VERSION;
  seg->nranks = nranks;
  seg->node = node;
  seg->nnodes = nnodes;
  seg->slice_size = egd_slice_size(nranks);
  seg->slices = HEADER_SIZE;
  seg->log_limit = log_limit;
  seg->job_hash = job_hash;
  seg->plan = *plan;
  seg->lease_until_ns = EGD_NO_LEASE;
  status = copy_name(seg->job_id, sizeof(seg->job_id), job_id);
  if (status == EGD_OK) status = copy_name(seg->job_dir, sizeof(seg->job_dir), job_dir);
  if (status == EGD_OK) status = copy_name(seg->node_dir, sizeof(seg->node_dir), node_dir);
  atomic_thread_fence(memory_order_release);
  seg->magic = EGD_SEGMENT_MAGIC; // last: a segment without it was never complete
  munmap(seg, HEADER_SIZE);
  if (status != EGD_OK) goto fail;
  *ret_fd = fd;
  return EGD_OK;
fail:
  close(fd);
  return status;
}

int egd_segment_map(int fd, struct egd_segment **ret_segment) {
  struct egd_segment *peek = mmap(NULL, HEADER_SIZE, PROT_READ, MAP_SHARED, fd, 0);
  if (peek == MAP_FAILED) return EGD_ERR_CORRUPT;
  struct stat st;
  int status = EGD_OK;
  uint32_t nranks = 0;
  if (fstat(fd, &st) != 0 || (uint64_t)st.st_size < HEADER_SIZE || peek->magic != EGD_SEGMENT_MAGIC)
    status = EGD_ERR_CORRUPT;
  else if (peek->version != EGD_SEGMENT_VERSION)
    status = EGD_ERR_VERSION;
  else if (peek->nranks == 0 || peek->nranks > EGD_MAX_RANKS || (uint64_t)st.st_size != egd_segment_size(peek->nranks))
    status = EGD_ERR_CORRUPT;
  else
    nranks = peek->nranks;
  munmap(peek, HEADER_SIZE);
  if (status != EGD_OK) return status;
  void *base = mmap((void *)EGD_SEGMENT_BASE, egd_segment_size(nranks), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);
  if (base != (void *)EGD_SEGMENT_BASE) {
    if (base != MAP_FAILED) munmap(base, egd_segment_size(nranks));
    return EGD_ERR_NO_MEMORY;
  }
  madvise(base, egd_segment_size(nranks), MADV_DONTDUMP);
  *ret_segment = base;
  return EGD_OK;
}

int egd_segment_reset_slice(int fd, struct egd_segment *seg, uint32_t rank) {
  if (rank >= seg->nranks) return EGD_ERR_INVALID;
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)egd_slice(seg, rank), (off_t)seg->slice_size) !=
      0)
    return EGD_ERR_IO;
  return EGD_OK;
}
