// Files of tests/fixtures/specs for the tests of the language.
#ifndef EGIDA_TESTS_SPEC_FIXTURES_H
#define EGIDA_TESTS_SPEC_FIXTURES_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// NULL if it cannot be read; NUL-terminated.
__attribute__((unused)) static char *read_fixture(const char *folder, const char *name, size_t *ret_length) {
  char path[4096];
  snprintf(path, sizeof(path), "%s/%s/%s", EGD_TEST_SOURCE, folder, name);
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  char *data = malloc(65537);
  *ret_length = fread(data, 1, 65536, file);
  data[*ret_length] = '\0';
  fclose(file);
  // Of exact size, so that the sanitizer sees a read beyond the end.
  data = realloc(data, *ret_length + 1);
  return data;
}

static int is_specification(const struct dirent *entry) {
  size_t length = strlen(entry->d_name);
  return length > 4 && strcmp(entry->d_name + length - 4, ".egd") == 0;
}

// Calls `each` with the name of each specification in the folder; returns how many there are.
__attribute__((unused)) static int each_fixture(const char *folder,
                                                void (*each)(const char *folder, const char *name)) {
  char path[4096];
  struct dirent **entries;
  snprintf(path, sizeof(path), "%s/%s", EGD_TEST_SOURCE, folder);
  int count = scandir(path, &entries, is_specification, alphasort);
  for (int i = 0; i < count; i++) {
    each(folder, entries[i]->d_name);
    free(entries[i]);
  }
  if (count >= 0) free(entries);
  return count;
}

#endif
