// Tag matching of the drop-in UCP against a naive model: random receives, arrivals, probes and cancellations.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucp/api/ucp.h>
#include "tests/unit/ucp_fake.h"

#define STEPS 6000
#define MAX_LENGTH 300
#define SELF 2u
#define PEERS 4u

static uint64_t random_state;
static uint32_t pick(uint32_t below) {
  random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(random_state >> 33) % below;
}

// ---- the model ----------------------------------------------------------------------------------

struct message {
  uint64_t tag;
  uint32_t id;
  size_t length;
};
struct receive {
  uint64_t tag, mask;
  size_t capacity;
  unsigned char buffer[MAX_LENGTH + 8];
  void *request;
  // what the callback is expected to say; length 0 and id 0 with CANCELED
  bool expected, called, cancelled, release_in_callback;
  struct message message;
  ucs_status_t status;
  ucp_dt_iov_t iov[3];
};

static struct receive *posted[STEPS];
static unsigned nposted;
static struct message unexpected[STEPS * 30];
static unsigned nunexpected;
struct taken {
  ucp_tag_message_h handle;
  struct message message;
};
static struct taken taken[STEPS];
static unsigned ntaken;
static struct message from_self[STEPS], from_peers[STEPS]; // on their way
static unsigned nfrom_self, nfrom_peers;
static struct receive *all[STEPS * 30];
static unsigned nall;
static unsigned wrong, sync_sends, sends_completed;
static bool is_sync[STEPS * 30], acknowledged[STEPS * 30], matched[STEPS * 30];
static bool is_own[STEPS * 30];

static unsigned char byte_of(uint32_t id, size_t i) {
  return (unsigned char)(id * 37 + i * 11 + 1);
}

static void complain(const char *what, uint32_t id) {
  if (wrong++ < 10) printf("# wrong: %s (message %u)\n", what, id);
}

static void expect(struct receive *receive, struct message message) {
  receive->expected = true;
  receive->message = message;
  receive->status = message.length > receive->capacity ? UCS_ERR_MESSAGE_TRUNCATED : UCS_OK;
  matched[message.id] = true;
}

static void model_arrive(struct message message) {
  for (unsigned i = 0; i < nposted; i++)
    if (((posted[i]->tag ^ message.tag) & posted[i]->mask) == 0) {
      expect(posted[i], message);
      memmove(&posted[i], &posted[i + 1], (--nposted - i) * sizeof(*posted));
      return;
    }
  unexpected[nunexpected++] = message;
}

static int model_find(uint64_t tag, uint64_t mask) {
  for (unsigned i = 0; i < nunexpected; i++)
    if (((unexpected[i].tag ^ tag) & mask) == 0) return (int)i;
  return -1;
}

static struct message model_take(int at) {
  struct message message = unexpected[at];
  memmove(&unexpected[at], &unexpected[at + 1], (--nunexpected - (unsigned)at) * sizeof(*unexpected));
  return message;
}

// ---- the code under test ------------------------------------------------------------------------

static ucp_worker_h worker;
static ucp_ep_h endpoints[PEERS];

static void check_outcome(struct receive *receive, ucs_status_t status, const ucp_tag_recv_info_t *info) {
  uint32_t id = receive->message.id;
  if (receive->called) complain("second callback", id);
  receive->called = true;
  if (receive->cancelled) {
    if (status != UCS_ERR_CANCELED) complain("cancelled, but another status", id);
    return;
  }
  if (!receive->expected) {
    complain("unexpected callback", id);
    return;
  }
  if (status != receive->status) complain("status", id);
  if (info->sender_tag != receive->message.tag) complain("tag", id);
  if (info->length != receive->message.length) complain("length", id);
  size_t length = receive->message.length < receive->capacity ? receive->message.length : receive->capacity;
  for (size_t i = 0; i < length; i++)
    if (receive->buffer[i] != byte_of(id, i)) {
      complain("bytes", id);
      break;
    }
  for (size_t i = length; i < sizeof(receive->buffer); i++)
    if (receive->buffer[i] != 0x5a) {
      complain("bytes beyond the message", id);
      break;
    }
}

static void received(void *request, ucs_status_t status, const ucp_tag_recv_info_t *info, void *user_data) {
  struct receive *receive = user_data;
  check_outcome(receive, status, info);
  if (receive->release_in_callback) ucp_request_release(request);
}

static void check_called(struct receive *receive) {
  if (receive->expected != receive->called) complain("callback missing or early", receive->message.id);
}

static uint64_t masks[12];
static unsigned nmasks;

static struct receive *new_receive(ucp_request_param_t *param, void **ret_buffer, size_t *ret_count) {
  struct receive *receive = calloc(1, sizeof(*receive));
  all[nall++] = receive;
  memset(receive->buffer, 0x5a, sizeof(receive->buffer));
  receive->capacity = pick(8) ? MAX_LENGTH : pick(MAX_LENGTH);
  receive->release_in_callback = pick(2);
  *param = (ucp_request_param_t){.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                                                 UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
                                 .cb.recv = received,
                                 .user_data = receive};
  *ret_buffer = receive->buffer;
  *ret_count = receive->capacity;
  if (pick(3) == 0) {
    size_t first = receive->capacity / 3, second = receive->capacity / 2;
    receive->iov[0] = (ucp_dt_iov_t){receive->buffer, first};
    receive->iov[1] = (ucp_dt_iov_t){receive->buffer + first, second - first};
    receive->iov[2] = (ucp_dt_iov_t){receive->buffer + second, receive->capacity - second};
    param->op_attr_mask |= UCP_OP_ATTR_FIELD_DATATYPE;
    param->datatype = UCP_DATATYPE_IOV;
    *ret_buffer = receive->iov;
    *ret_count = 3;
  }
  return receive;
}

static uint64_t random_tag(void) {
  return (uint64_t)pick(2) << 48 | (uint64_t)pick(3) << 32 | pick(5);
}

static void after_call(struct receive *receive, void *request) {
  check_called(receive);
  receive->request = request;
  if (!receive->called || receive->release_in_callback) return;
  ucp_request_free(request);
  receive->request = NULL;
}

static void do_receive(void) {
  ucp_request_param_t param;
  void *buffer;
  size_t count;
  struct receive *receive = new_receive(&param, &buffer, &count);
  receive->tag = random_tag();
  receive->mask = masks[pick(nmasks)];
  int at = model_find(receive->tag, receive->mask);
  if (at >= 0)
    expect(receive, model_take(at));
  else
    posted[nposted++] = receive;
  bool expected = receive->expected;
  if (expected && pick(4) == 0) { // immediate completion by value
    ucp_tag_recv_info_t info;
    param.op_attr_mask &= ~(uint32_t)UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_RECV_INFO;
    param.recv_info.tag_info = &info;
    void *value = ucp_tag_recv_nbx(worker, buffer, count, receive->tag, receive->mask, &param);
    if (receive->called) complain("callback in spite of immediate completion", 0);
    check_outcome(receive, UCS_PTR_STATUS(value), &info);
    return;
  }
  void *request = ucp_tag_recv_nbx(worker, buffer, count, receive->tag, receive->mask, &param);
  after_call(receive, request);
}

static void do_probe(bool remove) {
  uint64_t tag = random_tag(), mask = masks[pick(nmasks)];
  int at = model_find(tag, mask);
  ucp_tag_recv_info_t info;
  ucp_tag_message_h handle = ucp_tag_probe_nb(worker, tag, mask, remove, &info);
  if ((handle != NULL) != (at >= 0)) {
    complain("probe", 0);
    return;
  }
  if (at < 0) return;
  if (info.sender_tag != unexpected[at].tag || info.length != unexpected[at].length)
    complain("probe's information", unexpected[at].id);
  if (remove) taken[ntaken++] = (struct taken){handle, model_take(at)};
}

static void do_message_receive(void) {
  if (!ntaken) return;
  unsigned at = pick(ntaken);
  ucp_request_param_t param;
  void *buffer;
  size_t count;
  struct receive *receive = new_receive(&param, &buffer, &count);
  expect(receive, taken[at].message);
  ucp_tag_message_h handle = taken[at].handle;
  taken[at] = taken[--ntaken];
  after_call(receive, ucp_tag_msg_recv_nbx(worker, buffer, count, handle, &param));
}

static void do_cancel(void) {
  if (!nposted) return;
  unsigned at = pick(nposted);
  struct receive *receive = posted[at];
  memmove(&posted[at], &posted[at + 1], (--nposted - at) * sizeof(*posted));
  receive->cancelled = receive->expected = true;
  ucp_request_cancel(worker, receive->request);
  check_called(receive);
  if (!receive->release_in_callback) ucp_request_free(receive->request);
  receive->request = NULL;
}

static uint32_t next_id = 1;

static void sent(void *request, ucs_status_t status, void *user_data) {
  if (status != UCS_OK) complain("status of a send", 0);
  sends_completed++;
}

static void do_arrival(void) {
  struct message message = {.tag = random_tag(), .id = next_id++, .length = pick(4) ? pick(40) : pick(MAX_LENGTH)};
  unsigned char payload[MAX_LENGTH];
  for (size_t i = 0; i < message.length; i++) payload[i] = byte_of(message.id, i);
  bool sync = pick(4) == 0;
  is_sync[message.id] = sync;
  if (pick(3)) {
    fake_arrive(pick(2) ? 0 : 1, sync ? EGD_RECORD_TAG_SYNC : EGD_RECORD_TAG, message.tag, message.id, payload,
                message.length, pick(2));
    from_peers[nfrom_peers++] = message;
    return;
  }
  // to self: admitted at the next progress before anything else
  ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK, .cb.send = sent};
  unsigned before = sends_completed;
  void *request;
  if (sync) {
    request = ucp_tag_send_sync_nbx(endpoints[SELF], payload, message.length, message.tag, &param);
    if (ucp_request_check_status(request) != UCS_INPROGRESS) complain("early end of a synchronous send", message.id);
    sync_sends++;
    ucp_request_release(request); // its callback still comes
  } else {
    request = ucp_tag_send_nbx(endpoints[SELF], payload, message.length, message.tag, &param);
    if (request) complain("a send to self has a request", message.id);
  }
  if (sends_completed != before) complain("callback within a send", message.id);
  memset(payload, 0, sizeof(payload)); // the buffer is the user's again
  is_own[message.id] = true;
  from_self[nfrom_self++] = message;
}

static void do_progress(unsigned admit) {
  for (unsigned i = 0; i < nfrom_self; i++) model_arrive(from_self[i]);
  nfrom_self = 0;
  unsigned count = nfrom_peers < admit ? nfrom_peers : admit;
  for (unsigned i = 0; i < count; i++) model_arrive(from_peers[i]);
  memmove(from_peers, from_peers + count, (nfrom_peers -= count) * sizeof(*from_peers));
  fake_admit = admit;
  ucp_worker_progress(worker);
  for (unsigned i = 0; i < nall; i++) {
    check_called(all[i]);
    if (all[i]->called && all[i]->request && !all[i]->release_in_callback) {
      ucp_request_free(all[i]->request);
      all[i]->request = NULL;
    }
  }
}

static void check_acknowledgements(void) {
  for (struct fake_message *message; (message = fake_take_sent()); fake_free(message)) {
    uint32_t id = message->message.cookie;
    if (message->message.kind != EGD_RECORD_SYNC_ACK || id >= next_id || !is_sync[id] || is_own[id] || !matched[id])
      complain("an acknowledgement of nothing", id);
    else if (acknowledged[id])
      complain("second acknowledgement", id);
    else
      acknowledged[id] = true;
  }
  unsigned own = 0;
  for (uint32_t id = 1; id < next_id; id++) {
    if (is_sync[id] && !is_own[id] && matched[id] != acknowledged[id]) complain("missing acknowledgement", id);
    if (is_sync[id] && is_own[id] && matched[id]) own++;
  }
  if (own != sends_completed) complain("synchronous sends to self that ended", sends_completed);
}

static void run(uint64_t seed, unsigned number_of_masks) {
  random_state = seed;
  nmasks = number_of_masks;
  for (unsigned step = 0; step < STEPS; step++) {
    switch (pick(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
      do_receive();
      break;
    case 4:
    case 5:
    case 6:
    case 7:
      do_arrival();
      break;
    case 8:
      do_probe(pick(2));
      break;
    case 9:
      do_message_receive();
      break;
    case 10:
      if (pick(2)) do_cancel();
      break;
    default:
      do_progress(pick(3) ? 1000 : pick(4));
    }
  }
  // Drain: what is left in the queues is received by wildcards, what is posted is cancelled.
  do_progress(1000000);
  while (nposted) do_cancel();
  while (ntaken) do_message_receive();
  masks[0] = 0;
  nmasks = 1;
  while (nunexpected) do_receive();
  do_progress(0);
  do_progress(0);
  check_acknowledgements();
  for (unsigned i = 0; i < nall; i++) free(all[i]);
  nall = 0;
}

int main(void) {
  fake_start(SELF, PEERS);
  ucp_config_t *config;
  ucp_context_h context;
  ucp_config_read(NULL, NULL, &config);
  ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_TAG};
  ucp_init(&params, config, &context);
  ucp_worker_params_t worker_params = {0};
  ucp_worker_create(context, &worker_params, &worker);
  ucp_address_t *address;
  size_t length;
  ucp_worker_get_address(worker, &address, &length);
  unsigned char peer[64];
  memcpy(peer, address, length);
  for (uint32_t rank = 0; rank < PEERS; rank++) {
    memcpy(peer + 8, &rank, sizeof(rank));
    ucp_ep_params_t ep = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS, .address = (ucp_address_t *)peer};
    ucp_ep_create(worker, &ep, &endpoints[rank]);
  }
  // As MPICH's first, then more masks than have tables.
  static const uint64_t all_masks[] = {~0ull,         ~0xffffffffull, ~(7ull << 32),    ~0ull << 48, 0,          1,
                                       0xffffffffull, 7ull << 32,     (1ull << 48) + 1, 3,           ~0ull << 1, ~2ull};
  for (uint64_t seed = 1; seed <= 24; seed++) {
    unsigned before = wrong, number = seed % 3 == 0 ? 12 : seed % 3 == 1 ? 4 : 1;
    memcpy(masks, all_masks, sizeof(masks));
    run(seed, number);
    ok(wrong == before, "seed %lu: %u steps with %u masks behave like the model", seed, STEPS, number);
  }
  size_t live = fake_live_bytes;
  run(99, 1);
  ok(fake_live_bytes == live, "nothing is left behind (%zu and %zu bytes)", live, fake_live_bytes);
  return done();
}
