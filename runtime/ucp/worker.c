// Context, worker and endpoints; progress; messages of the rank to itself.
#include <string.h>
#include "runtime/ucp/adapter.h"

struct ucp_context {
  bool exists;
};
struct ucp_worker {
  struct ucp_address address;
};
struct ucp_config {
  int unused;
};

struct egd_ucp egd_ucp;
static struct ucp_context context;
static struct ucp_worker worker;
static struct ucp_config config;

// ---- library and context ------------------------------------------------------------------------

EGD_EXPORT void ucp_get_version(unsigned *major, unsigned *minor, unsigned *release) {
  *major = UCP_API_MAJOR;
  *minor = UCP_API_MINOR;
  *release = 0;
}

EGD_EXPORT const char *ucp_get_version_string(void) {
  return "1.13.0 (egida)";
}

EGD_EXPORT ucs_status_t ucp_config_read(const char *prefix, const char *filename, ucp_config_t **ret_config) {
  *ret_config = (ucp_config_t *)&config;
  return UCS_OK;
}

EGD_EXPORT void ucp_config_release(ucp_config_t *unused) {}

EGD_EXPORT ucs_status_t ucp_config_modify(ucp_config_t *unused, const char *name, const char *value) {
  return UCS_OK;
}

EGD_EXPORT ucs_status_t ucp_init_version(unsigned api_major, unsigned api_minor, const ucp_params_t *params,
                                         const ucp_config_t *unused, ucp_context_h *ret_context) {
  if (!egd_rank.seg)
    egd_die("the egida runtime is loaded, but the program was not started by egida; start it with 'egida run', or "
            "unset LD_PRELOAD and LD_LIBRARY_PATH");
  if (api_major != UCP_API_MAJOR)
    egd_die("the MPI library wants UCP API %u.%u, egida provides %u.%u; use an MPI library built against UCX 1.x",
            api_major, api_minor, UCP_API_MAJOR, UCP_API_MINOR);
  if (!egd_ucp.thread) egd_ucp.thread = __builtin_thread_pointer();
  egd_enter();
  size_t request_size = params->field_mask & UCP_PARAM_FIELD_REQUEST_SIZE ? params->request_size : 0;
  ucp_request_init_callback_t request_init =
      params->field_mask & UCP_PARAM_FIELD_REQUEST_INIT ? params->request_init : NULL;
  // Contexts that follow each other (MPI sessions) share the pool of requests.
  if (egd_ucp.endpoints && (request_size != egd_ucp.request_size || request_init != egd_ucp.request_init))
    egd_die("two different MPI libraries use UCP in one process; egida supports one");
  egd_ucp.request_size = request_size;
  egd_ucp.request_init = request_init;
  if (!egd_ucp.endpoints) {
    egd_ucp.endpoints = egd_alloc(egd_rank.nranks * sizeof(*egd_ucp.endpoints));
    for (uint32_t rank = 0; rank < egd_rank.nranks; rank++) egd_ucp.endpoints[rank].rank = rank;
  }
  egd_memory_init();
  atomic_fetch_or(&egd_rank.cb->notes, EGD_NOTE_MPI_INITIALIZED);
  egd_leave();
  context.exists = true;
  *ret_context = &context;
  return UCS_OK;
}

EGD_EXPORT void ucp_cleanup(ucp_context_h unused) {
  context.exists = false;
}

EGD_EXPORT ucs_status_t ucp_context_query(ucp_context_h unused, ucp_context_attr_t *attr) {
  if (attr->field_mask & UCP_ATTR_FIELD_REQUEST_SIZE) attr->request_size = sizeof(struct egd_request);
  if (attr->field_mask & UCP_ATTR_FIELD_THREAD_MODE) attr->thread_mode = UCS_THREAD_MODE_SERIALIZED;
  return UCS_OK;
}

// ---- worker and endpoints -----------------------------------------------------------------------

EGD_EXPORT ucs_status_t ucp_worker_create(ucp_context_h unused, const ucp_worker_params_t *params,
                                          ucp_worker_h *ret_worker) {
  if (egd_ucp.worker_exists)
    egd_die(
        "the MPI library asks for several UCP workers per process, egida supports one; unset MPIR_CVAR_CH4_NUM_VCIS");
  egd_ucp.worker_exists = true;
  worker.address = (struct ucp_address){.magic = EGD_ADDRESS_MAGIC, .rank = egd_rank.self};
  *ret_worker = &worker;
  return UCS_OK;
}

EGD_EXPORT void ucp_worker_destroy(ucp_worker_h unused) {
  egd_ucp.worker_exists = false;
}

EGD_EXPORT ucs_status_t ucp_worker_query(ucp_worker_h unused, ucp_worker_attr_t *attr) {
  if (attr->field_mask & UCP_WORKER_ATTR_FIELD_THREAD_MODE) attr->thread_mode = UCS_THREAD_MODE_SERIALIZED;
  if (attr->field_mask & UCP_WORKER_ATTR_FIELD_ADDRESS) {
    attr->address = &worker.address;
    attr->address_length = sizeof(worker.address);
  }
  if (attr->field_mask & UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER) attr->max_am_header = UINT16_MAX;
  return UCS_OK;
}

EGD_EXPORT ucs_status_t ucp_worker_get_address(ucp_worker_h unused, ucp_address_t **ret_address, size_t *ret_length) {
  *ret_address = &worker.address;
  *ret_length = sizeof(worker.address);
  return UCS_OK;
}

EGD_EXPORT void ucp_worker_release_address(ucp_worker_h unused, ucp_address_t *address) {}

EGD_EXPORT ucs_status_t ucp_ep_create(ucp_worker_h unused, const ucp_ep_params_t *params, ucp_ep_h *ret_ep) {
  struct ucp_address address;
  if (!(params->field_mask & UCP_EP_PARAM_FIELD_REMOTE_ADDRESS)) return UCS_ERR_UNSUPPORTED;
  memcpy(&address, params->address, sizeof(address)); // comes out of a table of unaligned strings
  if (address.magic != EGD_ADDRESS_MAGIC || address.rank >= egd_rank.nranks)
    egd_die("a peer's address is none of this job's: all ranks must be started by the same 'egida run' (connecting to "
            "other jobs and MPI_Comm_spawn are not supported)");
  *ret_ep = &egd_ucp.endpoints[address.rank];
  return UCS_OK;
}

// A send is complete when it's logged, so there is never anything to flush.
EGD_EXPORT ucs_status_ptr_t ucp_disconnect_nb(ucp_ep_h ep) {
  return NULL;
}
EGD_EXPORT ucs_status_ptr_t ucp_ep_close_nb(ucp_ep_h ep, unsigned mode) {
  return NULL;
}
EGD_EXPORT ucs_status_ptr_t ucp_ep_close_nbx(ucp_ep_h ep, const ucp_request_param_t *param) {
  return NULL;
}
EGD_EXPORT void ucp_ep_destroy(ucp_ep_h ep) {}
EGD_EXPORT ucs_status_t ucp_ep_flush(ucp_ep_h ep) {
  return UCS_OK;
}
EGD_EXPORT ucs_status_ptr_t ucp_ep_flush_nb(ucp_ep_h ep, unsigned flags, ucp_send_callback_t callback) {
  return NULL;
}
EGD_EXPORT ucs_status_t ucp_worker_flush(ucp_worker_h unused) {
  return UCS_OK;
}
EGD_EXPORT ucs_status_ptr_t ucp_worker_flush_nb(ucp_worker_h unused, unsigned flags, ucp_send_callback_t callback) {
  return NULL;
}
EGD_EXPORT ucs_status_t ucp_worker_fence(ucp_worker_h unused) {
  return UCS_OK;
}

// ---- messages to self ---------------------------------------------------------------------------

void egd_self_send(struct egd_source *source, enum egd_record_kind kind, uint64_t imm, uint32_t cookie) {
  uint64_t length = source ? source->length : 0;
  struct ucp_recv_desc *desc = egd_desc_get(length);
  desc->message =
      (struct egd_message){.source = egd_rank.self, .kind = kind, .imm = imm, .cookie = cookie, .length = length};
  desc->kept = false;
  desc->next = NULL;
  if (source) egd_source_copy(source, desc->data);
  if (egd_ucp.self_tail)
    egd_ucp.self_tail->next = desc;
  else
    egd_ucp.self_head = desc;
  egd_ucp.self_tail = desc;
}

// Only what was there at the start: a handler that sends to its own rank must not keep others waiting for ever.
static unsigned deliver_self(void) {
  unsigned count = 0;
  struct ucp_recv_desc *last = egd_ucp.self_tail, *desc;
  do {
    desc = egd_ucp.self_head;
    egd_ucp.self_head = desc->next;
    if (!desc->next) egd_ucp.self_tail = NULL;
    count++;
    bool done = desc == last;
    switch (desc->message.kind) {
    case EGD_RECORD_TAG:
    case EGD_RECORD_TAG_SYNC:
      egd_tag_deliver_self(desc);
      break;
    case EGD_RECORD_SYNC_ACK:
      egd_request_acknowledged(desc->message.cookie, egd_rank.self);
      egd_desc_put(desc);
      break;
    default:
      egd_am_deliver(&desc->message, desc->data);
      egd_desc_put(desc);
    }
    if (done) break;
  } while (egd_ucp.self_head);
  return count;
}

// ---- progress -----------------------------------------------------------------------------------

enum egd_verdict_on_message egd_ucp_deliver(const struct egd_message *message) {
  switch (message->kind) {
  case EGD_RECORD_TAG:
  case EGD_RECORD_TAG_SYNC:
    return egd_tag_deliver(message);
  case EGD_RECORD_AM:
    egd_am_deliver(message, NULL);
    return EGD_CONSUMED;
  case EGD_RECORD_SYNC_ACK:
    egd_request_acknowledged(message->cookie, message->source);
    return EGD_CONSUMED;
  default:
    egd_die("a message of unknown kind %u came from rank %u; are all nodes on the same egida version?", message->kind,
            message->source);
  }
}

void egd_wrong_thread(void) {
  egd_die("a second thread called MPI, which egida cannot repeat after a crash (MPI_THREAD_MULTIPLE is not supported, "
          "and was not granted); let only the thread that called MPI_Init call MPI");
}

EGD_EXPORT unsigned ucp_worker_progress(ucp_worker_h unused) {
  egd_check_thread();
  unsigned count = 0;
  if (EGD_UNLIKELY(egd_ucp.self_head != NULL)) {
    egd_enter();
    count = deliver_self();
    egd_leave();
  }
  return count + egd_progress();
}
