// The image file: data area first, then the tables, the header last; under a temporary name until it is durable.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include "runtime/checkpoint/checksum.h"
#include "runtime/checkpoint/internal.h"
#include "runtime/checkpoint/text.h"
#include "runtime/syscall.h"

#define BUFFER_BYTES (4u * EGD_IMAGE_BLOCK)
// Small images stay in the page cache, where a restart finds them; large ones go to the disk directly, at twice the speed.
#define BUFFERED_BYTES (64u << 20)

static uint64_t now_ns(int clock) {
  struct timespec now = {0};
  egd_sys2(SYS_clock_gettime, clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void leave_direct(struct egd_capture *capture) {
  if (capture->direct) egd_sys3(SYS_fcntl, capture->fd, F_SETFL, 0);
  capture->direct = false;
}

static int flush(struct egd_capture *capture) {
  for (size_t at = 0; at < capture->filled; at += EGD_IMAGE_BLOCK) {
    size_t length = capture->filled - at < EGD_IMAGE_BLOCK ? capture->filled - at : EGD_IMAGE_BLOCK;
    uint64_t *block = egd_table_add(&capture->blocks, sizeof *block);
    if (block == NULL) return -ENOMEM;
    *block = egd_checksum(capture->buffer + at, length);
  }
  uint64_t offset = capture->data_offset + capture->data_length - capture->filled;
  if (capture->data_length > BUFFERED_BYTES && !capture->direct_refused && !capture->direct) {
    capture->direct = egd_sys3(SYS_fcntl, capture->fd, F_SETFL, O_DIRECT) == 0;
    capture->direct_refused = !capture->direct;
  }
  int status = egd_write_all(capture->fd, capture->buffer, capture->filled, offset);
  if (status == -EINVAL && capture->direct) { // a file system that says so only now
    capture->direct_refused = true;
    leave_direct(capture);
    status = egd_write_all(capture->fd, capture->buffer, capture->filled, offset);
  }
  capture->filled = 0;
  return status;
}

// Room in the buffer for up to `length` bytes; the caller fills it and then advances.
static int reserve(struct egd_capture *capture, size_t *length, char **ret_room) {
  if (capture->filled == BUFFER_BYTES) {
    int status = flush(capture);
    if (status < 0) return status;
  }
  if (*length > BUFFER_BYTES - capture->filled) *length = BUFFER_BYTES - capture->filled;
  *ret_room = capture->buffer + capture->filled;
  return 0;
}

static void advance(struct egd_capture *capture, size_t length) {
  capture->filled += length;
  capture->data_length += length;
}

int egd_data_align(struct egd_capture *capture, uint64_t *ret_offset) {
  size_t padding = -capture->data_length & (EGD_IMAGE_PAGE - 1);
  if (padding > 0) { // the buffer is a multiple of pages: there is room
    __builtin_memset(capture->buffer + capture->filled, 0, padding);
    advance(capture, padding);
  }
  *ret_offset = capture->data_offset + capture->data_length;
  return 0;
}

int egd_data_put(struct egd_capture *capture, const void *data, size_t length) {
  const char *from = data;
  while (length > 0) {
    size_t piece = length;
    char *room;
    int status = reserve(capture, &piece, &room);
    if (status < 0) return status;
    __builtin_memcpy(room, from, piece);
    advance(capture, piece);
    from += piece, length -= piece;
  }
  return 0;
}

int egd_data_put_memory(struct egd_capture *capture, uint64_t address, size_t length) {
  while (length > 0) {
    size_t piece = length;
    char *room;
    int status = reserve(capture, &piece, &room);
    if (status == 0) status = egd_read_all(capture->memory_fd, room, piece, address);
    if (status < 0) return status;
    advance(capture, piece);
    address += piece, length -= piece;
  }
  return 0;
}

static int put_contents(struct egd_capture *capture) {
  // Runs of objects so far are relative to `content`.
  uint64_t data;
  int status = egd_data_align(capture, &data);
  if (status == 0) status = egd_data_put(capture, capture->content.base, capture->content.used);
  struct egd_image_run *runs = (void *)capture->runs.base;
  for (size_t i = 0; i < capture->runs.used / sizeof *runs; i++) runs[i].data += data;
  return status;
}

static int put_extras(struct egd_capture *capture) {
  const struct egd_image_request *request = capture->request;
  for (size_t i = 0; i < request->nextras; i++) {
    uint64_t data;
    int status = egd_data_align(capture, &data);
    if (status == 0) status = egd_data_put(capture, request->extras[i].data, request->extras[i].length);
    if (status < 0) return status;
    struct egd_image_extra_entry *entry = egd_table_add(&capture->extras, sizeof *entry);
    if (entry == NULL) return -ENOMEM;
    *entry = (struct egd_image_extra_entry){request->extras[i].tag, data, request->extras[i].length};
  }
  return 0;
}

static int put_section(struct egd_capture *capture, struct egd_image_header *header, uint32_t id, const void *data,
                       size_t length, uint32_t entry_size, uint64_t *at) {
  static const char zeros[8];
  size_t padding = -length & 7;
  header->sections[id - 1] = (struct egd_image_section){id, entry_size, *at, length, egd_checksum(data, length)};
  int status = egd_write_all(capture->fd, data, length, *at);
  if (status == 0 && padding > 0 && id != EGD_SECTION_COUNT)
    status = egd_write_all(capture->fd, zeros, padding, *at + length);
  *at += length + (id != EGD_SECTION_COUNT ? padding : 0);
  return status;
}

static int put_tables(struct egd_capture *capture, struct egd_image_header *header) {
  const struct egd_image_request *request = capture->request;
  uint64_t at = capture->data_offset + capture->data_length;
  const struct {
    uint32_t id;
    const void *data;
    size_t length;
    uint32_t entry_size;
  } sections[] = {
      {EGD_SECTION_PROCESS, &capture->process, sizeof capture->process, sizeof capture->process},
      {EGD_SECTION_THREADS, capture->threads, capture->nthreads * sizeof *capture->threads, sizeof *capture->threads},
      {EGD_SECTION_SIGNALS, capture->signals, sizeof capture->signals, sizeof capture->signals[0]},
      {EGD_SECTION_FILES, capture->files.base, capture->files.used, sizeof(struct egd_image_file)},
      {EGD_SECTION_REGIONS, capture->regions.base, capture->regions.used, sizeof(struct egd_image_region)},
      {EGD_SECTION_RUNS, capture->runs.base, capture->runs.used, sizeof(struct egd_image_run)},
      {EGD_SECTION_FDS, capture->fds.base, capture->fds.used, sizeof(struct egd_image_fd)},
      {EGD_SECTION_STRINGS, capture->strings.base, capture->strings.used, 1},
      {EGD_SECTION_KEPT_FDS, request->excluded_fds, request->nexcluded_fds * sizeof(int), sizeof(int)},
      {EGD_SECTION_BLOCKS, capture->blocks.base, capture->blocks.used, sizeof(uint64_t)},
      {EGD_SECTION_EXTRAS, capture->extras.base, capture->extras.used, sizeof(struct egd_image_extra_entry)},
      {EGD_SECTION_OBJECTS, capture->objects.base, capture->objects.used, sizeof(struct egd_image_object)},
      {EGD_SECTION_POLLS, capture->polls.base, capture->polls.used, sizeof(struct egd_image_poll)},
      {EGD_SECTION_TIMERS, capture->timers.base, capture->timers.used, sizeof(struct egd_image_timer)},
  };
  for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
    int status =
        put_section(capture, header, sections[i].id, sections[i].data, sections[i].length, sections[i].entry_size, &at);
    if (status < 0) return status;
  }
  header->file_size = at;
  return 0;
}

static int put_header(struct egd_capture *capture, struct egd_image_header *header) {
  const struct egd_image_request *request = capture->request;
  struct utsname system;
  header->magic = EGD_IMAGE_MAGIC;
  header->version = EGD_IMAGE_VERSION;
  header->header_size = sizeof *header;
  header->job_hash = request->job_hash;
  header->rank = request->rank;
  header->number = request->number;
  header->created_ns = now_ns(CLOCK_REALTIME);
  header->page_size = EGD_IMAGE_PAGE;
  header->block_size = EGD_IMAGE_BLOCK;
  header->data_offset = capture->data_offset;
  header->data_length = capture->data_length;
  egd_image_cpu_read(&header->cpu);
  const struct egd_image_span *vdso = &capture->process.vdso;
  header->vdso_checksum = egd_checksum((const void *)vdso->start, vdso->end - vdso->start);
  header->program = (uint32_t)capture->program;
  header->nsections = EGD_SECTION_COUNT;
  if (egd_sys1(SYS_uname, &system) == 0) egd_text_append(header->kernel, sizeof header->kernel, system.release);
  egd_image_header_seal(header);
  return egd_write_all(capture->fd, header, sizeof *header, 0);
}

static int sync_folder(struct egd_capture *capture, const char *path) {
  char *folder = capture->link;
  folder[0] = '\0';
  egd_text_append(folder, sizeof capture->link, path);
  size_t length = egd_text_length(folder);
  while (length > 1 && folder[length - 1] != '/') length--;
  folder[length] = '\0';
  int fd = (int)egd_sys4(SYS_openat, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  int status = (int)egd_sys1(SYS_fsync, fd);
  egd_sys1(SYS_close, fd);
  return status;
}

static int open_proc(const char *path) {
  return (int)egd_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

static int write_file(struct egd_capture *capture, uint64_t *ret_bytes) {
  const struct egd_image_request *request = capture->request;
  capture->path[0] = '\0';
  if (request->path[0] != '/') return -EINVAL;
  if (!egd_text_append(capture->path, sizeof capture->path, request->path) ||
      !egd_text_append(capture->path, sizeof capture->path, ".tmp"))
    return -ENAMETOOLONG;
  long room =
      egd_sys6(SYS_mmap, EGD_SCRATCH_BASE + EGD_WINDOW_READER * EGD_SCRATCH_WINDOW, BUFFER_BYTES + EGD_IMAGE_PAGE,
               PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (room < 0) return (int)room;
  capture->buffer = (char *)room;
  struct egd_image_header *header = (void *)(capture->buffer + BUFFER_BYTES);
  capture->memory_fd = open_proc("/proc/self/mem");
  capture->pagemap_fd = open_proc("/proc/self/pagemap");
  int status = capture->memory_fd < 0 ? capture->memory_fd : capture->pagemap_fd < 0 ? capture->pagemap_fd : 0;
  egd_sys3(SYS_unlinkat, AT_FDCWD, capture->path, 0); // of a writer that died
  if (status == 0)
    status = capture->fd =
        (int)egd_sys4(SYS_openat, AT_FDCWD, capture->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (status > 0) status = 0;
  capture->data_offset = EGD_IMAGE_PAGE;
  uint64_t end;
  if (status == 0) status = put_contents(capture);
  if (status == 0) status = egd_capture_memory(capture);
  if (status == 0) status = put_extras(capture);
  if (status == 0) status = egd_data_align(capture, &end);
  if (status == 0) status = flush(capture);
  leave_direct(capture);
  if (status == 0) status = put_tables(capture, header);
  if (status == 0) status = put_header(capture, header);
  if (status == 0) status = (int)egd_sys1(SYS_fsync, capture->fd);
  if (status == 0) status = (int)egd_sys2(SYS_rename, capture->path, request->path);
  if (status < 0 && capture->fd >= 0) egd_sys3(SYS_unlinkat, AT_FDCWD, capture->path, 0);
  if (status == 0) {
    status = sync_folder(capture, request->path);
    if (status < 0) egd_sys3(SYS_unlinkat, AT_FDCWD, request->path, 0);
  }
  *ret_bytes = status == 0 ? header->file_size : 0;
  if (capture->fd >= 0) egd_sys1(SYS_close, capture->fd);
  if (capture->memory_fd >= 0) egd_sys1(SYS_close, capture->memory_fd);
  if (capture->pagemap_fd >= 0) egd_sys1(SYS_close, capture->pagemap_fd);
  return status;
}

int egd_image_write(struct egd_capture *capture) {
  const struct egd_image_request *request = capture->request;
  if (request->begun != NULL) request->begun(request->arg);
  uint64_t begin = now_ns(CLOCK_MONOTONIC), bytes = 0;
  capture->fd = -1;
  // A fork leaves out what was marked MADV_DONTFORK: such a process cannot be saved by a copy.
  bool complete = capture->total_pages == 0 || egd_total_pages(capture) == capture->total_pages;
  int status = complete ? write_file(capture, &bytes) : -EOPNOTSUPP;
  if (request->finished != NULL) request->finished(request->arg, status, bytes, now_ns(CLOCK_MONOTONIC) - begin);
  return status;
}
