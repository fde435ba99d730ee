// Active messages.
#include <string.h>
#include "runtime/ucp/adapter.h"

#define MAX_AM_ID 65535u

EGD_EXPORT ucs_status_t ucp_worker_set_am_handler(ucp_worker_h worker, uint16_t id, ucp_am_callback_t callback,
                                                  void *arg, uint32_t flags) {
  if (id >= egd_ucp.nam_handlers) {
    uint32_t old = egd_ucp.nam_handlers, new = id + 1u;
    struct egd_am_handler *handlers = egd_calloc(new * sizeof(*handlers));
    if (old) memcpy(handlers, egd_ucp.am_handlers, old * sizeof(*handlers));
    egd_free(egd_ucp.am_handlers, old * sizeof(*handlers));
    egd_ucp.am_handlers = handlers;
    egd_ucp.nam_handlers = new;
  }
  egd_ucp.am_handlers[id] = (struct egd_am_handler){callback, arg};
  return UCS_OK;
}

EGD_EXPORT ucs_status_ptr_t ucp_am_send_nb(ucp_ep_h ep, uint16_t id, const void *buffer, size_t count,
                                           ucp_datatype_t datatype, ucp_send_callback_t callback, unsigned flags) {
  struct egd_source source;
  egd_source_start(&source, buffer, count, datatype);
  if (ep->rank == egd_rank.self)
    egd_self_send(&source, EGD_RECORD_AM, id, 0);
  else
    egd_source_send(&source, ep->rank, EGD_RECORD_AM, id, 0);
  return NULL;
}

// `data`: the payload if it isn't in `message`. The handler may send, but not keep the data: UCP_CB_PARAM_FLAG_DATA is
// not set.
void egd_am_deliver(const struct egd_message *message, const void *data) {
  struct egd_am_handler handler = {0};
  if (message->imm < egd_ucp.nam_handlers) handler = egd_ucp.am_handlers[message->imm];
  if (!handler.callback)
    egd_die("active message %lu from rank %u has no handler; do all ranks run the same MPI library?",
            (unsigned long)message->imm, message->source);
  if (!data) data = egd_message_contiguous(message);
  void *whole = NULL;
  if (!data && message->length) {
    data = whole = egd_alloc(message->length);
    egd_message_read(message, 0, whole, message->length);
  }
  // UCP's type for the data is not const, its contract is: without the flag the handler only reads.
  handler.callback(handler.arg, (void *)(uintptr_t)data, message->length, NULL, 0);
  egd_free(whole, message->length);
}
