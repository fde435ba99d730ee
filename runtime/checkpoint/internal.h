// The image writer's inner interfaces. take.c stops the process and captures what changes quickly; describe.c reads descriptors;
// memory.c reads the address space; write.c makes the file.
#ifndef EGIDA_RUNTIME_CHECKPOINT_INTERNAL_H
#define EGIDA_RUNTIME_CHECKPOINT_INTERNAL_H

#include "runtime/checkpoint/format.h"
#include "runtime/checkpoint/image.h"
#include "runtime/checkpoint/scratch.h"

// Everything about the image in work. Lies in scratch memory, so that the writer's progress is in no image.
struct egd_capture {
  const struct egd_image_request *request;
  const struct egd_image_thread *threads;
  size_t nthreads;
  uint64_t resume_info;
  uint64_t total_pages; // size of the address space, to notice regions that a fork leaves out
  uint64_t pagemap_fallback;
  struct egd_image_process process;
  struct egd_image_signal signals[64];
  struct egd_table strings, text, files, regions, runs, fds, polls, timers, objects, content, blocks, extras;
  // the data area
  int fd;
  bool direct, direct_refused; // fd has O_DIRECT; the file system does not know it
  int memory_fd;               // /proc/self/mem, or -1
  int pagemap_fd;
  uint64_t data_offset, data_length, program;
  char *buffer;
  size_t filled;
  char path[4096], link[4096], small[4096];
};

int egd_context_save(struct egd_context *context) __attribute__((returns_twice));
_Noreturn void egd_context_resume(const struct egd_context *context);

/// Offset of a copy of the string in the strings, or -ENOMEM.
int64_t egd_capture_string(struct egd_capture *capture, const char *text);

/// Descriptors, epoll sets, bytes in pipes, unlinked files (describe.c). 0 or -errno.
int egd_capture_fds(struct egd_capture *capture);
/// POSIX timers of the process.
int egd_capture_timers(struct egd_capture *capture);
/// Index of the object (device, inode), made and filled from `fd` (or, if fd < 0, empty) if it is new; or -errno.
int64_t egd_capture_object(struct egd_capture *capture, uint32_t kind, uint64_t device, uint64_t inode,
                           const char *name, int fd);

/// Copies what lies in memory shared beyond a fork and has no file (memory.c).
int egd_capture_shared_memory(struct egd_capture *capture);
/// Regions, runs and files; writes the page data.
int egd_capture_memory(struct egd_capture *capture);
/// Number of pages in the address space.
uint64_t egd_total_pages(struct egd_capture *capture);

/// Append to the data area; the piece begins at *ret_offset (page-aligned) (write.c).
int egd_data_align(struct egd_capture *capture, uint64_t *ret_offset);
int egd_data_put(struct egd_capture *capture, const void *data, size_t length);
/// As egd_data_put for memory that may lack read permission. -EIO: nothing is behind these addresses.
int egd_data_put_memory(struct egd_capture *capture, uint64_t address, size_t length);
/// The whole file: 0 or -errno, the .tmp is gone then. Calls begun and finished.
int egd_image_write(struct egd_capture *capture);

/// Fill in build_id and build_id_length if `fd` is an ELF file that has one.
void egd_read_build_id(int fd, struct egd_image_file *file);

void egd_image_cpu_read(struct egd_image_cpu *ret_cpu);
/// Fill in the header's checksum.
void egd_image_header_seal(struct egd_image_header *header);
/// 0, -EBADMSG (not an image, or damaged) or -EPROTONOSUPPORT (another version).
int egd_image_header_check(const struct egd_image_header *header, uint64_t file_size);

#endif
