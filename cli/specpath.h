// Where specifications are found by name.
#ifndef EGIDA_CLI_SPECPATH_H
#define EGIDA_CLI_SPECPATH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/// Find and read the specification `name`: a path if it has a slash; "-" for standard input; else NAME or NAME.egd in the
/// working folder, then in the folders of $EGIDA_SPEC_PATH (separated by colons), beside the running program in a build
/// folder, and in the installed folder. `path` gets the file's name as messages should show it.
/// *ret_text is to be freed. On failure (EGD_ERR_NOT_FOUND, EGD_ERR_PERMISSION, EGD_ERR_INVALID, EGD_ERR_IO,
/// EGD_ERR_NO_MEMORY) `error` gets one sentence that says what to do, without newline.
int egd_spec_read(const char *name, char path[PATH_MAX], char **ret_text, size_t *ret_length, char *error,
                  size_t error_size);

/// Call `found` for every specification that can be named, in search order; one that is hidden behind another of its name
/// has `hidden`. Ends early when `found` returns false.
void egd_spec_list(bool (*found)(void *context, const char *name, const char *path, bool hidden), void *context);

#endif
