// Images: the state of one process in one file (docs/formats/image.md), and its restart by the static program egida-restart.
//
// Used by runtime/rank.c in the rank, at a safe point. Uses no libc allocation and no stdio; plain system calls by runtime/syscall.h.
#ifndef EGIDA_RUNTIME_CHECKPOINT_IMAGE_H
#define EGIDA_RUNTIME_CHECKPOINT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A piece of memory outside the process's private memory that goes into the image as well (retained log in the node segment). It is not
// restored by the loader but read back with egd_image_read_extra.
struct egd_image_extra {
  uint64_t tag; // meaning is the caller's (a segment offset)
  const void *data;
  uint64_t length;
};

struct egd_image_request {
  const char *path;      // absolute; written as path.tmp, fsync, rename, fsync of the folder; mode 0600
  uint64_t job_hash;     // checked by the loader against its --job-hash argument
  uint32_t rank, number; // for messages and checks
  bool async;            // write in a forked copy
  const struct egd_image_extra *extras;
  size_t nextras;
  // Address ranges never saved and absent after a restore until `restored` maps them (the node segment, the spill file).
  const struct { uint64_t begin, end; } * excluded;
  size_t nexcluded;
  const int *excluded_fds; // descriptors that are not the application's: inherited afresh by each incarnation
  size_t nexcluded_fds;
  // Runs in the writer (the forked copy if async) after rename + fsync; may store to shared memory. status 0 or -errno.
  void (*finished)(void *arg, int status, uint64_t bytes, uint64_t write_ns);
  // Runs in the writer before it begins to write (fault injection).
  void (*begun)(void *arg);
  void *arg;
};

enum egd_image_outcome {
  EGD_IMAGE_TAKEN =
      0, // sync: durable; async: the copy is writing, *ret_child is its pid (raw clone, reap with __WCLONE)
  EGD_IMAGE_RESTORED = 1, // this is a new incarnation that continues from the image
};

/// Keep the addresses that images and their loader need, before anybody else uses them; they stay reserved in restored processes.
/// 0 or -errno: -EEXIST if something lies there already.
int egd_image_reserve(void);

/// Take an image of the calling process. Returns EGD_IMAGE_TAKEN in the original and, later, EGD_IMAGE_RESTORED in each process that
/// egida-restart makes of the file; or -errno (nothing changed, no file left).
/// All threads are saved (others are stopped by signal for the time of the fork or of the synchronous write).
/// On RESTORED: descriptors, signal dispositions, timers, cwd, umask, threads are as before; excluded ranges are unmapped; excluded fds are
/// those of the new process. `*ret_child` only with async.
int egd_image_take(const struct egd_image_request *request, int *ret_child);

/// Read back the extra sections of the image at `path`: calls `sink(arg, tag, data, length)` with pieces in order (checksummed before). Only system
/// calls; usable in a restored process. 0 or -errno (-EBADMSG: corrupt).
int egd_image_read_extra(const char *path,
                         void (*sink)(void *arg, uint64_t tag, uint64_t offset, const void *data, size_t length),
                         void *arg);

#endif
