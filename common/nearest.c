#include "common/nearest.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#define LETTERS 64

// Levenshtein's distance, one row of the table at a time.
size_t egd_edit_distance(const char *a, const char *b) {
  size_t row[LETTERS + 1], a_length = strlen(a), b_length = strlen(b);
  if (a_length > LETTERS || b_length > LETTERS) return SIZE_MAX;
  for (size_t j = 0; j <= b_length; j++) row[j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      size_t changed = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
      diagonal = row[j];
      size_t moved = (row[j - 1] < row[j] ? row[j - 1] : row[j]) + 1;
      row[j] = changed < moved ? changed : moved;
    }
  }
  return row[b_length];
}
