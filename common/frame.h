// Frames on a byte stream: {u32 length of the body, u8 type, u8[3] zero}, little-endian, then the body.
//
// Used on all streams between launcher, agents and watchdogs, and between agents (docs/formats/control.md). The decoder
// takes bytes as they come and gives whole frames; the queue holds frames that the peer did not take yet.
#ifndef EGIDA_COMMON_FRAME_H
#define EGIDA_COMMON_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define EGD_FRAME_HEADER 8u
#define EGD_FRAME_JSON 1u   // body: one JSON object, UTF-8
#define EGD_FRAME_BINARY 2u // body: as the stream's format says

struct egd_frame_decoder {
  unsigned char *buffer;
  size_t size, used; // allocated; bytes of a frame that is not complete
  size_t max_body;
};

/// A whole frame. `body` is valid during the call only. Return EGD_OK to go on; anything else ends egd_frame_push()
/// with that value.
typedef int (*egd_frame_fn)(void *arg, uint8_t type, const unsigned char *body, size_t length);

/// Frames with a body of more than `max_body` bytes are refused.
void egd_frame_decoder_init(struct egd_frame_decoder *decoder, size_t max_body);
void egd_frame_decoder_clear(struct egd_frame_decoder *decoder);
/// Decode `length` more bytes of the stream. EGD_OK, EGD_ERR_CORRUPT (no such header: the stream is of no use any
/// more), EGD_ERR_NO_MEMORY, or what `fn` returned. `fn` may clear the decoder if it then returns not EGD_OK.
int egd_frame_push(struct egd_frame_decoder *decoder, const void *data, size_t length, egd_frame_fn fn, void *arg);

struct egd_frame_queue {
  unsigned char *buffer;
  size_t size, begin, end; // bytes [begin, end) wait
  size_t limit;
};

/// At most `limit` bytes (headers counted) wait at a time; a frame always fits an empty queue.
void egd_frame_queue_init(struct egd_frame_queue *queue, size_t limit);
void egd_frame_queue_clear(struct egd_frame_queue *queue);
/// Append a frame whose body is `head` followed by `body` (either may be empty). EGD_ERR_NO_SPACE: the queue is full,
/// nothing was appended. EGD_ERR_NO_MEMORY, EGD_ERR_INVALID (body beyond 32 bits).
int egd_frame_put2(struct egd_frame_queue *queue, uint8_t type, const void *head, size_t head_length, const void *body,
                   size_t body_length);
int egd_frame_put(struct egd_frame_queue *queue, uint8_t type, const void *body, size_t length);
/// Bytes that wait.
size_t egd_frame_queued(const struct egd_frame_queue *queue);
/// Write what the descriptor takes (non-blocking socket or pipe; no SIGPIPE on sockets). EGD_OK, also when some must
/// wait: see egd_frame_queued(); EGD_ERR_IO: the peer is gone.
int egd_frame_flush(struct egd_frame_queue *queue, int fd);

#endif
