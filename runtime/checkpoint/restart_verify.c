// Everything that can make a restart impossible is found here, while refusing is still harmless.
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "runtime/checkpoint/checksum.h"
#include "runtime/checkpoint/restart.h"
#include "runtime/checkpoint/text.h"
#include "runtime/syscall.h"

int egd_loader_read_text(const char *path) {
  int fd = (int)egd_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  size_t used = 0;
  long got;
  while ((got = egd_sys3(SYS_read, fd, egd_loader.text + used, sizeof egd_loader.text - 1 - used)) > 0)
    used += (size_t)got;
  egd_loader.text[used] = '\0';
  egd_sys1(SYS_close, fd);
  return got < 0 ? (int)got : 0;
}

struct egd_special egd_loader_special(void) {
  struct egd_special special = {0};
  int status = egd_loader_read_text("/proc/self/maps");
  if (status < 0) egd_refuse("cannot read /proc/self/maps", NULL, status);
  for (const char *at = egd_loader.text; *at != '\0';) {
    struct egd_image_span span;
    span.start = egd_text_number(&at, 16);
    at++;
    span.end = egd_text_number(&at, 16);
    const char *name = at;
    while (*at != '\0' && *at != '\n') {
      if (*at == ' ') name = at + 1;
      at++;
    }
    if (egd_text_starts(name, "[vvar]")) special.vvar = span;
    if (egd_text_starts(name, "[vvar_vclock]")) special.vvar_vclock = span;
    if (egd_text_starts(name, "[vdso]")) special.vdso = span;
    if (*at == '\n') at++;
  }
  return special;
}

static void check_file_status(void) {
  struct stat info;
  long status = egd_sys2(SYS_fstat, egd_loader.image, &info);
  if (status < 0) egd_refuse("cannot be examined", NULL, status);
  if (!S_ISREG(info.st_mode)) egd_refuse("is not a regular file", NULL, 0);
  if (info.st_uid != (uid_t)egd_sys0(SYS_geteuid)) egd_refuse("belongs to another user", NULL, 0);
  if (info.st_nlink != 1) egd_refuse("has more than one name (hard link); copy it to use it", NULL, 0);
  if (info.st_mode & 022) egd_refuse("others may write to it; chmod 600 if you trust it", NULL, 0);
  if ((uint64_t)info.st_size < sizeof egd_loader.header) egd_refuse("is too short to be an image", NULL, 0);
  status = egd_read_all(egd_loader.image, &egd_loader.header, sizeof egd_loader.header, 0);
  if (status < 0) egd_refuse("cannot be read", NULL, status);
  status = egd_image_header_check(&egd_loader.header, (uint64_t)info.st_size);
  if (status == -EPROTONOSUPPORT) egd_refuse("was written by another version of Egida", NULL, 0);
  if (egd_loader.header.magic != EGD_IMAGE_MAGIC) egd_refuse("is not an image", NULL, 0);
  if (status < 0) egd_refuse("is corrupt: header or file size", NULL, 0);
  egd_loader.header.kernel[sizeof egd_loader.header.kernel - 1] = '\0';
}

static const void *section(uint32_t id, uint32_t entry_size, size_t *ret_count) {
  static const char *const names[] = {"process", "threads",     "signals", "files", "regions",
                                      "runs",    "descriptors", "strings", "kept",  "block checksums",
                                      "extras",  "objects",     "polls",   "timers"};
  const struct egd_image_section *entry = &egd_loader.header.sections[id - 1];
  uint64_t base = egd_loader.header.data_offset + egd_loader.header.data_length;
  const void *data = (const void *)(EGD_LOADER_TABLES + (entry->offset - base));
  if (entry->entry_size != entry_size || egd_checksum(data, entry->length) != entry->checksum)
    egd_refuse("is corrupt: section", names[id - 1], 0);
  *ret_count = entry->length / entry_size;
  return data;
}

static void load_tables(void) {
  const struct egd_image_header *header = &egd_loader.header;
  uint64_t base = header->data_offset + header->data_length, length = header->file_size - base;
  if (length == 0 || length > EGD_LOADER_OBJECTS - EGD_LOADER_TABLES)
    egd_refuse("is corrupt: size of the tables", NULL, 0);
  long at = egd_sys6(SYS_mmap, EGD_LOADER_TABLES, length, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at < 0) egd_refuse("no memory for its tables", NULL, at);
  int status = egd_read_all(egd_loader.image, (void *)EGD_LOADER_TABLES, length, base);
  if (status < 0) egd_refuse("cannot be read", NULL, status);
  size_t count;
  struct egd_loader *l = &egd_loader;
  l->process = section(EGD_SECTION_PROCESS, sizeof *l->process, &count);
  if (count != 1) egd_refuse("is corrupt: section", "process", 0);
  l->threads = section(EGD_SECTION_THREADS, sizeof *l->threads, &l->nthreads);
  l->signals = section(EGD_SECTION_SIGNALS, sizeof *l->signals, &count);
  if (count != 64) egd_refuse("is corrupt: section", "signals", 0);
  l->files = section(EGD_SECTION_FILES, sizeof *l->files, &l->nfiles);
  l->regions = section(EGD_SECTION_REGIONS, sizeof *l->regions, &l->nregions);
  l->runs = section(EGD_SECTION_RUNS, sizeof *l->runs, &l->nruns);
  l->fds = section(EGD_SECTION_FDS, sizeof *l->fds, &l->nfds);
  l->strings = section(EGD_SECTION_STRINGS, 1, &l->strings_length);
  l->kept = section(EGD_SECTION_KEPT_FDS, sizeof *l->kept, &l->nkept);
  l->blocks = section(EGD_SECTION_BLOCKS, sizeof *l->blocks, &l->nblocks);
  section(EGD_SECTION_EXTRAS, sizeof(struct egd_image_extra_entry), &count);
  l->objects = section(EGD_SECTION_OBJECTS, sizeof *l->objects, &l->nobjects);
  l->polls = section(EGD_SECTION_POLLS, sizeof *l->polls, &l->npolls);
  l->timers = section(EGD_SECTION_TIMERS, sizeof *l->timers, &l->ntimers);
}

static void check_blocks(void) {
  const struct egd_image_header *header = &egd_loader.header;
  if (egd_loader.nblocks != (header->data_length + EGD_IMAGE_BLOCK - 1) / EGD_IMAGE_BLOCK)
    egd_refuse("is corrupt: section", "block checksums", 0);
  for (size_t i = 0; i < egd_loader.nblocks; i++) {
    uint64_t begin = (uint64_t)i * EGD_IMAGE_BLOCK;
    size_t length = header->data_length - begin < EGD_IMAGE_BLOCK ? header->data_length - begin : EGD_IMAGE_BLOCK;
    int status = egd_read_all(egd_loader.image, egd_loader.block, length, header->data_offset + begin);
    if (status < 0) egd_refuse("cannot be read", NULL, status);
    if (egd_checksum(egd_loader.block, length) != egd_loader.blocks[i]) egd_refuse("is corrupt: page data", NULL, 0);
  }
}

static void need(bool holds, const char *what) {
  if (!holds) egd_refuse("is corrupt: contents of section", what, 0);
}

static bool runs_fit(uint64_t first, uint64_t count, uint64_t begin, uint64_t end, uint64_t granularity) {
  const struct egd_image_header *header = &egd_loader.header;
  if (first > egd_loader.nruns || count > egd_loader.nruns - first) return false;
  for (uint64_t i = first; i < first + count; i++) {
    const struct egd_image_run *run = &egd_loader.runs[i];
    if (run->where < begin || run->where > end || run->length > end - run->where || run->where % granularity != 0 ||
        run->length % granularity != 0)
      return false;
    uint64_t at = run->data - header->data_offset;
    if (run->data < header->data_offset || at > header->data_length || run->length > header->data_length - at)
      return false;
    begin = run->where + run->length;
  }
  return true;
}

static bool is_writable(uint64_t address, size_t length) {
  for (size_t i = 0; i < egd_loader.nregions; i++) {
    const struct egd_image_region *region = &egd_loader.regions[i];
    if (address >= region->start && address < region->end)
      return length <= region->end - address && (region->prot & PROT_WRITE);
  }
  return false;
}

static bool is_free(struct egd_image_span span) {
  if (span.start == 0 && span.end == 0) return true;
  if (span.start % EGD_IMAGE_PAGE != 0 || span.end % EGD_IMAGE_PAGE != 0 || span.start >= span.end ||
      span.end > EGD_USER_END || (span.start < EGD_LOADER_END && span.end > EGD_LOADER_BASE))
    return false;
  for (size_t i = 0; i < egd_loader.nregions; i++)
    if (span.start < egd_loader.regions[i].end && span.end > egd_loader.regions[i].start) return false;
  return true;
}

static void check_structure(void) {
  const struct egd_loader *l = &egd_loader;
  need(l->strings_length > 0 && l->strings[l->strings_length - 1] == '\0', "strings");
  for (size_t i = 0; i < l->nfiles; i++)
    need(l->files[i].path < l->strings_length && l->files[i].build_id_length <= sizeof l->files[i].build_id, "files");
  uint64_t end = 0;
  for (size_t i = 0; i < l->nregions; i++) {
    const struct egd_image_region *region = &l->regions[i];
    need(region->start >= end && region->end > region->start && region->end <= EGD_USER_END &&
             region->start % EGD_IMAGE_PAGE == 0 && region->end % EGD_IMAGE_PAGE == 0 &&
             (region->end <= EGD_LOADER_BASE || region->start >= EGD_LOADER_END),
         "regions");
    end = region->end;
    bool file = region->kind == EGD_REGION_PRIVATE_FILE || region->kind == EGD_REGION_SHARED_FILE;
    need(file                                ? region->index < l->nfiles
         : region->kind == EGD_REGION_OBJECT ? region->index < l->nobjects
                                             : region->kind == EGD_REGION_ANONYMOUS,
         "regions");
    need(runs_fit(region->first_run, region->nruns, region->start, region->end, EGD_IMAGE_PAGE), "runs");
  }
  for (size_t i = 0; i < l->nobjects; i++)
    need(l->objects[i].name < l->strings_length && l->objects[i].first_run <= l->nruns &&
             l->objects[i].nruns <= l->nruns - l->objects[i].first_run,
         "objects");
  for (size_t i = 0; i < l->nobjects; i++)
    for (uint64_t run = 0; run < l->objects[i].nruns; run++)
      need(runs_fit(l->objects[i].first_run + run, 1, 0, ~0ull >> 1, 1), "objects");
  for (size_t i = 0; i < l->nfds; i++) {
    const struct egd_image_fd *fd = &l->fds[i];
    need(fd->fd >= 0 && (i == 0 || fd->fd > l->fds[i - 1].fd) && fd->path < l->strings_length, "descriptors");
    if (fd->duplicate_of < 0 && fd->kind == EGD_FD_OBJECT) need(fd->argument[0] < l->nobjects, "descriptors");
    if (fd->duplicate_of < 0 && fd->kind == EGD_FD_PIPE)
      need(fd->argument[1] < l->nobjects || fd->argument[1] == EGD_IMAGE_NO_INDEX, "descriptors");
  }
  unsigned leaders = 0, callers = 0;
  for (size_t i = 0; i < l->nthreads; i++) {
    const struct egd_image_thread *thread = &l->threads[i];
    leaders += thread->flags & EGD_THREAD_LEADER ? 1 : 0;
    callers += thread->flags & EGD_THREAD_CALLER ? 1 : 0;
    need(is_writable(thread->context.rsp - 16, 16), "threads");
    need(thread->tid_address == 0 || is_writable(thread->tid_address, 4), "threads");
    need(thread->rseq == 0 || is_writable(thread->rseq, 32), "threads");
  }
  need(leaders == 1 && callers == 1 && l->nthreads <= EGD_IMAGE_MAX_THREADS, "threads");
  need(is_writable(l->process->resume_info, sizeof(struct egd_resume_info)), "process");
  need(is_free(l->process->vvar) && is_free(l->process->vvar_vclock) && is_free(l->process->vdso), "process");
  for (size_t i = 0; i < l->ntimers; i++) need(l->timers[i].id >= 0 && l->timers[i].id < 1 << 20, "timers");
  need(l->process->cwd < l->strings_length && l->process->auxv_bytes <= sizeof l->process->auxv, "process");
}

static void check_cpu(void) {
  struct egd_image_cpu here;
  egd_image_cpu_read(&here);
  const struct egd_image_cpu *there = &egd_loader.header.cpu;
  static const char *const names[] = {"SSE to AVX (cpuid 1 ecx)",
                                      "basic (cpuid 1 edx)",
                                      "AVX2, AVX-512 (cpuid 7 ebx)",
                                      "cpuid 7 ecx",
                                      "cpuid 7 edx",
                                      "cpuid 7.1 eax",
                                      "cpuid 0x80000001 ecx",
                                      "cpuid 0x80000001 edx"};
  const uint32_t *has = &here.leaf1_ecx, *wants = &there->leaf1_ecx;
  for (size_t i = 0; i < 8; i++)
    if (wants[i] & ~has[i]) egd_refuse("this CPU lacks instructions of the CPU where the image was taken", names[i], 0);
  if (there->xcr0 & ~here.xcr0)
    egd_refuse("this CPU lacks register state of the CPU where the image was taken", NULL, 0);
}

static bool same_size(struct egd_image_span a, struct egd_image_span b) {
  return a.end - a.start == b.end - b.start;
}

static void check_vdso(void) {
  struct egd_special here = egd_loader_special();
  const struct egd_image_process *there = egd_loader.process;
  bool same =
      same_size(here.vvar, there->vvar) && same_size(here.vvar_vclock, there->vvar_vclock) &&
      same_size(here.vdso, there->vdso) &&
      egd_checksum((const void *)here.vdso.start, here.vdso.end - here.vdso.start) == egd_loader.header.vdso_checksum;
  if (!same)
    egd_refuse("this kernel's vdso is another than the image's; restart on a node with kernel",
               egd_loader.header.kernel, 0);
}

bool egd_loader_file_matches(const struct egd_image_file *file, int fd) {
  struct stat info;
  if (egd_sys2(SYS_fstat, fd, &info) < 0) return false;
  if (file->flags & EGD_FILE_CONTENT_FREE) return true;
  if ((uint64_t)info.st_size != file->size) return false;
  if (file->build_id_length == 0) return info.st_mtim.tv_sec == file->mtime_s && info.st_mtim.tv_nsec == file->mtime_ns;
  struct egd_image_file here = {0};
  egd_read_build_id(fd, &here);
  return here.build_id_length == file->build_id_length &&
         __builtin_memcmp(here.build_id, file->build_id, file->build_id_length) == 0;
}

static void check_files(void) {
  for (size_t i = 0; i < egd_loader.nfiles; i++) {
    const struct egd_image_file *file = &egd_loader.files[i];
    const char *path = egd_loader.strings + file->path;
    bool program = i == egd_loader.header.program;
    int fd = egd_loader_open_file(file, O_RDONLY);
    if (fd < 0) egd_refuse(program ? "its program cannot be opened" : "a file that it maps cannot be opened", path, fd);
    if (!egd_loader_file_matches(file, fd))
      egd_refuse(program ? "its program was changed since" : "a library or file that it maps was changed since", path,
                 0);
    egd_sys1(SYS_close, fd);
  }
  int cwd = (int)egd_sys4(SYS_openat, AT_FDCWD, egd_loader.strings + egd_loader.process->cwd,
                          O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (cwd < 0) egd_refuse("its working folder cannot be entered", egd_loader.strings + egd_loader.process->cwd, cwd);
  egd_sys1(SYS_close, cwd);
}

static void check_kernel(void) {
  unsigned size = 0;
  if (egd_sys5(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) < 0 || size != sizeof(struct prctl_mm_map))
    egd_refuse("this kernel cannot restore processes (it lacks CONFIG_CHECKPOINT_RESTORE)", NULL, 0);
}

void egd_loader_verify(void) {
  egd_loader.image =
      (int)egd_sys4(SYS_openat, AT_FDCWD, egd_loader.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
  if (egd_loader.image == -ELOOP) egd_refuse("is a symbolic link", NULL, 0);
  if (egd_loader.image < 0) egd_refuse("cannot be opened", NULL, egd_loader.image);
  check_file_status();
  if (egd_loader.has_job_hash && egd_loader.job_hash != egd_loader.header.job_hash)
    egd_refuse("is of another job", NULL, 0);
  load_tables();
  egd_sys4(SYS_fadvise64, egd_loader.image, 0, 0, 2 /* POSIX_FADV_SEQUENTIAL */);
  check_blocks();
  check_structure();
  check_kernel();
  check_cpu();
  check_vdso();
  check_files();
}
