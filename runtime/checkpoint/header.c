// The image header: shared by the writer and the loader.
#include <cpuid.h>
#include <errno.h>
#include "runtime/checkpoint/checksum.h"
#include "runtime/checkpoint/internal.h"

static uint64_t header_checksum(const struct egd_image_header *header) {
  // The checksum field is skipped rather than cleared: the header may be read-only.
  const unsigned char *bytes = (const unsigned char *)header;
  size_t after = offsetof(struct egd_image_header, file_size);
  uint64_t parts[2] = {egd_checksum(bytes, offsetof(struct egd_image_header, checksum)),
                       egd_checksum(bytes + after, sizeof *header - after)};
  return egd_checksum(parts, sizeof parts);
}

void egd_image_header_seal(struct egd_image_header *header) {
  header->checksum = header_checksum(header);
}

int egd_image_header_check(const struct egd_image_header *header, uint64_t file_size) {
  if (header->magic != EGD_IMAGE_MAGIC) return -EBADMSG;
  if (header->version != EGD_IMAGE_VERSION) return -EPROTONOSUPPORT;
  if (header->checksum != header_checksum(header)) return -EBADMSG;
  if (header->header_size != sizeof *header || header->file_size != file_size || header->page_size != EGD_IMAGE_PAGE ||
      header->block_size != EGD_IMAGE_BLOCK || header->nsections != EGD_SECTION_COUNT ||
      header->data_offset != EGD_IMAGE_PAGE || header->data_length > file_size - header->data_offset ||
      header->data_length % EGD_IMAGE_PAGE != 0)
    return -EBADMSG;
  uint64_t at = header->data_offset + header->data_length;
  for (uint32_t i = 0; i < EGD_SECTION_COUNT; i++) {
    const struct egd_image_section *section = &header->sections[i];
    if (section->id != i + 1 || section->offset < at || section->offset % 8 != 0 || section->offset > file_size ||
        section->length > file_size - section->offset || section->entry_size == 0 ||
        section->length % section->entry_size != 0)
      return -EBADMSG;
    at = section->offset + section->length;
  }
  return at == file_size ? 0 : -EBADMSG;
}

void egd_image_cpu_read(struct egd_image_cpu *ret_cpu) {
  // What is left out: identity, frequency, virtualisation and mitigation bits, which do not change what user code can execute.
  unsigned a, b, c, d;
  struct egd_image_cpu cpu = {0};
  if (__get_cpuid(1, &a, &b, &c, &d)) {
    cpu.leaf1_ecx = c & 0x7ed83203u;
    cpu.leaf1_edx = d & 0x07808111u;
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    unsigned subleaves = a;
    cpu.leaf7_ebx = b & 0xfdaf0329u;
    cpu.leaf7_ecx = c & 0x1a405f63u;
    cpu.leaf7_edx = d & 0x03c1411cu;
    if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) cpu.leaf7_1_eax = a & 0x00a000b7u;
  }
  if (__get_cpuid(0x80000001u, &a, &b, &c, &d)) {
    cpu.extended_ecx = c & 0x00210961u;
    cpu.extended_edx = d & 0x28000800u;
  }
  if (cpu.leaf1_ecx & bit_OSXSAVE) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    cpu.xcr0 = (uint64_t)high << 32 | low;
  }
  *ret_cpu = cpu;
}
