// The build-id of an ELF file: shared by the writer and the loader.
#include <elf.h>
#include "runtime/checkpoint/internal.h"

void egd_read_build_id(int fd, struct egd_image_file *file) {
  Elf64_Ehdr elf;
  if (egd_read_all(fd, &elf, sizeof elf, 0) < 0) return;
  if (__builtin_memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_ident[EI_CLASS] != ELFCLASS64 ||
      elf.e_phentsize != sizeof(Elf64_Phdr))
    return;
  for (unsigned i = 0; i < elf.e_phnum; i++) {
    Elf64_Phdr segment;
    if (egd_read_all(fd, &segment, sizeof segment, elf.e_phoff + i * sizeof segment) < 0) return;
    if (segment.p_type != PT_NOTE) continue;
    for (uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= segment.p_filesz;) {
      Elf64_Nhdr note;
      char owner[4];
      if (egd_read_all(fd, &note, sizeof note, segment.p_offset + at) < 0) return;
      uint64_t name = at + sizeof note, value = name + ((note.n_namesz + 3u) & ~3u);
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && note.n_descsz <= sizeof file->build_id &&
          egd_read_all(fd, owner, 4, segment.p_offset + name) == 0 && __builtin_memcmp(owner, "GNU", 4) == 0) {
        if (egd_read_all(fd, file->build_id, note.n_descsz, segment.p_offset + value) == 0)
          file->build_id_length = note.n_descsz;
        return;
      }
      at = value + ((note.n_descsz + 3u) & ~3u);
    }
  }
}
