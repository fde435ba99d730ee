// Files written by every rank with C stdio and system calls: append, overwrite, seek, truncate, rename, unlink, mkstemp, read back.
// Leaves files-RANK.log (appended line by line) and files-RANK.bin in the current folder for comparison.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

static uint64_t hash_of_file(const char *name) {
  FILE *file = fopen(name, "rb");
  CHECK(file != NULL, "%s cannot be read", name);
  uint64_t hash = 0;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;) hash = mix_bytes(hash, buffer, n);
  fclose(file);
  return hash;
}

int main(int argc, char **argv) {
  start(&argc, &argv, 40);
  char log_name[64], bin_name[64], new_name[64];
  snprintf(log_name, sizeof log_name, "files-%d.log", rank);
  snprintf(bin_name, sizeof bin_name, "files-%d.bin", rank);
  snprintf(new_name, sizeof new_name, "files-%d.new", rank);
  remove(log_name);
  uint64_t hash = 0;
  long log_size = 0;
  int bin = open(bin_name, O_RDWR | O_CREAT | O_TRUNC, 0644);
  CHECK(bin >= 0, "%s cannot be created", bin_name);
  for (int step = 0; step < iterations; step++) {
    FILE *log = fopen(log_name, "a");
    CHECK(log != NULL, "%s cannot be opened", log_name);
    int n = fprintf(log, "step %d of rank %d: %016" PRIx64 "\n", step, rank, hash);
    CHECK(fclose(log) == 0, "%s cannot be closed", log_name);
    log_size += n;
    struct stat st;
    CHECK(stat(log_name, &st) == 0 && st.st_size == log_size, "step %d: %s has %ld bytes, not %ld", step, log_name,
          (long)st.st_size, log_size);

    uint64_t word = mix((uint64_t)rank, (uint64_t)step), back = 0;
    CHECK(pwrite(bin, &word, 8, step % 7 * 512) == 8, "pwrite");
    CHECK(lseek(bin, 4096 + step * 16, SEEK_SET) >= 0 && write(bin, &word, 8) == 8 && write(bin, &word, 8) == 8,
          "write");
    CHECK(pread(bin, &back, 8, step % 7 * 512) == 8 && back == word, "step %d: read back %016" PRIx64, step, back);
    if (step % 10 == 9) CHECK(ftruncate(bin, 4096 + step * 16) == 0, "ftruncate");

    FILE *file = fopen(new_name, "w");
    fprintf(file, "generation %d\n", step);
    fseek(file, 0, SEEK_SET);
    fputc('G', file);
    fclose(file);
    char final_name[64];
    snprintf(final_name, sizeof final_name, "files-%d.state", rank);
    CHECK(rename(new_name, final_name) == 0, "rename");
    hash = mix(hash, hash_of_file(final_name));

    char temporary[] = "files-XXXXXX";
    int fd = mkstemp(temporary);
    CHECK(fd >= 0 && write(fd, temporary, sizeof temporary) == sizeof temporary, "mkstemp");
    CHECK(unlink(temporary) == 0, "unlink %s", temporary);
    close(fd);

    MPI_Allreduce(MPI_IN_PLACE, &word, 1, MPI_UINT64_T, MPI_BXOR, MPI_COMM_WORLD);
    hash = mix(hash, word);
    pace();
  }
  close(bin);
  hash = mix(mix(hash, hash_of_file(log_name)), hash_of_file(bin_name));
  finish("files", hash);
  return 0;
}
