// The bytes of the file format (docs/formats/image.md), and what reads them back.
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "runtime/checkpoint/internal.h"

static int count, failures;
static void ok(bool holds, const char *what) {
  printf("%sok %d - %s\n", holds ? "" : "not ", ++count, what);
  failures += !holds;
}

// Header of a made-up image; a change of layout or checksum breaks images that exist already and needs a new version.
static const unsigned char golden[] = {
    0x45, 0x47, 0x49, 0x44, 0x41, 0x49, 0x4d, 0x47,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, // magic, version, header_size
    0xf0, 0x70, 0xdf, 0xfe, 0x9b, 0xe9, 0xe5, 0x53,
    0x90, 0x30, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // checksum, file_size
    0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,
    0x03, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, // job_hash, rank, number
    0x00, 0xca, 0x9a, 0x3b, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, // created, page, block
    0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // data_offset, data_length
};

static void make(struct egd_image_header *header) {
  memset(header, 0, sizeof *header);
  header->magic = EGD_IMAGE_MAGIC;
  header->version = EGD_IMAGE_VERSION;
  header->header_size = sizeof *header;
  header->job_hash = 0x0123456789abcdef;
  header->rank = 3;
  header->number = 7;
  header->created_ns = 1000000000;
  header->page_size = EGD_IMAGE_PAGE;
  header->block_size = EGD_IMAGE_BLOCK;
  header->data_offset = EGD_IMAGE_PAGE;
  header->data_length = 2 * EGD_IMAGE_PAGE;
  header->cpu.xcr0 = 7;
  header->nsections = EGD_SECTION_COUNT;
  strcpy(header->kernel, "6.1.0");
  uint64_t at = header->data_offset + header->data_length;
  for (uint32_t i = 0; i < EGD_SECTION_COUNT; i++) header->sections[i] = (struct egd_image_section){i + 1, 8, at, 0, 0};
  header->sections[EGD_SECTION_COUNT - 1].length = 144;
  header->file_size = at + 144;
  egd_image_header_seal(header);
}

static void check_header(void) {
  static struct egd_image_header header, changed;
  make(&header);
  if (memcmp(&header, golden, sizeof golden) != 0) {
    printf("# got:");
    for (size_t i = 0; i < sizeof golden; i++) printf(" %02x", ((unsigned char *)&header)[i]);
    printf("\n");
  }
  ok(memcmp(&header, golden, sizeof golden) == 0, "the header's first 80 bytes are the documented ones");
  ok(offsetof(struct egd_image_header, cpu) == 80 && offsetof(struct egd_image_header, vdso_checksum) == 120 &&
         offsetof(struct egd_image_header, kernel) == 136 && offsetof(struct egd_image_header, sections) == 200,
     "offsets in the header");
  ok(sizeof(struct egd_image_section) == 32 && sizeof(struct egd_image_process) == 784 &&
         sizeof(struct egd_image_thread) == 176 && sizeof(struct egd_image_signal) == 32 &&
         sizeof(struct egd_image_file) == 88 && sizeof(struct egd_image_region) == 56 &&
         sizeof(struct egd_image_run) == 24 && sizeof(struct egd_image_fd) == 112 &&
         sizeof(struct egd_image_object) == 56 && sizeof(struct egd_image_poll) == 24 &&
         sizeof(struct egd_image_timer) == 64 && sizeof(struct egd_image_extra_entry) == 24,
     "sizes of the entries");
  ok(egd_image_header_check(&header, header.file_size) == 0, "a good header is accepted");
  ok(egd_image_header_check(&header, header.file_size - 1) == -EBADMSG, "another file size is not");
  bool all = true;
  for (size_t i = 0; i < sizeof header; i++) {
    changed = header;
    ((unsigned char *)&changed)[i] ^= 1;
    all = all && egd_image_header_check(&changed, header.file_size) < 0;
  }
  ok(all, "a changed bit in any byte is noticed");
  changed = header;
  changed.version++;
  egd_image_header_seal(&changed);
  ok(egd_image_header_check(&changed, header.file_size) == -EPROTONOSUPPORT, "another version is told apart");
  // Well sealed, but wrong: lengths are checked by themselves.
  static const struct {
    const char *what;
    size_t offset;
    uint64_t value;
  } lies[] = {{"data_length beyond the file", offsetof(struct egd_image_header, data_length), 1ull << 40},
              {"section offset beyond the file", offsetof(struct egd_image_header, sections) + 8, ~0ull & ~7ull},
              {"section length beyond the file", offsetof(struct egd_image_header, sections) + 16, ~0ull & ~7ull},
              {"entry size of zero", offsetof(struct egd_image_header, sections), 1}};
  for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
    changed = header;
    memcpy((char *)&changed + lies[i].offset, &lies[i].value, 8);
    egd_image_header_seal(&changed);
    ok(egd_image_header_check(&changed, header.file_size) == -EBADMSG, lies[i].what);
  }
}

struct collected {
  uint64_t tags, bytes;
  bool right;
};

static const unsigned char *first, *second;
enum { FIRST = 3 << 20, SECOND = 77 };

static void sink(void *arg, uint64_t tag, uint64_t offset, const void *data, size_t length) {
  struct collected *collected = arg;
  collected->tags += offset == 0 ? tag : 0;
  collected->bytes += length;
  if (memcmp((tag == 100 ? first : second) + offset, data, length) != 0) collected->right = false;
}

static void finished(void *arg, int status, uint64_t bytes, uint64_t write_ns) {
  uint64_t *report = arg;
  report[0]++;
  report[1] = status == 0 ? bytes : 0;
  report[2] = write_ns;
}

static void finished_shared(void *arg, int status, uint64_t bytes, uint64_t write_ns) {
  (void)bytes, (void)write_ns;
  uint64_t *report = arg;
  report[0]++;
  report[1] = (uint64_t)(int64_t)status;
}

static void check_extras(void) {
  char path[4096];
  if (getcwd(path, sizeof path - 20) == NULL) return;
  strcat(path, "/extra.img");
  unsigned char *area = mmap(NULL, FIRST + SECOND, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (size_t i = 0; i < FIRST + SECOND; i++) area[i] = (unsigned char)(i * 2654435761u >> 13);
  first = area, second = area + FIRST;
  struct egd_image_extra extras[] = {{100, first, FIRST}, {23, second, SECOND}, {0, second, 0}};
  uint64_t report[3] = {0};
  struct egd_image_request request = {.path = path,
                                      .job_hash = 9,
                                      .rank = 1,
                                      .number = 2,
                                      .extras = extras,
                                      .nextras = 3,
                                      .finished = finished,
                                      .arg = report};
  // Excluded from the image, as the node segment is.
  uint64_t excluded[2] = {(uint64_t)(uintptr_t)area, (uint64_t)(uintptr_t)area + FIRST + SECOND};
  request.excluded = (const void *)excluded;
  request.nexcluded = 1;
  int outcome = egd_image_take(&request, NULL);
  ok(outcome == EGD_IMAGE_TAKEN, "an image is taken");
  ok(report[0] == 1 && report[1] > FIRST && report[2] > 0, "finished is called with size and time");
  struct collected collected = {0, 0, true};
  ok(egd_image_read_extra(path, sink, &collected) == 0 && collected.right && collected.tags == 123 &&
         collected.bytes == FIRST + SECOND,
     "extra sections are read back");
  int fd = open(path, O_RDWR);
  struct egd_image_header header;
  struct egd_image_extra_entry entry;
  unsigned char byte;
  bool good = pread(fd, &header, sizeof header, 0) == sizeof header &&
              pread(fd, &entry, sizeof entry, (off_t)header.sections[EGD_SECTION_EXTRAS - 1].offset) == sizeof entry &&
              pread(fd, &byte, 1, (off_t)entry.data + 5000) == 1;
  byte ^= 4;
  good = good && pwrite(fd, &byte, 1, (off_t)entry.data + 5000) == 1;
  close(fd);
  ok(good && egd_image_read_extra(path, sink, &collected) == -EBADMSG, "a changed extra section is noticed");
  ok(egd_image_read_extra("/nowhere/image", sink, &collected) == -ENOENT, "a missing file is reported");
  request.path = "relative.img";
  ok(egd_image_take(&request, NULL) == -EINVAL, "a relative path is refused");
  unlink(path);
}

static void check_asynchronous(void) {
  char path[4096];
  if (getcwd(path, sizeof path - 20) == NULL) return;
  strcat(path, "/fork.img");
  uint64_t *report = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  struct egd_image_request request = {.path = path, .async = true, .finished = finished_shared, .arg = report};
  int child = 0, status = -1;
  ok(egd_image_take(&request, &child) == EGD_IMAGE_TAKEN && child > 0, "an asynchronous image is begun");
  ok(waitpid(-1, &status, WNOHANG) == -1, "its writer is not among the children that the program sees");
  ok(waitpid(child, &status, __WCLONE) == child && status == 0 && report[1] == 0 && report[0] == 1, "and ends well");
  char *left_out = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(left_out, 4096, MADV_DONTFORK);
  ok(egd_image_take(&request, &child) == EGD_IMAGE_TAKEN && waitpid(child, &status, __WCLONE) == child && status != 0 &&
         (int64_t)report[1] == -EOPNOTSUPP && report[0] == 2,
     "memory that a fork leaves out is noticed");
  request.async = false;
  ok(egd_image_take(&request, NULL) == EGD_IMAGE_TAKEN, "a synchronous image has it");
  munmap(left_out, 4096);
  unlink(path);
}

int main(void) {
  check_header();
  check_asynchronous();
  check_extras();
  printf("1..%d\n", count);
  return failures == 0 ? 0 : 1;
}
