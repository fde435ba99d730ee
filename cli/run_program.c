// Which program is meant, and can Egida run it?
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/run.h"
#include "common/log.h"

struct elf {
  const unsigned char *data;
  size_t size;
};

static const void *at(const struct elf *elf, uint64_t offset, uint64_t length) {
  return offset <= elf->size && length <= elf->size - offset ? elf->data + offset : NULL;
}

// The file offset of a virtual address; UINT64_MAX: it is in no segment.
static uint64_t offset_of(const Elf64_Phdr *headers, unsigned count, uint64_t address) {
  for (unsigned i = 0; i < count; i++)
    if (headers[i].p_type == PT_LOAD && address >= headers[i].p_vaddr &&
        address - headers[i].p_vaddr < headers[i].p_filesz)
      return headers[i].p_offset + (address - headers[i].p_vaddr);
  return UINT64_MAX;
}

static const char *string_at(const struct elf *elf, uint64_t strings, uint64_t index) {
  if (strings >= elf->size || index >= elf->size - strings) return "";
  const char *text = (const char *)elf->data + strings + index;
  return memchr(text, 0, elf->size - strings - index) ? text : "";
}

static bool refuse_library(const char *path, const char *library) {
  if (strncmp(library, "libmpi.so", 9) == 0 || strncmp(library, "libmpi_mpifh.so", 15) == 0 ||
      strncmp(library, "libmpi_cxx.so", 13) == 0) {
    egd_log(
        "%s is built with Open MPI (it needs %s); this version of Egida supports MPICH (ch4:ucx): build the program "
        "with MPICH's mpicc",
        path, library);
    return true;
  }
  if (strncmp(library, "libmpifort.so.", 14) == 0 || strncmp(library, "libmpi.so.12", 12) == 0) {
    egd_log("%s is built with an MPI that Egida does not know (it needs %s); build it with MPICH's mpicc", path,
            library);
    return true;
  }
  return false;
}

static bool check_dynamic(const char *path, const struct elf *elf, const Elf64_Phdr *headers, unsigned count,
                          const Elf64_Phdr *dynamic) {
  const Elf64_Dyn *entries = at(elf, dynamic->p_offset, dynamic->p_filesz);
  size_t entries_count = entries ? dynamic->p_filesz / sizeof(*entries) : 0;
  uint64_t strings = UINT64_MAX;
  for (size_t i = 0; i < entries_count && entries[i].d_tag != DT_NULL; i++)
    if (entries[i].d_tag == DT_STRTAB) strings = offset_of(headers, count, entries[i].d_un.d_ptr);
  for (size_t i = 0; i < entries_count && entries[i].d_tag != DT_NULL; i++)
    if (entries[i].d_tag == DT_NEEDED && refuse_library(path, string_at(elf, strings, entries[i].d_un.d_val)))
      return false;
  return true;
}

static bool check_elf(const char *path, const struct elf *elf) {
  const Elf64_Ehdr *header = at(elf, 0, sizeof(*header));
  if (!header || header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64 ||
      (header->e_type != ET_EXEC && header->e_type != ET_DYN)) {
    egd_log("%s is damaged or no x86_64 program; Egida runs 64-bit programs for this machine", path);
    return false;
  }
  const Elf64_Phdr *headers = at(elf, header->e_phoff, (uint64_t)header->e_phnum * sizeof(*headers));
  bool interpreter = false;
  const Elf64_Phdr *dynamic = NULL;
  for (unsigned i = 0; headers && i < header->e_phnum; i++) {
    interpreter |= headers[i].p_type == PT_INTERP;
    if (headers[i].p_type == PT_DYNAMIC) dynamic = &headers[i];
  }
  if (!headers || !interpreter || !dynamic) {
    egd_log("%s is a static binary: Egida cannot be loaded into it; link it dynamically (without -static)", path);
    return false;
  }
  return check_dynamic(path, elf, headers, header->e_phnum, dynamic);
}

// "#!/bin/sh", "#!/usr/bin/env bash" …: shells don't call MPI themselves.
static bool is_of_shell(const struct elf *elf) {
  static const char *const shells[] = {"sh", "bash", "dash", "ksh", "zsh", "csh", "tcsh", "fish"};
  char line[256];
  size_t length = elf->size < sizeof(line) - 1 ? elf->size : sizeof(line) - 1;
  memcpy(line, elf->data, length);
  line[length] = 0;
  line[strcspn(line, "\n")] = 0;
  for (char *save, *word = strtok_r(line + 2, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
    const char *slash = strrchr(word, '/'), *name = slash ? slash + 1 : word;
    if (strcmp(name, "env") == 0 || *name == '-') continue;
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++)
      if (strcmp(name, shells[i]) == 0) return true;
    return false;
  }
  return false;
}

static bool check_file(const char *path) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &st) != 0) {
    egd_log("cannot read %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return false;
  }
  bool good = true;
  struct elf elf = {.size = (size_t)st.st_size};
  if (elf.size >= 4 && (elf.data = mmap(NULL, elf.size, PROT_READ, MAP_PRIVATE, fd, 0)) != MAP_FAILED) {
    if (memcmp(elf.data, ELFMAG, SELFMAG) == 0) {
      good = check_elf(path, &elf);
    } else if (memcmp(elf.data, "#!", 2) != 0) { // a script may run an interpreter that uses MPI
      egd_log("%s is neither a program nor a script that begins with #!", path);
      good = false;
    } else if (is_of_shell(&elf)) {
      egd_log(
          "%s is a shell script. Egida protects the program that it starts, not what that starts: name the MPI program "
          "itself, and do before (in the batch script) what the wrapper does",
          path);
      good = false;
    }
    munmap((void *)elf.data, elf.size);
  } else {
    egd_log("%s is too short to be a program", path);
    good = false;
  }
  close(fd);
  return good;
}

static bool is_program(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool check_path(const char *path) {
  struct stat st;
  if (stat(path, &st) != 0) {
    egd_log("%s: %s; is the program's path right?", path, strerror(errno));
    return false;
  }
  if (S_ISDIR(st.st_mode)) {
    egd_log("%s is a folder, not a program", path);
    return false;
  }
  if (!S_ISREG(st.st_mode) || access(path, X_OK) != 0) {
    egd_log("%s is not executable (chmod +x %s makes it so)", path, path);
    return false;
  }
  return true;
}

bool run_program_find(const char *name, char path[PATH_MAX]) {
  char candidate[PATH_MAX];
  if (!*name) {
    egd_log("the program's name is empty");
    return false;
  }
  if (strchr(name, '/')) {
    if (!check_path(name)) return false;
    snprintf(candidate, sizeof(candidate), "%s", name);
  } else {
    const char *search = getenv("PATH");
    bool found = false;
    for (const char *p = search; p && !found;) {
      size_t length = strcspn(p, ":");
      snprintf(candidate, sizeof(candidate), "%.*s/%s", length ? (int)length : 1, length ? p : ".", name);
      found = is_program(candidate);
      p = p[length] ? p + length + 1 : NULL;
    }
    if (!found) {
      egd_log("there is no program %s in $PATH (%s)%s%s", name, search ? search : "not set",
              is_program(name) ? "; the one in this folder is ./" : "", is_program(name) ? name : "");
      return false;
    }
  }
  if (!realpath(candidate, path)) {
    egd_log("%s: %s", candidate, strerror(errno));
    return false;
  }
  return check_file(path);
}
