// Files and folders that hold a job: only its owner's, never through symbolic links, written whole or not at all.
#ifndef EGIDA_COMMON_SECUREPATH_H
#define EGIDA_COMMON_SECUREPATH_H

#include <stdbool.h>
#include <stddef.h>

/// Make folder `path` with mode 0700 (parents must exist), or check one that exists: a folder, no link, owned by the
/// effective user, closed to group and others. EGD_OK, EGD_ERR_PERMISSION (also: not as it must be), EGD_ERR_NO_SPACE,
/// EGD_ERR_NOT_FOUND (a parent is missing), EGD_ERR_INVALID (no folder), EGD_ERR_IO; errno tells more.
int egd_secure_mkdir(const char *path);
/// Open an existing private file (regular, no link, one name, owner = effective user, not writable by others) for
/// reading. -1 with errno; ELOOP, EPERM if it is not as it must be.
int egd_secure_open(const char *path);
/// Read such a file. *ret_data is malloc'd with a NUL behind it; *ret_length may be NULL. At most `limit` bytes.
int egd_secure_read(const char *path, size_t limit, char **ret_data, size_t *ret_length);
/// Replace DIR/NAME by these bytes, mode 0600: temporary file, rename; `durable`: fsync of file and folder. A status.
int egd_secure_write(const char *dir, const char *name, const void *data, size_t length, bool durable);
/// Remove a file or a whole folder; symbolic links are removed, not followed. What is missing is fine. False: something
/// is left (errno of the first failure).
bool egd_remove_tree(const char *path);

#endif
