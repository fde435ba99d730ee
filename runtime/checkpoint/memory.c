// The address space: which regions there are (/proc/self/smaps), which of their pages are private (PAGEMAP_SCAN, or
// /proc/self/pagemap on kernels before 6.7), which files are behind the others.
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "runtime/checkpoint/internal.h"
#include "runtime/checkpoint/text.h"
#include "runtime/syscall.h"

#define PAGE EGD_IMAGE_PAGE

// linux/fs.h of Linux 6.7; the build machine's headers may be older.
struct scan_range {
  uint64_t start, end, categories;
};
struct scan_request {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_REQUEST _IOWR('f', 16, struct scan_request)
enum { SCAN_FILE = 1 << 2, SCAN_PRESENT = 1 << 3, SCAN_SWAPPED = 1 << 4, SCAN_ZERO = 1 << 5 };
#define SCAN_RANGES 256

// One line of /proc/self/maps or one entry of smaps.
struct area {
  uint64_t start, end, offset, device, inode;
  int prot;
  bool shared, deleted;
  char *name; // in the text, ends at its NUL
  uint32_t flags;
  bool io, hugetlb, growsdown;
};

uint64_t egd_total_pages(struct egd_capture *capture) {
  capture->text.used = 0;
  if (egd_table_read_file(&capture->text, "/proc/self/statm") < 0) return 0;
  const char *at = capture->text.base;
  return egd_text_number(&at, 10);
}

static void parse_flags(struct area *area, const char *at) {
  static const struct {
    char name[3];
    uint32_t flag;
  } known[] = {{"gd", EGD_REGION_GROWSDOWN},  {"nr", EGD_REGION_NORESERVE}, {"hg", EGD_REGION_HUGEPAGE},
               {"nh", EGD_REGION_NOHUGEPAGE}, {"dc", EGD_REGION_DONTFORK},  {"dd", EGD_REGION_DONTDUMP},
               {"wf", EGD_REGION_WIPEONFORK}, {"lo", EGD_REGION_LOCKED},    {"mg", EGD_REGION_MERGEABLE},
               {"mw", EGD_REGION_MAY_WRITE}};
  while (*at != '\0' && *at != '\n') {
    egd_text_skip_blanks(&at);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
      if (at[0] == known[i].name[0] && at[1] == known[i].name[1]) area->flags |= known[i].flag;
    if (at[0] == 'i' && at[1] == 'o') area->io = true;
    if (at[0] == 'h' && at[1] == 't') area->hugetlb = true;
    while (*at != ' ' && *at != '\n' && *at != '\0') at++;
  }
}

// Parse the area at *text and advance behind it. False at the end.
static bool next_area(char **text, struct area *ret_area) {
  const char *at = *text;
  if (*at == '\0') return false;
  struct area area = {0};
  area.start = egd_text_number(&at, 16);
  at++;
  area.end = egd_text_number(&at, 16);
  at++;
  if (at[0] == 'r') area.prot |= PROT_READ;
  if (at[1] == 'w') area.prot |= PROT_WRITE;
  if (at[2] == 'x') area.prot |= PROT_EXEC;
  area.shared = at[3] == 's';
  at += 5;
  area.offset = egd_text_number(&at, 16);
  at++;
  uint64_t major = egd_text_number(&at, 16);
  at++;
  uint64_t minor = egd_text_number(&at, 16);
  area.device = (minor & 0xff) | major << 8 | (minor & ~0xffull) << 12; // as in struct stat
  egd_text_skip_blanks(&at);
  area.inode = egd_text_number(&at, 10);
  egd_text_skip_blanks(&at);
  area.name = (char *)(uintptr_t)at;
  char *to = area.name;
  while (*at != '\n' && *at != '\0') {
    if (egd_text_starts(at, "\\012")) {
      *to++ = '\n';
      at += 4;
    } else
      *to++ = *at++;
  }
  bool more = *at == '\n';
  *to = '\0';
  if (more) at++;
  // smaps: attribute lines up to the next area, whose line begins with a digit or a-f
  while (*at >= 'A' && *at <= 'Z') {
    if (egd_text_starts(at, "VmFlags:")) parse_flags(&area, at + 8);
    while (*at != '\n' && *at != '\0') at++;
    if (*at == '\n') at++;
  }
  if (egd_text_ends(area.name, " (deleted)")) {
    area.deleted = true;
    area.name[egd_text_length(area.name) - egd_text_length(" (deleted)")] = '\0';
  }
  *text = (char *)(uintptr_t)at;
  *ret_area = area;
  return true;
}

static bool is_shared_memory(const struct area *area) {
  return area->shared && area->inode != 0 &&
         (area->deleted || egd_text_starts(area->name, "/memfd:") || egd_text_starts(area->name, "[anon_shmem:") ||
          egd_text_starts(area->name, "/SYSV") || egd_text_equal(area->name, "/dev/zero"));
}

static bool is_file(const struct area *area) {
  return area->name[0] == '/' && !area->deleted;
}

// The next part of [*start, end) that is to be saved; false if there is none.
static bool next_included(const struct egd_capture *capture, uint64_t *start, uint64_t *ret_end, uint64_t end) {
  const struct egd_image_request *request = capture->request;
  uint64_t begin = *start, stop = end;
  for (bool moved = true; moved && begin < end;) {
    moved = false;
    for (size_t i = 0; i < request->nexcluded; i++)
      if (request->excluded[i].begin <= begin && begin < request->excluded[i].end) {
        begin = request->excluded[i].end;
        moved = true;
      }
    if (begin >= EGD_SCRATCH_BASE && begin < EGD_SCRATCH_END) {
      begin = EGD_SCRATCH_END;
      moved = true;
    }
  }
  if (begin >= end) return false;
  for (size_t i = 0; i < request->nexcluded; i++)
    if (request->excluded[i].begin > begin && request->excluded[i].begin < stop) stop = request->excluded[i].begin;
  if (EGD_SCRATCH_BASE > begin && EGD_SCRATCH_BASE < stop) stop = EGD_SCRATCH_BASE;
  *start = begin;
  *ret_end = stop;
  return true;
}

// ---- shared memory, before the fork ------------------------------------------------------------------------------------

static int copy_shared_area(struct egd_capture *capture, uint32_t index, const struct area *area, uint64_t start,
                            uint64_t end) {
  struct egd_image_object *object = (struct egd_image_object *)(void *)capture->objects.base + index;
  uint64_t offset = area->offset + (start - area->start);
  if (offset + (end - start) > object->size) object->size = offset + (end - start);
  if (end - start > (1ull << 30)) return -EFBIG;
  char *copy = egd_table_add(&capture->content, end - start);
  struct egd_image_run *run = egd_table_add(&capture->runs, sizeof *run);
  if (copy == NULL || run == NULL) return -ENOMEM;
  *run = (struct egd_image_run){offset, end - start, (uint64_t)(copy - capture->content.base)};
  object->nruns++;
  int memory = (int)egd_sys4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC, 0);
  if (memory < 0) return memory;
  int status = egd_read_all(memory, copy, end - start, start);
  egd_sys1(SYS_close, memory);
  return status == -EIO || status == -EBADMSG ? 0 : status; // behind the end of the object
}

// All included parts of one area of shared memory.
static int copy_parts(struct egd_capture *capture, uint32_t index, const struct area *area) {
  int status = 0;
  uint64_t start = area->start, stop;
  for (; status == 0 && next_included(capture, &start, &stop, area->end); start = stop)
    status = copy_shared_area(capture, index, area, start, stop);
  return status;
}

int egd_capture_shared_memory(struct egd_capture *capture) {
  capture->text.used = 0;
  int64_t length = egd_table_read_file(&capture->text, "/proc/self/maps");
  if (length < 0) return (int)length;
  // Parsed only once: names are cut out of the text in place. The table of regions is not in use yet.
  struct area area;
  for (char *text = capture->text.base; next_area(&text, &area);) {
    uint64_t start = area.start, stop;
    if (!is_shared_memory(&area) || !next_included(capture, &start, &stop, area.end)) continue;
    struct area *to = egd_table_add(&capture->regions, sizeof area);
    if (to == NULL) return -ENOMEM;
    *to = area;
  }
  // Objects that a descriptor leads to were read completely by egd_capture_fds. Of the others all mappings are copied,
  // object by object, so that the runs of each are contiguous in the table.
  const struct area *areas = (const void *)capture->regions.base;
  size_t nareas = capture->regions.used / sizeof area;
  int status = 0;
  for (size_t i = 0; i < nareas && status == 0; i++) {
    size_t count = capture->objects.used / sizeof(struct egd_image_object);
    int64_t index = egd_capture_object(capture, EGD_OBJECT_MEMORY, areas[i].device, areas[i].inode, "egida-shared", -1);
    if (index < 0) return (int)index;
    if ((size_t)index < count) continue;
    for (size_t k = i; k < nareas && status == 0; k++)
      if (areas[k].device == areas[i].device && areas[k].inode == areas[i].inode)
        status = copy_parts(capture, (uint32_t)index, &areas[k]);
  }
  capture->regions.used = 0;
  return status;
}

// ---- files --------------------------------------------------------------------------------------------------------------

static int64_t file_index(struct egd_capture *capture, const struct area *area) {
  struct egd_image_file *files = (void *)capture->files.base;
  size_t count = capture->files.used / sizeof *files;
  for (size_t i = 0; i < count; i++)
    if (files[i].device == area->device && files[i].inode == area->inode &&
        egd_text_equal(capture->strings.base + files[i].path, area->name))
      return (int64_t)i;
  int fd = (int)egd_sys4(SYS_openat, AT_FDCWD, area->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) return fd;
  struct stat info;
  int64_t status = egd_sys2(SYS_fstat, fd, &info);
  struct egd_image_file *file = egd_table_add(&capture->files, sizeof *file);
  int64_t path = egd_capture_string(capture, area->name);
  if (file == NULL || path < 0) status = -ENOMEM;
  if (status == 0) {
    *file = (struct egd_image_file){.path = (uint32_t)path,
                                    .device = area->device,
                                    .inode = area->inode,
                                    .size = (uint64_t)info.st_size,
                                    .mtime_s = info.st_mtim.tv_sec,
                                    .mtime_ns = info.st_mtim.tv_nsec};
    if (!S_ISREG(info.st_mode))
      file->flags = EGD_FILE_CONTENT_FREE;
    else
      egd_read_build_id(fd, file);
    // Replaced by another file since it was mapped: what is mapped has no name any more.
    if (S_ISREG(info.st_mode) && info.st_ino != area->inode) status = -ENOENT;
  }
  egd_sys1(SYS_close, fd);
  if (status == -ENOENT) capture->files.used -= sizeof *file;
  return status < 0 ? status : (int64_t)count;
}

// ---- pages --------------------------------------------------------------------------------------------------------------

static bool page_is_zero(const char *page) {
  const uint64_t *words = (const void *)page;
  for (size_t i = 0; i < PAGE / sizeof *words; i += 8)
    if ((words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] | words[i + 5] | words[i + 6] |
         words[i + 7]) != 0)
      return false;
  return true;
}

static int put_run(struct egd_capture *capture, struct egd_image_region *region, uint64_t start, uint64_t end,
                   bool whole) {
  uint64_t data;
  int status = egd_data_align(capture, &data);
  // The kernel's copy needs no read permission and reports absent pages as an error rather than by SIGBUS; a plain one is faster.
  bool plain = (region->prot & PROT_READ) && !whole;
  if (status == 0)
    status = plain ? egd_data_put(capture, (const void *)start, end - start)
                   : egd_data_put_memory(capture, start, end - start);
  if (status == -EIO) return 0; // pages of a file behind its end
  if (status < 0) return status;
  struct egd_image_run *last = (struct egd_image_run *)(void *)(capture->runs.base + capture->runs.used) - 1;
  if (region->nruns > 0 && last->where + last->length == start && last->data + last->length == data) {
    last->length += end - start;
    return 0;
  }
  struct egd_image_run *run = egd_table_add(&capture->runs, sizeof *run);
  if (run == NULL) return -ENOMEM;
  *run = (struct egd_image_run){start, end - start, data};
  region->nruns++;
  return 0;
}

// Pages [start, end) are private. Where absence means zero, zero pages are left out.
static int put_pages(struct egd_capture *capture, struct egd_image_region *region, uint64_t start, uint64_t end) {
  if (region->kind != EGD_REGION_ANONYMOUS || !(region->prot & PROT_READ))
    return put_run(capture, region, start, end, false);
  while (start < end) {
    while (start < end && page_is_zero((const char *)start)) start += PAGE;
    uint64_t stop = start;
    while (stop < end && !page_is_zero((const char *)stop)) stop += PAGE;
    int status = stop > start ? put_run(capture, region, start, stop, false) : 0;
    if (status < 0) return status;
    start = stop;
  }
  return 0;
}

static int put_by_pagemap(struct egd_capture *capture, struct egd_image_region *region) {
  uint64_t entries[256];
  for (uint64_t at = region->start; at < region->end;) {
    size_t pages = (region->end - at) / PAGE;
    if (pages > 256) pages = 256;
    int status = egd_read_all(capture->pagemap_fd, entries, pages * 8, at / PAGE * 8);
    for (size_t i = 0; i < pages && status == 0; i++)
      if ((entries[i] >> 62) != 0 && !(entries[i] >> 61 & 1)) // present or swapped, and not of a file
        status = put_pages(capture, region, at + i * PAGE, at + (i + 1) * PAGE);
    if (status < 0) return status;
    at += pages * PAGE;
  }
  return 0;
}

static int put_private_pages(struct egd_capture *capture, struct egd_image_region *region) {
  struct scan_range ranges[SCAN_RANGES];
  for (uint64_t at = region->start; at < region->end;) {
    struct scan_request request = {.size = sizeof request,
                                   .start = at,
                                   .end = region->end,
                                   .vec = (uint64_t)(uintptr_t)ranges,
                                   .vec_len = SCAN_RANGES,
                                   .category_inverted = SCAN_FILE | SCAN_ZERO,
                                   .category_mask = SCAN_FILE | SCAN_ZERO,
                                   .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
                                   .return_mask = SCAN_PRESENT | SCAN_SWAPPED};
    long count = capture->pagemap_fallback ? -ENOTTY : egd_sys3(SYS_ioctl, capture->pagemap_fd, SCAN_REQUEST, &request);
    if (count == -EINTR) continue;
    if (count == -ENOTTY) {
      capture->pagemap_fallback = 1;
      struct egd_image_region rest = *region;
      rest.start = at;
      int status = put_by_pagemap(capture, &rest);
      region->nruns = rest.nruns;
      return status;
    }
    if (count < 0) return (int)count;
    for (long i = 0; i < count; i++) {
      int status = put_pages(capture, region, ranges[i].start, ranges[i].end);
      if (status < 0) return status;
    }
    if (request.walk_end <= at) break;
    at = request.walk_end;
  }
  return 0;
}

static int put_region(struct egd_capture *capture, const struct area *area, uint64_t start, uint64_t end) {
  struct egd_image_region *region = egd_table_add(&capture->regions, sizeof *region);
  if (region == NULL) return -ENOMEM;
  *region = (struct egd_image_region){.start = start,
                                      .end = end,
                                      .kind = EGD_REGION_ANONYMOUS,
                                      .prot = (uint32_t)area->prot,
                                      .flags = area->flags,
                                      .index = EGD_IMAGE_NO_INDEX,
                                      .offset = area->offset + (start - area->start),
                                      .first_run = capture->runs.used / sizeof(struct egd_image_run)};
  if (is_shared_memory(area)) {
    int64_t index = egd_capture_object(capture, EGD_OBJECT_MEMORY, area->device, area->inode, "egida-shared", -1);
    region->kind = EGD_REGION_OBJECT;
    region->index = (uint32_t)index;
    return index < 0 ? (int)index : 0;
  }
  bool whole = false;
  if (is_file(area) && !area->hugetlb) {
    int64_t index = file_index(capture, area);
    if (index == -ENOENT && !area->shared)
      whole = true;
    else if (index < 0)
      return (int)index;
    else {
      region->index = (uint32_t)index;
      region->kind = area->shared ? EGD_REGION_SHARED_FILE : EGD_REGION_PRIVATE_FILE;
      struct egd_image_file *file = (struct egd_image_file *)(void *)capture->files.base + index;
      if (area->shared && (area->flags & EGD_REGION_MAY_WRITE)) file->flags |= EGD_FILE_CONTENT_FREE;
      if (area->shared) return 0;
    }
  } else if (area->shared) {
    return -EOPNOTSUPP;
  } else if (area->name[0] == '/' && area->deleted && !area->hugetlb) {
    whole = true; // the file is gone: its pages go into the image too
  }
  if (!whole) return put_private_pages(capture, region);
  // Page by page: the file may have been shorter than its mapping.
  for (; start < end; start += PAGE) {
    int status = put_run(capture, region, start, start + PAGE, true);
    if (status < 0) return status;
  }
  return 0;
}

static void note_program(struct egd_capture *capture) {
  const uint64_t *auxv = capture->process.auxv;
  uint64_t entry = 0;
  for (size_t i = 0; i + 1 < capture->process.auxv_bytes / 8; i += 2)
    if (auxv[i] == 9 /* AT_ENTRY */) entry = auxv[i + 1];
  const struct egd_image_region *regions = (const void *)capture->regions.base;
  for (size_t i = 0; i < capture->regions.used / sizeof *regions; i++)
    if (regions[i].start <= entry && entry < regions[i].end) capture->program = regions[i].index;
}

static bool special_area(struct egd_capture *capture, const struct area *area) {
  struct egd_image_span span = {area->start, area->end};
  if (egd_text_equal(area->name, "[vvar]"))
    capture->process.vvar = span;
  else if (egd_text_equal(area->name, "[vvar_vclock]"))
    capture->process.vvar_vclock = span;
  else if (egd_text_equal(area->name, "[vdso]"))
    capture->process.vdso = span;
  else
    return area->start >= EGD_USER_END; // [vsyscall]
  return true;
}

int egd_capture_memory(struct egd_capture *capture) {
  capture->text.used = 0;
  int64_t length = egd_table_read_file(&capture->text, "/proc/self/smaps");
  if (length < 0) return (int)length;
  struct area area;
  capture->program = EGD_IMAGE_NO_INDEX;
  for (char *text = capture->text.base; next_area(&text, &area);) {
    if (special_area(capture, &area)) continue;
    uint64_t start = area.start, stop;
    for (; next_included(capture, &start, &stop, area.end); start = stop) {
      if (start >= EGD_LOADER_BASE && stop <= EGD_LOADER_END && area.prot == PROT_NONE) continue; // reserved
      if (start < EGD_LOADER_END && stop > EGD_LOADER_BASE) return -EOPNOTSUPP;
      if (area.io) return -EOPNOTSUPP; // memory of a device
      int status = put_region(capture, &area, start, stop);
      if (status < 0) return status;
    }
  }
  note_program(capture);
  return 0;
}
