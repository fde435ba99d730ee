// The part of the message log and of the output that an image must carry when it has to outlive its node: the retained
// records of the rank's own channels and what the launcher has not acknowledged yet. Segment offsets are the same on
// every node, so pieces are saved and put back by offset.
#ifndef EGIDA_RUNTIME_IMAGES_LOG_H
#define EGIDA_RUNTIME_IMAGES_LOG_H

#include "runtime/checkpoint/image.h"

struct egd_log_snapshot {
  struct egd_image_extra *extras;
  size_t nextras, capacity;
  void *channels; // copy of the channel table: it goes on changing while the image is written
  size_t channels_size;
  void *output; // copy of the counters of the output ring
};

/// List the pieces. Published records never change; that their memory is not used again while the writer reads them from the shared
/// mapping is up to the caller (egd_log.hold).
void egd_log_snapshot_make(struct egd_log_snapshot *ret_snapshot);
void egd_log_snapshot_drop(struct egd_log_snapshot *snapshot);
/// Put the pieces of the image at `path` into the segment.
void egd_log_snapshot_restore(const char *path);

#endif
