// Fuzz entry of the journal's records, as the service decodes them. Arguments are files to try; with libFuzzer (clang
// -fsanitize=fuzzer,address -DEGD_LIBFUZZER) it is driven by that. The checksum of each record is made right first: random
// changes would not pass it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/status.h"
#include "restartd/journal_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  unsigned char *copy = malloc(size ? size : 1), *again = NULL;
  size_t again_size = 0, length;
  struct egd_record record;
  if (size) memcpy(copy, data, size);
  for (size_t used = 0; used < size; used += length) {
    uint32_t total, check;
    if (size - used >= 8) {
      memcpy(&total, copy + used, 4);
      if (total > 8 && total <= size - used) {
        check = (uint32_t)XXH3_64bits(copy + used + 8, total - 8);
        memcpy(copy + used + 4, &check, 4);
      }
    }
    if (egd_record_decode(copy + used, size - used, &record, &length) != EGD_OK) break;
    // What was decoded is encoded to the same bytes: nothing was read that is not in the record.
    if (egd_record_encode(&record, &again, &again_size) != length || memcmp(again, copy + used, length) != 0) abort();
  }
  free(again);
  free(copy);
  return 0;
}

#ifndef EGD_LIBFUZZER
int main(int argc, char **argv) {
  static unsigned char data[1 << 20];
  for (int i = 1; i < argc; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (!file) {
      perror(argv[i]);
      return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
  }
  return 0;
}
#endif
