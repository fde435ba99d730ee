// The drop-in UCP call by call: datatypes, active messages, synchronous sends, requests, kept messages, memory.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ucp/api/ucp.h>
#include "tests/unit/ucp_fake.h"

#define SELF 1u
#define PEERS 3u
#define EXACT (~3ull)

// As MPICH has it: turns on the cleaning of its headers.
extern const char MPII_Version_string[];
const char MPII_Version_string[] = "4.0.2";

static ucp_context_h context;
static ucp_worker_h worker;
static ucp_ep_h endpoints[PEERS];

// ---- a datatype: every third byte of the buffer; packs at most 1000 bytes at a time, elements of 5 ----

struct state {
  unsigned char *buffer;
  size_t count;
};
static int started, finished, unpacks;
static ucp_datatype_t strided;
static bool destroy_in_finish;

static void *start_pack(void *arg, const void *buffer, size_t count) {
  struct state *state = malloc(sizeof(*state));
  *state = (struct state){(unsigned char *)(uintptr_t)buffer, count};
  started++;
  return state;
}
static void *start_unpack(void *arg, void *buffer, size_t count) {
  return start_pack(arg, buffer, count);
}
static size_t packed_size(void *arg) {
  return ((struct state *)arg)->count * 5;
}
static size_t pack(void *arg, size_t offset, void *to, size_t room) {
  struct state *state = arg;
  size_t length = state->count * 5 - offset;
  if (length > room) length = room;
  if (length > 1000) length = 1000;
  length -= length % 5;
  for (size_t i = 0; i < length; i++) ((unsigned char *)to)[i] = state->buffer[(offset + i) * 3];
  return length;
}
static ucs_status_t unpack(void *arg, size_t offset, const void *from, size_t length) {
  struct state *state = arg;
  unpacks++;
  if (offset % 5 || offset + length > state->count * 5) return UCS_ERR_INVALID_PARAM;
  for (size_t i = 0; i < length; i++) state->buffer[(offset + i) * 3] = ((const unsigned char *)from)[i];
  return UCS_OK;
}
static void finish(void *arg) {
  free(arg);
  finished++;
  if (destroy_in_finish) ucp_dt_destroy(strided);
}
static const ucp_generic_dt_ops_t operations = {start_pack, start_unpack, packed_size, pack, unpack, finish};

// ---- requests -----------------------------------------------------------------------------------

static int inits, callbacks;
static ucs_status_t last_status;
static ucp_tag_recv_info_t last_info;
static bool release;

static void init(void *request) {
  *(uint64_t *)request = 0x1122334455667788;
  inits++;
}
static void received(void *request, ucs_status_t status, const ucp_tag_recv_info_t *info, void *arg) {
  callbacks++;
  last_status = status;
  last_info = *info;
  if (arg != &worker) abort();
  if (release) ucp_request_release(request);
}
static void sent(void *request, ucs_status_t status, void *arg) {
  callbacks++;
  last_status = status;
  if (release) ucp_request_release(request);
}

static void *post_receive(void *buffer, size_t count, uint64_t tag, ucp_datatype_t datatype) {
  ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                                               UCP_OP_ATTR_FLAG_NO_IMM_CMPL | UCP_OP_ATTR_FIELD_DATATYPE,
                               .cb.recv = received,
                               .user_data = &worker,
                               .datatype = datatype};
  return ucp_tag_recv_nbx(worker, buffer, count, tag, EXACT, &param);
}

static void *post_send(ucp_ep_h ep, const void *buffer, size_t count, uint64_t tag, ucp_datatype_t datatype,
                       bool sync) {
  ucp_request_param_t param = {
      .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_DATATYPE, .cb.send = sent, .datatype = datatype};
  return (sync ? ucp_tag_send_sync_nbx : ucp_tag_send_nbx)(ep, buffer, count, tag, &param);
}

static void fill(unsigned char *buffer, size_t length, unsigned seed) {
  for (size_t i = 0; i < length; i++) buffer[i] = (unsigned char)(i * 7 + i / 256 + seed);
}

// ---- tests --------------------------------------------------------------------------------------

static void test_addresses(void) {
  ucp_address_t *address;
  size_t length;
  ucp_worker_get_address(worker, &address, &length);
  ok(length == 16, "an address has 16 bytes");
  unsigned char peer[17];
  for (uint32_t rank = 0; rank < PEERS; rank++) {
    memcpy(peer + 1, address, length);
    memcpy(peer + 1 + 8, &rank, sizeof(rank));
    ucp_ep_params_t ep = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS, .address = (ucp_address_t *)(peer + 1)};
    if (ucp_ep_create(worker, &ep, &endpoints[rank]) != UCS_OK) abort();
  }
  ok(endpoints[0] != endpoints[2], "endpoints of all peers, addresses not aligned");
}

static void test_datatypes(bool self) {
  enum { COUNT = 3000, BYTES = COUNT * 5 };
  static unsigned char from[BYTES * 3], to[BYTES * 3];
  const char *where = self ? "to self" : "to a peer";
  ucp_ep_h ep = endpoints[self ? SELF : 0];
  fill(from, sizeof(from), 1);
  for (int split = 0; split < 2; split++)
    for (int unexpected = 0; unexpected < 2; unexpected++) {
      memset(to, 0, sizeof(to));
      started = finished = callbacks = unpacks = 0;
      if (!unexpected) post_receive(to, COUNT, 4, strided);
      void *request = post_send(ep, from, COUNT, 4, strided, false);
      fake_reflect(split);
      ucp_worker_progress(worker);
      if (unexpected) post_receive(to, COUNT, 4, strided);
      bool same = true;
      for (size_t i = 0; i < sizeof(from); i++) same &= to[i] == (i % 3 ? 0 : from[i]);
      ok(same && !request && callbacks == 1 && last_status == UCS_OK && last_info.length == BYTES && started == 2 &&
             finished == 2 && unpacks == 1,
         "generic datatype %s, %s, %s", where, split ? "in pieces" : "contiguous",
         unexpected ? "unexpected" : "posted");
    }
  // generic to contiguous, and the reverse with too little room
  started = finished = callbacks = 0;
  post_send(ep, from, COUNT, 4, strided, false);
  fake_reflect(false);
  ucp_worker_progress(worker);
  memset(to, 0, sizeof(to));
  post_receive(to, BYTES, 4, ucp_dt_make_contig(1));
  bool same = true;
  for (size_t i = 0; i < BYTES; i++) same &= to[i] == from[i * 3];
  ok(same && started == 1 && finished == 1 && callbacks == 1, "generic to contiguous %s", where);
  post_receive(to, 10, 8, strided);
  post_send(ep, from, 51, 8, ucp_dt_make_contig(1), false);
  fake_reflect(false);
  ucp_worker_progress(worker);
  ok(last_status == UCS_ERR_MESSAGE_TRUNCATED && last_info.length == 51 && finished == 2,
     "truncation with a generic datatype %s", where);
  post_receive(to, 0, 8, strided);
  post_send(ep, from, 0, 8, strided, false);
  fake_reflect(false);
  ucp_worker_progress(worker);
  ok(last_status == UCS_OK && last_info.length == 0 && finished == 4 && started == 4, "empty generic message %s",
     where);
  ucp_dt_iov_t iov[3] = {{from, 100}, {NULL, 0}, {from + 500, 33}};
  post_receive(to, 200, 8, ucp_dt_make_contig(1));
  post_send(ep, iov, 3, 8, UCP_DATATYPE_IOV, false);
  fake_reflect(true);
  ucp_worker_progress(worker);
  ok(last_info.length == 133 && !memcmp(to, from, 100) && !memcmp(to + 100, from + 500, 33), "a list of pieces %s",
     where);
}

static void test_cancel(void) {
  unsigned char buffer[50];
  started = finished = callbacks = 0;
  release = false;
  void *request = post_receive(buffer, 3, 12, strided);
  ok(ucp_request_check_status(request) == UCS_INPROGRESS && !ucp_request_is_completed(request), "a receive waits");
  ucp_request_cancel(worker, request);
  ok(callbacks == 1 && last_status == UCS_ERR_CANCELED && finished == 1 && ucp_request_is_completed(request) &&
         ucp_request_check_status(request) == UCS_ERR_CANCELED,
     "cancelling calls back and finishes the datatype");
  ucp_request_cancel(worker, request);
  ok(callbacks == 1, "cancelling again does nothing");
  ucp_request_free(request);
  fake_arrive(0, EGD_RECORD_TAG, 12, 0, "x", 1, false);
  ucp_worker_progress(worker);
  ucp_tag_recv_info_t info;
  ucp_tag_message_h message = ucp_tag_probe_nb(worker, 12, EXACT, 1, &info);
  ok(message && callbacks == 1, "a cancelled receive takes nothing");
  ucp_request_param_t param = {0};
  ok(ucp_tag_msg_recv_nbx(worker, buffer, 50, message, &param) == NULL && buffer[0] == 'x',
     "receive of a probed message, completed at once without parameters");
  destroy_in_finish = true;
  ucp_datatype_t before = strided;
  post_receive(buffer, 3, 12, strided);
  fake_arrive(0, EGD_RECORD_TAG, 12, 0, "12345", 5, false);
  ucp_worker_progress(worker);
  destroy_in_finish = false;
  ucp_dt_create_generic(&operations, NULL, &strided);
  ok(strided == before, "a datatype destroyed by its last operation is reused");
}

static void test_sync(void) {
  unsigned char buffer[8];
  void *requests[200];
  release = false;
  callbacks = 0;
  for (int i = 0; i < 200; i++) requests[i] = post_send(endpoints[2], "abc", 3, 16, ucp_dt_make_contig(1), true);
  ucp_request_release(requests[5]);
  ucp_request_free(requests[6]);
  ucp_request_cancel(worker, requests[7]);
  ok(callbacks == 0 && ucp_request_check_status(requests[199]) == UCS_INPROGRESS, "200 synchronous sends wait");
  bool cookies = true;
  for (int i = 0; i < 200; i++) {
    struct fake_message *message = fake_take_sent();
    cookies &= message->message.kind == EGD_RECORD_TAG_SYNC && message->message.imm == 16;
    fake_arrive(2, EGD_RECORD_SYNC_ACK, 0, message->message.cookie, NULL, 0, false);
    fake_free(message);
  }
  ucp_worker_progress(worker);
  ok(cookies && callbacks == 199, "acknowledgements end them; a freed request is silent");
  for (int i = 0; i < 200; i++)
    if (i != 5 && i != 6) ucp_request_free(requests[i]);

  // the receiver's side, to another rank and to self
  fake_arrive(2, EGD_RECORD_TAG_SYNC, 20, 77, "abc", 3, false);
  ucp_worker_progress(worker);
  ok(!fake_sent.first, "no acknowledgement before the match");
  release = true;
  post_receive(buffer, 8, 20, ucp_dt_make_contig(1));
  struct fake_message *ack = fake_take_sent();
  ok(ack && ack->message.kind == EGD_RECORD_SYNC_ACK && ack->message.cookie == 77 && ack->dest == 2,
     "the match is acknowledged");
  fake_free(ack);
  callbacks = 0;
  post_send(endpoints[SELF], "abc", 3, 24, ucp_dt_make_contig(1), true);
  ucp_worker_progress(worker);
  post_receive(buffer, 8, 24, ucp_dt_make_contig(1));
  ok(callbacks == 1, "a synchronous send to self does not end within the receive");
  ucp_worker_progress(worker);
  ok(callbacks == 2 && !fake_sent.first, "it ends at the next progress");
}

static void test_kept(void) {
  enum { LENGTH = 200000 };
  static unsigned char from[3][LENGTH], to[LENGTH];
  ucp_tag_recv_info_t info;
  for (unsigned i = 0; i < 3; i++) {
    fill(from[i], LENGTH, i);
    fake_arrive(0, i == 1 ? EGD_RECORD_TAG_SYNC : EGD_RECORD_TAG, 32 + 4 * i, 9, from[i], LENGTH - i, i == 0);
  }
  ucp_worker_progress(worker);
  ok(fake_kept == 3, "long unexpected messages stay in the sender's log");
  ucp_tag_message_h taken = ucp_tag_probe_nb(worker, 32, EXACT, 1, &info);
  fake_move_kept();
  egd_ucp_restored();
  release = true;
  post_receive(to, LENGTH, 36, ucp_dt_make_contig(1));
  ok(last_info.length == LENGTH - 1 && !memcmp(to, from[1], LENGTH - 1) && fake_kept == 2,
     "found again after a restart");
  fake_free(fake_take_sent());
  ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_RECV_INFO, .recv_info.tag_info = &info};
  void *value = ucp_tag_msg_recv_nbx(worker, to, LENGTH, taken, &param);
  ok(!value && info.length == LENGTH && !memcmp(to, from[0], LENGTH) && fake_kept == 1, "also one that was probed");
  value = ucp_tag_recv_nbx(worker, to, 100, 40, EXACT, &param);
  ok(UCS_PTR_STATUS(value) == UCS_ERR_MESSAGE_TRUNCATED && info.length == LENGTH - 2 && fake_kept == 0 &&
         !memcmp(to, from[2], 100),
     "truncation is the value of a receive without callback");
}

static int handled;
static unsigned char handled_data[100000];
static size_t handled_length;
static bool answer;

static ucs_status_t handler(void *arg, void *data, size_t length, ucp_ep_h reply, unsigned flags) {
  handled++;
  if (length) memcpy(handled_data, data, length);
  handled_length = length;
  if (arg != &handled || reply || flags) abort();
  if (answer) ucp_am_send_nb(endpoints[SELF], 5, "again", 5, ucp_dt_make_contig(1), NULL, 0);
  return UCS_OK;
}

static void test_am(void) {
  static unsigned char payload[90000];
  fill(payload, sizeof(payload), 3);
  ucp_worker_set_am_handler(worker, 0, handler, &handled, UCP_AM_FLAG_WHOLE_MSG);
  ucp_worker_set_am_handler(worker, 5, handler, &handled, UCP_AM_FLAG_WHOLE_MSG);
  ucp_dt_iov_t iov[2] = {{payload, 20}, {payload + 1000, 80000}};
  for (int split = 0; split < 2; split++) {
    handled = 0;
    void *request = ucp_am_send_nb(endpoints[0], 5, iov, 2, UCP_DATATYPE_IOV, NULL, 0);
    fake_reflect(split);
    ucp_worker_progress(worker);
    ok(!request && handled == 1 && handled_length == 80020 && !memcmp(handled_data, payload, 20) &&
           !memcmp(handled_data + 20, payload + 1000, 80000),
       "active message of two pieces, %s", split ? "in pieces" : "contiguous");
  }
  handled = 0;
  answer = true;
  ucp_am_send_nb(endpoints[SELF], 5, payload, 0, ucp_dt_make_contig(1), NULL, 0);
  ok(handled == 0, "an active message to self waits for progress");
  unsigned count = ucp_worker_progress(worker);
  ok(handled == 1 && count == 1, "its handler's own message waits for the next");
  answer = false;
  ucp_worker_progress(worker);
  ok(handled == 2 && handled_length == 5 && !memcmp(handled_data, "again", 5), "which delivers it");
  ok(ucp_worker_progress(worker) == 0, "then there is nothing");
}

static void test_mpich_headers(void) {
  unsigned char message[16 + 72 + 8], before[sizeof(message)];
  static const struct {
    unsigned handler, size, clean[8], nclean;
  } cases[] = {{0, 48, {10, 11, 20, 21, 22, 23}, 6},
               {7, 72, {4, 5, 6, 7, 60, 61, 62, 63}, 8},
               {24, 40, {4, 5, 6, 7, 36, 37, 38, 39}, 8},
               {27, 16, {12, 13, 14, 15}, 4},
               {28, 16, {14, 15}, 2},
               {13, 16, {0}, 0},
               {63, 16, {0}, 0}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    for (int pieces = 0; pieces < 2; pieces++) {
      size_t length = 16 + cases[i].size, all = length + 8;
      memset(message, 0xff, sizeof(message));
      message[0] = (unsigned char)cases[i].handler;
      message[1] = 0;
      memcpy(before, message, all);
      ucp_dt_iov_t iov[2] = {{message, length}, {message + length, 8}};
      if (pieces)
        ucp_am_send_nb(endpoints[0], 0, iov, 2, UCP_DATATYPE_IOV, NULL, 0);
      else
        ucp_am_send_nb(endpoints[0], 0, message, all, ucp_dt_make_contig(1), NULL, 0);
      bool untouched = !memcmp(before, message, all);
      memset(before + 4, 0, 4);
      for (unsigned k = 0; k < cases[i].nclean; k++) before[16 + cases[i].clean[k]] = 0;
      struct fake_message *out = fake_take_sent();
      ok(untouched && out->message.length == all && !memcmp(fake_payload(out), before, all),
         "MPICH's handler %u in %s: only unset bytes are cleared", cases[i].handler,
         pieces ? "two pieces" : "one piece");
      fake_free(out);
    }
}

static void test_requests(void) {
  int before = inits;
  void *requests[300];
  unsigned char buffer[300];
  bool initialised = true;
  release = false;
  callbacks = 0;
  for (int round = 0; round < 3; round++) {
    for (unsigned i = 0; i < 300; i++) {
      requests[i] = post_receive(buffer + i, 1, 1000 + 4 * i, ucp_dt_make_contig(1));
      initialised &= *(uint64_t *)requests[i] == 0x1122334455667788;
      initialised &= (uintptr_t)requests[i] % 16 == 0;
    }
    for (unsigned i = 300; i-- > 0;) fake_arrive(0, EGD_RECORD_TAG, 1000 + 4 * i, 0, "y", 1, false);
    ucp_worker_progress(worker);
    for (int i = 0; i < 300; i++) {
      initialised &= ucp_request_check_status(requests[i]) == UCS_OK;
      ucp_request_free(requests[i]);
    }
  }
  ok(initialised && callbacks == 900 && inits - before < 400, "request_init runs once per object (%d)", inits - before);
  // NO_IMM_CMPL on a send, callback and polling
  ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FLAG_NO_IMM_CMPL};
  void *request = ucp_tag_send_nbx(endpoints[0], "z", 1, 4, &param);
  ok(request && ucp_request_is_completed(request), "a send without immediate completion has a request");
  ucp_request_free(request);
  fake_free(fake_take_sent());
  _Alignas(16) unsigned char memory[1024];
  ucp_context_attr_t attr = {.field_mask = UCP_ATTR_FIELD_REQUEST_SIZE};
  ucp_context_query(context, &attr);
  param = (ucp_request_param_t){.op_attr_mask = UCP_OP_ATTR_FIELD_REQUEST | UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
                                .request = memory + attr.request_size};
  request = ucp_tag_recv_nbx(worker, buffer, 1, 4, EXACT, &param);
  ok(request == memory + attr.request_size && attr.request_size < sizeof(memory), "a request in the user's memory");
  fake_arrive(0, EGD_RECORD_TAG, 4, 0, "w", 1, false);
  ucp_worker_progress(worker);
  ucp_tag_recv_info_t info;
  ok(ucp_request_test(request, &info) == UCS_OK && info.length == 1 && buffer[0] == 'w', "it can be tested");
}

// Takes minutes if a queue is searched from end to end.
static void test_long_queues(void) {
  enum { COUNT = 50000 };
  static uint32_t values[COUNT];
  release = true;
  for (int unexpected = 0; unexpected < 2; unexpected++) {
    callbacks = 0;
    memset(values, 0, sizeof(values));
    for (uint32_t half = 0; half < 2; half++)
      for (uint32_t i = 0; i < COUNT; i++) {
        uint64_t tag = (uint64_t)i << 32;
        uint32_t last_first = COUNT - 1 - i;
        if (half == (uint32_t)unexpected)
          post_receive(&values[i], sizeof(values[i]), tag, ucp_dt_make_contig(1));
        else
          fake_arrive(0, EGD_RECORD_TAG, (uint64_t)last_first << 32, 0, &last_first, sizeof(last_first), false);
        if (i == COUNT - 1) ucp_worker_progress(worker);
      }
    bool right = callbacks == COUNT;
    for (uint32_t i = 0; i < COUNT; i++) right &= values[i] == i;
    ok(right, "%d %s, met in the reverse order", COUNT, unexpected ? "unexpected messages" : "posted receives");
  }
}

static void test_memory(void) {
  ucp_mem_map_params_t params = {.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                                               UCP_MEM_MAP_PARAM_FIELD_FLAGS,
                                 .length = 100001,
                                 .flags = UCP_MEM_MAP_ALLOCATE};
  size_t live = fake_live_bytes;
  ucp_mem_h mem, mine;
  ucp_mem_attr_t attr = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS | UCP_MEM_ATTR_FIELD_LENGTH};
  ucp_mem_map(context, &params, &mem);
  ucp_mem_query(mem, &attr);
  unsigned char *memory = attr.address;
  bool zero = true;
  for (size_t i = 0; i < 100001; i++) zero &= memory[i] == 0;
  ok(zero && (uintptr_t)memory % 4096 == 0 && attr.length >= 100001, "allocated memory is cleared and aligned");
  memset(memory, 1, attr.length);
  params.address = memory;
  ucp_mem_map(context, &params, &mine);
  ucp_mem_query(mine, &attr);
  ok(attr.address == memory, "memory of the user stays where it is");
  void *key;
  size_t size;
  ucp_rkey_h rkey;
  ucp_rkey_pack(context, mem, &key, &size);
  ok(ucp_ep_rkey_unpack(endpoints[0], key, &rkey) == UCS_ERR_UNREACHABLE, "no key can be unpacked");
  ucp_rkey_buffer_release(key);
  ucp_mem_unmap(context, mine);
  ucp_mem_unmap(context, mem);
  fake_outside = true;
  void *filler = egd_alloc(12345); // as the runtime's own use of its heap, which differs in a replay
  fake_outside = false;
  params.address = NULL;
  ucp_mem_map(context, &params, &mem);
  ucp_mem_query(mem, &attr);
  for (size_t i = 0; i < 100001; i++) zero &= memory[i] == 0;
  ok(attr.address == memory && zero, "freed memory is used again, cleared");
  ucp_mem_map(context, &params, &mine);
  ucp_mem_query(mine, &attr);
  ok((unsigned char *)attr.address >= memory + 100001 || (unsigned char *)attr.address + 100001 <= memory,
     "windows do not overlap");
  ucp_mem_unmap(context, mem);
  ucp_mem_unmap(context, mine);
  params.length = 0;
  ok(ucp_mem_map(context, &params, &mem) == UCS_OK, "a window of no bytes");
  ucp_mem_unmap(context, mem);
  params.length = 1ull << 60;
  ok(ucp_mem_map(context, &params, &mem) == UCS_ERR_NO_MEMORY, "a window too large is refused");
  fake_outside = true;
  egd_free(filler, 12345);
  fake_outside = false;
  ok(fake_live_bytes - live <= 2 * 64, "only handles are kept");
}

static void put(void) {
  ucp_put_nbi(endpoints[0], "a", 1, 0, NULL);
}
static void unhandled(void) {
  fake_arrive(0, EGD_RECORD_AM, 4, 0, "a", 1, false);
  ucp_worker_progress(worker);
}
static void stray_ack(void) {
  fake_arrive(0, EGD_RECORD_SYNC_ACK, 0, 123456, NULL, 0, false);
  ucp_worker_progress(worker);
}
static void second_worker(void) {
  ucp_worker_params_t params = {0};
  ucp_worker_create(context, &params, &worker);
}

static void test_death(void (*act)(void), const char *word) {
  int fds[2];
  if (pipe(fds)) abort();
  pid_t child = fork();
  if (child == 0) {
    dup2(fds[1], 2);
    act();
    _exit(0);
  }
  close(fds[1]);
  char text[1000] = "";
  size_t length = 0;
  for (ssize_t n; (n = read(fds[0], text + length, sizeof(text) - 1 - length)) > 0; length += (size_t)n) {
  }
  close(fds[0]);
  int status;
  waitpid(child, &status, 0);
  ok(WIFEXITED(status) && WEXITSTATUS(status) == EGD_EXIT_VERDICT && strstr(text, word), "ends with a message: %s",
     word);
}

static void *progress_elsewhere(void *unused) {
  ucp_worker_progress(worker);
  return unused;
}
static void *probe_elsewhere(void *unused) {
  ucp_tag_recv_info_t info;
  ucp_tag_probe_nb(worker, 1, 1, 0, &info);
  return unused;
}
static void run_elsewhere(void *(*function)(void *)) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, function, NULL) == 0) pthread_join(thread, NULL);
}
static void second_thread_progress(void) {
  run_elsewhere(progress_elsewhere);
}
static void second_thread_probe(void) {
  run_elsewhere(probe_elsewhere);
}

int main(void) {
  fake_start(SELF, PEERS);
  ucp_config_t *config;
  ucp_config_read(NULL, NULL, &config);
  ucp_params_t params = {.field_mask =
                             UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_REQUEST_SIZE | UCP_PARAM_FIELD_REQUEST_INIT,
                         .features = UCP_FEATURE_TAG | UCP_FEATURE_AM,
                         .request_size = sizeof(uint64_t),
                         .request_init = init};
  ok(ucp_init(&params, config, &context) == UCS_OK && egd_rank.cb->notes == EGD_NOTE_MPI_INITIALIZED, "context");
  ucp_config_release(config);
  ucp_worker_params_t worker_params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                       .thread_mode = UCS_THREAD_MODE_SERIALIZED};
  ok(ucp_worker_create(context, &worker_params, &worker) == UCS_OK, "worker");
  ucp_dt_create_generic(&operations, NULL, &strided);
  ok((int)strided >= 0, "a datatype's handle is not negative as an int");
  test_addresses();
  release = true;
  test_datatypes(false);
  test_datatypes(true);
  test_cancel();
  test_sync();
  test_kept();
  test_am();
  test_mpich_headers();
  test_requests();
  test_long_queues();
  test_memory();
  test_death(put, "ucp_put_nbi");
  test_death(unhandled, "active message 4");
  test_death(stray_ack, "synchronous send 123456");
  test_death(second_worker, "MPIR_CVAR_CH4_NUM_VCIS");
  test_death(second_thread_progress, "a second thread called MPI");
  test_death(second_thread_probe, "a second thread called MPI");
  ok(ucp_worker_flush_nb(worker, 0, NULL) == NULL && ucp_ep_flush(endpoints[0]) == UCS_OK &&
         ucp_disconnect_nb(endpoints[0]) == NULL,
     "nothing to flush");
  ok(egd_rank.in_runtime == 0, "every call that entered the runtime left it");
  ucp_worker_destroy(worker);
  ucp_cleanup(context);
  return done();
}
