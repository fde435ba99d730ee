// What must not be restored is refused with status 74 and one line, before anything is touched; a failed write leaves nothing behind.
#include <errno.h>
#include <sys/mount.h>
#include "runtime/checkpoint/checksum.h"
#include "runtime/checkpoint/internal.h"
#include "tests/unit/image_test.h"

static struct egd_image_header header;

static bool copy(const char *to) {
  return shell("cp --sparse=never guest.img %s && chmod 600 %s", to, to);
}

// One line that names the file and contains `text`.
static bool message_is(const char *file, const char *text) {
  char line[4096] = "", more[16];
  FILE *stream = fopen("err", "r");
  if (stream == NULL) return false;
  bool good = fgets(line, sizeof line, stream) != NULL && strstr(line, file) != NULL && strstr(line, text) != NULL &&
              fgets(more, sizeof more, stream) == NULL;
  fclose(stream);
  if (!good) printf("# message: %s", line);
  return good;
}

static void refused(const char *file, const char *text, const char *what) {
  int status = restart(file, "err");
  ok(status == 74, "%s: refused (status %d)", what, status);
  ok(message_is(file, text), "%s: the message says \"%s\"", what, text);
}

static void flip(const char *file, uint64_t offset) {
  unsigned char byte;
  int fd = open(file, O_RDWR);
  if (pread(fd, &byte, 1, (off_t)offset) != 1) abort();
  byte ^= 0x10;
  if (pwrite(fd, &byte, 1, (off_t)offset) != 1) abort();
  close(fd);
}

static void corrupt(uint64_t offset, const char *text, const char *what) {
  if (!copy("bad.img")) abort();
  flip("bad.img", offset);
  refused("bad.img", text, what);
}

static void damage_each_part(void) {
  static const char *const names[] = {"process", "threads",     "signals", "files", "regions",
                                      "runs",    "descriptors", "strings", "kept",  "block checksums",
                                      "extras",  "objects",     "polls",   "timers"};
  corrupt(0, "is not an image", "magic");
  corrupt(8, "another version", "version");
  corrupt(16, "is corrupt: header", "header checksum");
  corrupt(40, "is corrupt: header", "rank in the header");
  corrupt(4095, "is corrupt: header", "last byte of the header");
  for (uint32_t i = 0; i < EGD_SECTION_COUNT; i++) {
    const struct egd_image_section *section = &header.sections[i];
    if (section->length == 0) continue;
    char what[64];
    snprintf(what, sizeof what, "section %s", names[i]);
    corrupt(section->offset, names[i], what);
    corrupt(section->offset + section->length - 1, names[i], what);
  }
  corrupt(header.data_offset, "page data", "first page");
  corrupt(header.data_offset + header.data_length / 2, "page data", "a page in the middle");
  corrupt(header.data_offset + header.data_length - 1, "page data", "last page");
  static const double parts[] = {0, 0.001, 0.3, 0.9, 0.99999};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    if (!copy("bad.img") || truncate("bad.img", (off_t)((double)header.file_size * parts[i])) != 0) abort();
    refused("bad.img", header.file_size * parts[i] < 4096 ? "too short" : "corrupt", "truncated file");
  }
  if (!copy("bad.img") || !shell("echo more >>bad.img")) abort();
  refused("bad.img", "corrupt", "longer file");
}

static void foreign_files(void) {
  ok(symlink("guest.img", "link.img") == 0, "a symbolic link is made");
  refused("link.img", "symbolic link", "symbolic link");
  if (!copy("two.img") || link("two.img", "names.img") != 0) abort();
  refused("two.img", "hard link", "hard link");
  unlink("two.img");
  if (chmod("names.img", 0620) != 0) abort();
  refused("names.img", "others may write", "group-writable file");
  refused("missing.img", "no such file", "missing file");
  if (mkdir("folder.img", 0700) != 0 || mkfifo("fifo.img", 0600) != 0) abort();
  refused("folder.img", "not a regular file", "folder");
  refused("fifo.img", "not a regular file", "fifo");
  if (geteuid() == 0) {
    if (!copy("owned.img") || chown("owned.img", 65534, 65534) != 0) abort();
    refused("owned.img", "another user", "foreign owner");
  } else
    skip(2, "foreign owner", "needs root");
  int status = run((const char *const[]){RESTART, "--job-hash=1", "guest.img", NULL}, NULL, "err");
  ok(status == 74 && message_is("guest.img", "another job"), "image of another job");
  status = run((const char *const[]){RESTART, "--job-hash=xyz", "guest.img", NULL}, NULL, "err");
  ok(status == 64, "bad option: status 64 (%d)", status);
  status = run((const char *const[]){RESTART, NULL}, NULL, "err");
  ok(status == 64, "no image: status 64 (%d)", status);
}

static void changed_programs(void) {
  ok(run((const char *const[]){RESTART, "--check", "guest.img", NULL}, "summary", NULL) == 0 &&
         shell("grep -q '^rank: 5$' summary"),
     "--check: summary of a good image");
  if (!shell("cp libharness.so keep.so && cp guest keep && %s -DOTHER -O2 -D_GNU_SOURCE -I%s -o guest "
             "%s/tests/unit/image_guests/openmp.c "
             "-L. -lharness -Wl,-rpath,\"$PWD\" -lm 2>/dev/null",
             IMAGE_TEST_CC, IMAGE_TEST_SOURCE, IMAGE_TEST_SOURCE))
    abort();
  refused("guest.img", "program was changed", "another program");
  if (!shell("rm guest")) abort();
  refused("guest.img", "program cannot be opened", "missing program");
  if (!shell("cp -p keep guest && rm libharness.so && printf x >>keep.so && mv keep.so libharness.so")) abort();
  refused("guest.img", "library or file that it maps was changed", "another library");
}

// Well sealed nonsense: the loader must accept or refuse it, and never fail in another way.
static void fuzz(void) {
  enum { ROUNDS = 300 };
  unsigned long seed = 20240229;
  size_t tables = header.data_offset + header.data_length, length = header.file_size - tables;
  unsigned char *good = malloc(length), *bad = malloc(length);
  if (!copy("fuzz.img")) abort();
  int fd = open("fuzz.img", O_RDWR), odd = 0, accepted = 0;
  if (pread(fd, good, length, (off_t)tables) != (ssize_t)length) abort();
  for (int round = 0; round < ROUNDS; round++) {
    struct egd_image_header changed = header;
    memcpy(bad, good, length);
    for (int change = 0; change < 1 + round % 3; change++) {
      seed = seed * 6364136223846793005ul + 1442695040888963407ul;
      const struct egd_image_section *section = &header.sections[(seed >> 33) % EGD_SECTION_COUNT];
      if (section->id == EGD_SECTION_BLOCKS || section->length < 8) continue;
      uint64_t at = section->offset - tables + (seed >> 40) % (section->length / 4) * 4;
      static const uint32_t values[] = {0, 1, 0xffffffff, 0x7fffffff, 0x80000000, 4096, 0x3f00};
      uint32_t value = values[(seed >> 20) % (sizeof values / sizeof values[0])];
      memcpy(bad + at, &value, 4);
    }
    for (uint32_t i = 0; i < EGD_SECTION_COUNT; i++)
      changed.sections[i].checksum =
          egd_checksum(bad + (changed.sections[i].offset - tables), changed.sections[i].length);
    egd_image_header_seal(&changed);
    if (pwrite(fd, &changed, sizeof changed, 0) != sizeof changed ||
        pwrite(fd, bad, length, (off_t)tables) != (ssize_t)length)
      abort();
    int status = run((const char *const[]){RESTART, "--check", "fuzz.img", NULL}, "summary", "err");
    if (status == 0)
      accepted++;
    else if (status != 74)
      printf("# round %d: status %d\n", round, status), odd++;
  }
  close(fd);
  free(good);
  free(bad);
  ok(odd == 0, "%d tables with wrong values: all accepted (%d) or refused", ROUNDS, accepted);
}

static void full_disk(const char *folder) {
  char image[4096];
  if (mkdir("small", 0700) != 0 || (geteuid() == 0 ? mount("none", "small", "tmpfs", 0, "size=256k") : -1) != 0) {
    skip(6, "disk full", "needs root");
    return;
  }
  snprintf(image, sizeof image, "%s/small/guest.img", folder);
  setenv("IMAGE_PATH", image, 1);
  for (int async = 0; async < 2; async++) {
    setenv("IMAGE_ASYNC", async ? "1" : "0", 1);
    int status = run((const char *const[]){"./guest", NULL}, "out", "err");
    ok(status == 2 && (async || shell("grep -q 'egd_image_take: -28' err")), "disk full: -ENOSPC (status %d)", status);
    ok(shell("test -z \"$(ls -A small)\""), "disk full: no file is left");
  }
  mount("none", "small", "tmpfs", MS_REMOUNT | MS_RDONLY, "");
  setenv("IMAGE_ASYNC", "0", 1);
  int status = run((const char *const[]){"./guest", NULL}, "out", "err");
  ok(status == 2 && shell("grep -q 'egd_image_take: -30' err"), "read-only folder: -EROFS (status %d)", status);
  umount("small");
  snprintf(image, sizeof image, "%s/absent/guest.img", folder);
  setenv("IMAGE_PATH", image, 1);
  status = run((const char *const[]){"./guest", NULL}, "out", "err");
  ok(status == 2 && shell("grep -q 'egd_image_take: -2$' err"), "no such folder: -ENOENT (status %d)", status);
}

int main(void) {
  char image[4096], *folder = getcwd(NULL, 0);
  snprintf(image, sizeof image, "%s/guest.img", folder);
  setenv("IMAGE_PATH", image, 1);
  setenv("IMAGE_POINTS", "2", 1);
  ok(build_harness() && build_guest(IMAGE_TEST_CC, "plain.c", "guest"), "the guest is built");
  int status = run((const char *const[]){"./guest", NULL}, "out", NULL);
  ok(status == 137, "an image is taken (status %d)", status);
  struct stat info;
  ok(stat("guest.img", &info) == 0 && (info.st_mode & 0777) == 0600 && access("guest.img.tmp", F_OK) != 0,
     "mode 0600, no temporary file");
  int fd = open("guest.img", O_RDONLY);
  ok(pread(fd, &header, sizeof header, 0) == sizeof header && header.magic == EGD_IMAGE_MAGIC, "the header is there");
  close(fd);
  damage_each_part();
  foreign_files();
  fuzz();
  full_disk(folder);
  changed_programs();
  free(folder);
  return finish();
}
