// Fuzz entry of the specification language: any bytes are parsed, checked, bound and described.
// With libFuzzer (clang -fsanitize=fuzzer,address -DEGD_LIBFUZZER) it is driven by that; else each argument is a file to try.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/synthesis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_diagnostic(void *context, const struct egd_diagnostic *diagnostic) {
  ++*(unsigned *)context;
  if (diagnostic->line == 0 || diagnostic->column == 0 || !*diagnostic->message) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct egd_plan plan;
  unsigned reports = 0;
  // An exact copy, so that the sanitizer sees a read beyond the end.
  char *text = malloc(size ? size : 1);
  if (!text) return 0;
  if (size) memcpy(text, data, size);
  int status = egd_plan_compile(text, size, "fuzz.egd", &plan, check_diagnostic, &reports);
  // Refused with a reason, or accepted in silence.
  if ((status == EGD_OK) != (reports == 0)) abort();
  char line[16];
  if (status == EGD_OK && strlen(egd_plan_describe(&plan, 1, line, sizeof(line))) >= sizeof(line)) abort();
  free(text);
  return 0;
}

#ifndef EGD_LIBFUZZER
int main(int argc, char **argv) {
  static uint8_t data[1 << 20];
  for (int i = 1; i < argc; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (!file) {
      perror(argv[i]);
      return 1;
    }
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
  }
  printf("%d inputs tried\n", argc - 1);
  return 0;
}
#endif
