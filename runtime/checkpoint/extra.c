// Reading the extra sections of an image back, in the process that was restored from it.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "runtime/checkpoint/checksum.h"
#include "runtime/checkpoint/internal.h"
#include "runtime/syscall.h"

struct reader {
  int fd;
  struct egd_image_header header;
  struct egd_table tables;
  const struct egd_image_extra_entry *extras;
  const uint64_t *blocks;
  size_t nextras, nblocks;
  unsigned char block[EGD_IMAGE_BLOCK];
};

typedef void sink_function(void *arg, uint64_t tag, uint64_t offset, const void *data, size_t length);

static int read_section(struct reader *reader, uint32_t id, const void **ret_data) {
  const struct egd_image_section *section = &reader->header.sections[id - 1];
  void *data = egd_table_add(&reader->tables, section->length + 8);
  if (data == NULL) return -ENOMEM;
  int status = egd_read_all(reader->fd, data, section->length, section->offset);
  if (status < 0) return status;
  *ret_data = data;
  return egd_checksum(data, section->length) == section->checksum ? 0 : -EBADMSG;
}

static int deliver(struct reader *reader, const struct egd_image_extra_entry *extra, sink_function *sink, void *arg) {
  const struct egd_image_header *header = &reader->header;
  uint64_t end = header->data_offset + header->data_length;
  if (extra->data < header->data_offset || extra->data > end || extra->length > end - extra->data) return -EBADMSG;
  for (uint64_t done = 0; done < extra->length;) {
    uint64_t at = extra->data + done - header->data_offset;
    uint64_t number = at / EGD_IMAGE_BLOCK, begin = number * EGD_IMAGE_BLOCK;
    size_t length = header->data_length - begin < EGD_IMAGE_BLOCK ? header->data_length - begin : EGD_IMAGE_BLOCK;
    int status = egd_read_all(reader->fd, reader->block, length, header->data_offset + begin);
    if (status < 0) return status;
    if (egd_checksum(reader->block, length) != reader->blocks[number]) return -EBADMSG;
    size_t piece = length - (at - begin);
    if (piece > extra->length - done) piece = extra->length - done;
    sink(arg, extra->tag, done, reader->block + (at - begin), piece);
    done += piece;
  }
  return 0;
}

static int read_extras(struct reader *reader, const char *path, sink_function *sink, void *arg) {
  struct stat info;
  reader->fd = (int)egd_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (reader->fd < 0) return reader->fd;
  int status = (int)egd_sys2(SYS_fstat, reader->fd, &info);
  if (status == 0) status = egd_read_all(reader->fd, &reader->header, sizeof reader->header, 0);
  if (status == 0) status = egd_image_header_check(&reader->header, (uint64_t)info.st_size);
  const void *extras = NULL, *blocks = NULL;
  if (status == 0) status = read_section(reader, EGD_SECTION_EXTRAS, &extras);
  if (status == 0) status = read_section(reader, EGD_SECTION_BLOCKS, &blocks);
  if (status == 0) {
    reader->extras = extras, reader->blocks = blocks;
    reader->nextras = reader->header.sections[EGD_SECTION_EXTRAS - 1].length / sizeof *reader->extras;
    reader->nblocks = reader->header.sections[EGD_SECTION_BLOCKS - 1].length / sizeof *reader->blocks;
    if (reader->nblocks != (reader->header.data_length + EGD_IMAGE_BLOCK - 1) / EGD_IMAGE_BLOCK) status = -EBADMSG;
  }
  for (size_t i = 0; i < reader->nextras && status == 0; i++) status = deliver(reader, &reader->extras[i], sink, arg);
  egd_sys1(SYS_close, reader->fd);
  return status;
}

int egd_image_read_extra(const char *path, sink_function *sink, void *arg) {
  struct egd_table state;
  egd_scratch_release();
  egd_table_init(&state, EGD_WINDOW_READER);
  struct reader *reader = egd_table_add(&state, sizeof *reader);
  if (reader == NULL) return -ENOMEM;
  egd_table_init(&reader->tables, EGD_WINDOW_EXTRAS);
  int status = read_extras(reader, path, sink, arg);
  egd_scratch_release();
  return status;
}
