// "Did you mean …?"
#ifndef EGIDA_COMMON_NEAREST_H
#define EGIDA_COMMON_NEAREST_H

#include <stddef.h>

/// How many letters must be changed, added or left out to make one of the other; the case does not matter. SIZE_MAX for
/// words of more than 64 letters.
size_t egd_edit_distance(const char *a, const char *b);

#endif
