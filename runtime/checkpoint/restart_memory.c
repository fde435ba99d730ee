// The address space of the image replaces the loader's.
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "runtime/checkpoint/restart.h"
#include "runtime/checkpoint/text.h"
#include "runtime/syscall.h"

int egd_loader_open_file(const struct egd_image_file *file, int flags) {
  return (int)egd_sys4(SYS_openat, AT_FDCWD, egd_loader.strings + file->path, flags | O_CLOEXEC | O_NONBLOCK, 0);
}

static bool same_place(struct egd_image_span a, struct egd_image_span b) {
  return a.start == b.start && a.end == b.end;
}

static void move(struct egd_image_span *span, uint64_t to) {
  uint64_t length = span->end - span->start;
  if (length == 0) return;
  long got = egd_sys5(SYS_mremap, span->start, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to);
  if (got < 0) egd_refuse("the vdso cannot be moved", NULL, got);
  *span = (struct egd_image_span){to, to + length};
}

static bool is_special(const struct egd_special *special, uint64_t start) {
  return start == special->vvar.start || start == special->vvar_vclock.start || start == special->vdso.start;
}

// Unmap all but the loader and the vdso.
static void clear_space(const struct egd_special *special) {
  int status = egd_loader_read_text("/proc/self/maps");
  if (status < 0) egd_refuse("cannot read /proc/self/maps", NULL, status);
  for (const char *at = egd_loader.text; *at != '\0';) {
    uint64_t start = egd_text_number(&at, 16);
    at++;
    uint64_t end = egd_text_number(&at, 16);
    while (*at != '\0' && *at != '\n') at++;
    if (*at == '\n') at++;
    if ((start >= EGD_LOADER_BASE && start < EGD_LOADER_END) || start >= EGD_USER_END || is_special(special, start))
      continue;
    long got = egd_sys2(SYS_munmap, start, end - start);
    if (got < 0) egd_refuse("the loader's memory cannot be unmapped", NULL, got);
  }
}

static void set_layout(void) {
  const struct egd_image_process *process = egd_loader.process;
  struct prctl_mm_map map = {.start_code = process->start_code,
                             .end_code = process->end_code,
                             .start_data = process->start_data,
                             .end_data = process->end_data,
                             .start_brk = process->start_brk,
                             .brk = process->brk,
                             .start_stack = process->start_stack,
                             .arg_start = process->arg_start,
                             .arg_end = process->arg_end,
                             .env_start = process->env_start,
                             .env_end = process->env_end,
                             .auxv = (__u64 *)(uintptr_t)process->auxv,
                             .auxv_size = process->auxv_bytes,
                             .exe_fd = (__u32)-1};
  long status = egd_sys5(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
  if (status < 0)
    egd_refuse("the kernel does not accept the memory layout (CONFIG_CHECKPOINT_RESTORE is needed)", NULL, status);
}

static void advise(const struct egd_image_region *region, uint32_t flag, int advice) {
  if (region->flags & flag) egd_sys3(SYS_madvise, region->start, region->end - region->start, advice);
}

static void fill(const struct egd_image_region *region) {
  for (uint64_t i = 0; i < region->nruns; i++) {
    const struct egd_image_run *run = &egd_loader.runs[region->first_run + i];
    int status = egd_read_all(egd_loader.image, (void *)run->where, run->length, run->data);
    if (status < 0) egd_refuse("cannot be read", NULL, status);
  }
}

static int open_for(const struct egd_image_region *region, int *ret_flags) {
  int fd;
  switch (region->kind) {
  case EGD_REGION_ANONYMOUS:
    *ret_flags = MAP_PRIVATE | MAP_ANONYMOUS;
    return -1;
  case EGD_REGION_OBJECT:
    *ret_flags = MAP_SHARED;
    return egd_loader.object_fds[region->index];
  case EGD_REGION_PRIVATE_FILE:
    *ret_flags = MAP_PRIVATE;
    fd = egd_loader_open_file(&egd_loader.files[region->index], O_RDONLY);
    break;
  default:
    *ret_flags = MAP_SHARED;
    fd = egd_loader_open_file(&egd_loader.files[region->index],
                              region->flags & EGD_REGION_MAY_WRITE ? O_RDWR : O_RDONLY);
    if (fd < 0 && !(region->prot & PROT_WRITE)) fd = egd_loader_open_file(&egd_loader.files[region->index], O_RDONLY);
  }
  if (fd < 0)
    egd_refuse("a mapped file cannot be opened", egd_loader.strings + egd_loader.files[region->index].path, fd);
  return fd;
}

static void restore_region(const struct egd_image_region *region) {
  int flags, fd = open_for(region, &flags);
  uint64_t length = region->end - region->start;
  if (region->flags & EGD_REGION_GROWSDOWN) flags |= MAP_GROWSDOWN;
  if (region->flags & EGD_REGION_NORESERVE) flags |= MAP_NORESERVE;
  int prot = region->nruns > 0 ? PROT_READ | PROT_WRITE : (int)region->prot;
  long at = egd_sys6(SYS_mmap, region->start, length, prot, flags | MAP_FIXED, fd, fd < 0 ? 0 : region->offset);
  if (at < 0) egd_refuse("memory of the image cannot be mapped", NULL, at);
  if (fd >= 0 && region->kind != EGD_REGION_OBJECT) egd_sys1(SYS_close, fd);
  advise(region, EGD_REGION_HUGEPAGE, MADV_HUGEPAGE);
  advise(region, EGD_REGION_NOHUGEPAGE, MADV_NOHUGEPAGE);
  fill(region);
  if (prot != (int)region->prot) {
    long status = egd_sys3(SYS_mprotect, region->start, length, region->prot);
    if (status < 0) egd_refuse("memory of the image cannot be protected", NULL, status);
  }
  advise(region, EGD_REGION_DONTFORK, MADV_DONTFORK);
  advise(region, EGD_REGION_DONTDUMP, MADV_DONTDUMP);
  advise(region, EGD_REGION_WIPEONFORK, MADV_WIPEONFORK);
  advise(region, EGD_REGION_MERGEABLE, MADV_MERGEABLE);
  if (region->flags & EGD_REGION_LOCKED) egd_sys2(SYS_mlock, region->start, length);
}

void egd_loader_restore_memory(void) {
  const struct egd_image_process *process = egd_loader.process;
  struct egd_special special = egd_loader_special();
  // Without address space randomisation they are in place already, which also serves kernels that seal them.
  bool in_place = same_place(special.vvar, process->vvar) && same_place(special.vvar_vclock, process->vvar_vclock) &&
                  same_place(special.vdso, process->vdso);
  if (!in_place) {
    move(&special.vvar, EGD_LOADER_ASIDE);
    move(&special.vvar_vclock, EGD_LOADER_ASIDE + (1u << 20));
    move(&special.vdso, EGD_LOADER_ASIDE + (2u << 20));
  }
  clear_space(&special);
  set_layout();
  for (size_t i = 0; i < egd_loader.nregions; i++) restore_region(&egd_loader.regions[i]);
  if (!in_place) {
    move(&special.vvar, process->vvar.start);
    move(&special.vvar_vclock, process->vvar_vclock.start);
    move(&special.vdso, process->vdso.start);
  }
}
