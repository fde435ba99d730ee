#include "common/frame.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/status.h"

static uint32_t get_u32(const unsigned char *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_u32(unsigned char *p, uint32_t value) {
  for (int i = 0; i < 4; i++) p[i] = (unsigned char)(value >> (8 * i));
}

void egd_frame_decoder_init(struct egd_frame_decoder *decoder, size_t max_body) {
  *decoder = (struct egd_frame_decoder){.max_body = max_body};
}

void egd_frame_decoder_clear(struct egd_frame_decoder *decoder) {
  free(decoder->buffer);
  *decoder = (struct egd_frame_decoder){.max_body = decoder->max_body};
}

// 1: a whole frame of *ret_total bytes; 0: more bytes are needed; or a status.
static int look(const struct egd_frame_decoder *decoder, const unsigned char *data, size_t length, size_t *ret_total) {
  *ret_total = EGD_FRAME_HEADER;
  if (length < EGD_FRAME_HEADER) return 0;
  uint32_t body = get_u32(data);
  if (body > decoder->max_body || data[4] == 0 || data[5] || data[6] || data[7]) return EGD_ERR_CORRUPT;
  *ret_total += body;
  return length >= *ret_total;
}

static int keep(struct egd_frame_decoder *decoder, const unsigned char *data, size_t length, size_t wanted) {
  if (wanted < decoder->used + length) wanted = decoder->used + length;
  if (wanted > decoder->size) {
    // Grown with what came, not with what a header promises: a liar gets no memory.
    size_t size = decoder->used + length;
    size = size < 4096 ? 4096 : 2 * size;
    if (size > wanted && size > 4096) size = wanted;
    unsigned char *buffer = realloc(decoder->buffer, size);
    if (!buffer) return EGD_ERR_NO_MEMORY;
    decoder->buffer = buffer;
    decoder->size = size;
  }
  memcpy(decoder->buffer + decoder->used, data, length);
  decoder->used += length;
  return EGD_OK;
}

int egd_frame_push(struct egd_frame_decoder *decoder, const void *data, size_t length, egd_frame_fn fn, void *arg) {
  const unsigned char *p = data;
  while (length > 0) {
    size_t total;
    if (decoder->used == 0) {
      int whole = look(decoder, p, length, &total);
      if (whole < 0) return whole;
      if (whole == 0) return keep(decoder, p, length, total);
      int status = fn(arg, p[4], p + EGD_FRAME_HEADER, total - EGD_FRAME_HEADER);
      if (status != EGD_OK) return status;
      p += total;
      length -= total;
      continue;
    }
    int whole = look(decoder, decoder->buffer, decoder->used, &total);
    if (whole < 0) return whole;
    size_t take = total - decoder->used < length ? total - decoder->used : length;
    int status = keep(decoder, p, take, total);
    if (status != EGD_OK) return status;
    p += take;
    length -= take;
    whole = look(decoder, decoder->buffer, decoder->used, &total);
    if (whole < 0) return whole;
    if (whole == 0) continue;
    decoder->used = 0;
    status = fn(arg, decoder->buffer[4], decoder->buffer + EGD_FRAME_HEADER, total - EGD_FRAME_HEADER);
    if (status != EGD_OK) return status;
  }
  return EGD_OK;
}

void egd_frame_queue_init(struct egd_frame_queue *queue, size_t limit) {
  *queue = (struct egd_frame_queue){.limit = limit};
}

void egd_frame_queue_clear(struct egd_frame_queue *queue) {
  free(queue->buffer);
  *queue = (struct egd_frame_queue){.limit = queue->limit};
}

size_t egd_frame_queued(const struct egd_frame_queue *queue) {
  return queue->end - queue->begin;
}

int egd_frame_put2(struct egd_frame_queue *queue, uint8_t type, const void *head, size_t head_length, const void *body,
                   size_t body_length) {
  if (head_length > UINT32_MAX || body_length > UINT32_MAX - head_length) return EGD_ERR_INVALID;
  size_t waiting = egd_frame_queued(queue), total = EGD_FRAME_HEADER + head_length + body_length;
  if (waiting > 0 && waiting + total > queue->limit) return EGD_ERR_NO_SPACE;
  if (queue->size - queue->end < total) {
    if (waiting > 0) memmove(queue->buffer, queue->buffer + queue->begin, waiting);
    queue->begin = 0;
    queue->end = waiting;
    if (queue->size < waiting + total) {
      size_t size = 2 * (waiting + total);
      unsigned char *buffer = realloc(queue->buffer, size);
      if (!buffer) return EGD_ERR_NO_MEMORY;
      queue->buffer = buffer;
      queue->size = size;
    }
  }
  unsigned char *p = queue->buffer + queue->end;
  put_u32(p, (uint32_t)(head_length + body_length));
  p[4] = type;
  p[5] = p[6] = p[7] = 0;
  if (head_length > 0) memcpy(p + EGD_FRAME_HEADER, head, head_length);
  if (body_length > 0) memcpy(p + EGD_FRAME_HEADER + head_length, body, body_length);
  queue->end += total;
  return EGD_OK;
}

int egd_frame_put(struct egd_frame_queue *queue, uint8_t type, const void *body, size_t length) {
  return egd_frame_put2(queue, type, NULL, 0, body, length);
}

int egd_frame_flush(struct egd_frame_queue *queue, int fd) {
  while (queue->begin < queue->end) {
    const unsigned char *p = queue->buffer + queue->begin;
    size_t length = queue->end - queue->begin;
    ssize_t n = send(fd, p, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == ENOTSOCK) n = write(fd, p, length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return EGD_OK;
    if (n < 0) return EGD_ERR_IO;
    queue->begin += (size_t)n;
  }
  queue->begin = queue->end = 0;
  return EGD_OK;
}
