#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "runtime/syscall.h"
#include "tests/unit/ucp_fake.h"

struct egd_rank egd_rank;
struct fake_queue fake_sent, fake_arrived;
unsigned fake_admit = 1000000;
size_t fake_live_bytes;
unsigned fake_kept;
bool fake_outside;

static struct egd_segment segment;
static struct egd_rank_cb control;
static struct fake_message *kept[100000];
static uint64_t next_ssn;

int tap_count, tap_failed;

void ok(bool good, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("%sok %d - ", good ? "" : "not ", ++tap_count);
  vprintf(format, arguments);
  printf("\n");
  fflush(stdout);
  va_end(arguments);
  if (!good) tap_failed++;
}

int done(void) {
  printf("1..%d\n", tap_count);
  return tap_failed ? 1 : 0;
}

// ---- memory: garbage when new, size checked when freed ------------------------------------------

struct block {
  size_t size, magic;
};
#define MAGIC 0x626c6f636bull

void *egd_alloc(size_t size) {
  // Otherwise the signal that asks for an image would come in between.
  if (!egd_rank.in_runtime && !fake_outside) abort();
  // Address space rather than memory: not counted, never freed.
  if (size >= 1ull << 32)
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  struct block *block = malloc(sizeof(*block) + size);
  if (!block) abort();
  *block = (struct block){size, MAGIC};
  memset(block + 1, 0xa5, size);
  fake_live_bytes += size;
  return block + 1;
}

void *egd_calloc(size_t size) {
  return memset(egd_alloc(size), 0, size);
}

void egd_free(void *p, size_t size) {
  if (!p) return;
  if (!egd_rank.in_runtime && !fake_outside) abort();
  struct block *block = (struct block *)p - 1;
  if (block->magic != MAGIC || block->size != size) {
    printf("Bail out! egd_free of %zu bytes, allocated were %zu\n", size, block->size);
    abort();
  }
  block->magic = 0;
  memset(p, 0xdd, size);
  fake_live_bytes -= size;
  free(block);
}

static void message_line(const char *what, const char *format, va_list arguments) {
  fprintf(stderr, "%s: ", what);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
}

void egd_say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  message_line("egd_say", format, arguments);
  va_end(arguments);
}

void egd_die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  message_line("egd_die", format, arguments);
  va_end(arguments);
  exit(EGD_EXIT_VERDICT);
}

long egd_syscall6(long nr, long a, long b, long c, long d, long e, long f) {
  return syscall(nr, a, b, c, d, e, f);
}

// ---- messages -----------------------------------------------------------------------------------

void fake_start(uint32_t self, uint32_t nranks) {
  egd_rank.seg = &segment;
  egd_rank.cb = &control;
  egd_rank.self = self;
  egd_rank.nranks = nranks;
}

static void push(struct fake_queue *queue, struct fake_message *message) {
  message->next = NULL;
  if (queue->last)
    queue->last->next = message;
  else
    queue->first = message;
  queue->last = message;
}

static struct fake_message *pop(struct fake_queue *queue) {
  struct fake_message *message = queue->first;
  if (!message) return NULL;
  queue->first = message->next;
  if (!queue->first) queue->last = NULL;
  return message;
}

static unsigned char *payload_of(const struct fake_message *message) {
  return (unsigned char *)(message->record + 1);
}
const unsigned char *fake_payload(const struct fake_message *message) {
  return payload_of(message);
}
struct fake_message *fake_take_sent(void) {
  return pop(&fake_sent);
}

static struct fake_message *make(uint32_t source, uint32_t dest, enum egd_record_kind kind, uint64_t imm,
                                 uint32_t cookie, size_t length) {
  struct fake_message *message = calloc(1, sizeof(*message));
  message->record = malloc(sizeof(*message->record) + length);
  memset(message->record, 0xee, sizeof(*message->record) + length);
  message->dest = dest;
  message->message = (struct egd_message){.source = source,
                                          .kind = kind,
                                          .imm = imm,
                                          .cookie = cookie,
                                          .length = length,
                                          .ssn = next_ssn++,
                                          .record = message->record};
  return message;
}

void fake_free(struct fake_message *message) {
  memset(message->record, 0xcc, sizeof(*message->record) + message->message.length);
  free(message->record);
  free(message);
}

void fake_arrive(uint32_t source, enum egd_record_kind kind, uint64_t imm, uint32_t cookie, const void *payload,
                 size_t length, bool split) {
  struct fake_message *message = make(source, egd_rank.self, kind, imm, cookie, length);
  if (length) memcpy(payload_of(message), payload, length);
  message->split = split;
  push(&fake_arrived, message);
}

void fake_reflect(bool split) {
  for (struct fake_message *message; (message = pop(&fake_sent));) {
    message->message.source = message->dest;
    message->split = split;
    push(&fake_arrived, message);
  }
}

static bool open;
static struct fake_message *opened;
static uint64_t put_bytes;

void egd_send_open(struct egd_send *out, uint32_t dest, enum egd_record_kind kind, uint64_t imm, uint32_t cookie,
                   uint16_t header_length, uint64_t length) {
  if (open || dest == egd_rank.self || dest >= egd_rank.nranks) abort();
  open = true;
  put_bytes = 0;
  opened = make(egd_rank.self, dest, kind, imm, cookie, length);
  opened->message.header_length = header_length;
}

void egd_send_put(struct egd_send *out, const void *data, size_t length) {
  if (!open || put_bytes + length > opened->message.length) abort();
  memcpy(payload_of(opened) + put_bytes, data, length);
  put_bytes += length;
}

void egd_send_close(struct egd_send *out) {
  if (!open || put_bytes != opened->message.length) abort();
  open = false;
  push(&fake_sent, opened);
}

static const struct fake_message *find(const struct egd_message *message) {
  static struct fake_message found;
  found.record = (struct egd_record *)message->record;
  return &found;
}

void egd_message_read(const struct egd_message *message, uint64_t offset, void *to, size_t length) {
  if (open || offset + length > message->length) abort();
  memcpy(to, payload_of(find(message)) + offset, length);
}

static bool delivering_split;

const void *egd_message_contiguous(const struct egd_message *message) {
  for (unsigned i = 0; i < fake_kept; i++)
    if (kept[i]->record == message->record) return kept[i]->split ? NULL : payload_of(kept[i]);
  return delivering_split ? NULL : payload_of(find(message));
}

void egd_message_done(const struct egd_message *message) {
  for (unsigned i = 0; i < fake_kept; i++)
    if (kept[i]->record == message->record) {
      fake_free(kept[i]);
      kept[i] = kept[--fake_kept];
      return;
    }
  abort();
}

void fake_move_kept(void) {
  for (unsigned i = 0; i < fake_kept; i++) {
    size_t size = sizeof(*kept[i]->record) + kept[i]->message.length;
    struct egd_record *moved = malloc(size);
    memcpy(moved, kept[i]->record, size);
    memset(kept[i]->record, 0xcc, size);
    free(kept[i]->record);
    kept[i]->record = moved;
  }
}

void egd_message_refresh(struct egd_message *message) {
  for (unsigned i = 0; i < fake_kept; i++)
    if (kept[i]->message.ssn == message->ssn && kept[i]->message.source == message->source) {
      message->record = kept[i]->record;
      return;
    }
  abort();
}

unsigned egd_progress(void) {
  unsigned count = 0;
  if (open) abort();
  egd_rank.in_runtime++;
  while (count < fake_admit && fake_arrived.first) {
    struct fake_message *message = pop(&fake_arrived);
    count++;
    delivering_split = message->split;
    if (egd_ucp_deliver(&message->message) == EGD_KEEP)
      kept[fake_kept++] = message;
    else
      fake_free(message);
    delivering_split = false;
  }
  egd_rank.in_runtime--;
  return count;
}
