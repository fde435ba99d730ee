// Memory of the image writer: growing tables at fixed addresses that are in no image, and file reading on top of them.
#ifndef EGIDA_RUNTIME_CHECKPOINT_SCRATCH_H
#define EGIDA_RUNTIME_CHECKPOINT_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

struct egd_table {
  char *base;
  size_t used, mapped;
};

enum egd_scratch_window {
  EGD_WINDOW_STATE,
  EGD_WINDOW_STRINGS,
  EGD_WINDOW_TEXT,
  EGD_WINDOW_FILES,
  EGD_WINDOW_REGIONS,
  EGD_WINDOW_RUNS,
  EGD_WINDOW_FDS,
  EGD_WINDOW_POLLS,
  EGD_WINDOW_TIMERS,
  EGD_WINDOW_OBJECTS,
  EGD_WINDOW_CONTENT,
  EGD_WINDOW_BLOCKS,
  EGD_WINDOW_EXTRAS,
  EGD_WINDOW_READER,
};

/// An empty table in its window.
void egd_table_init(struct egd_table *table, enum egd_scratch_window window);
/// `size` more bytes at the end of the table, cleared, 8-byte aligned if all sizes are. NULL: out of memory (nothing changed).
void *egd_table_add(struct egd_table *table, size_t size);
/// Give the memory of all windows back. Their addresses stay reserved: whoever maps memory wherever it finds room (MPICH's
/// windows) must not find room here, since it would be in no image.
void egd_scratch_release(void);
/// The same for the loader's window, in a process that it restored.
void egd_loader_release(void);

/// Append the content of a file and a NUL to the table. Returns the number of bytes (without the NUL) or -errno.
int64_t egd_table_read_file(struct egd_table *table, const char *path);

/// Write all of `length` bytes at `offset`. 0 or -errno.
int egd_write_all(int fd, const void *data, size_t length, uint64_t offset);
/// Read exactly `length` bytes at `offset`. 0 or -errno; -EBADMSG at the end of the file.
int egd_read_all(int fd, void *data, size_t length, uint64_t offset);

#endif
