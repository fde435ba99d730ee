// Active messages.
#include <string.h>
#include "runtime/ucp/adapter.h"
#include "runtime/ucp/mpich.h"

#define MAX_AM_ID 65535u

EGD_EXPORT ucs_status_t ucp_worker_set_am_handler(ucp_worker_h worker, uint16_t id, ucp_am_callback_t callback,
                                                  void *arg, uint32_t flags) {
  egd_enter();
  if (id >= egd_ucp.nam_handlers) {
    uint32_t old = egd_ucp.nam_handlers, new = id + 1u;
    struct egd_am_handler *handlers = egd_calloc(new * sizeof(*handlers));
    if (old) memcpy(handlers, egd_ucp.am_handlers, old * sizeof(*handlers));
    egd_free(egd_ucp.am_handlers, old * sizeof(*handlers));
    egd_ucp.am_handlers = handlers;
    egd_ucp.nam_handlers = new;
  }
  egd_ucp.am_handlers[id] = (struct egd_am_handler){callback, arg};
  egd_leave();
  return UCS_OK;
}

static void send_am(ucp_ep_h ep, uint16_t id, const void *buffer, size_t count, ucp_datatype_t datatype) {
  struct egd_source source;
  egd_source_start(&source, buffer, count, datatype);
  if (ep->rank == egd_rank.self)
    egd_self_send(&source, EGD_RECORD_AM, id, 0);
  else
    egd_source_send(&source, ep->rank, EGD_RECORD_AM, id, 0);
}

// The message starts with a clean copy of the header; the user's memory is not touched.
static void send_mpich_am(ucp_ep_h ep, ucp_dt_iov_t first, const ucp_dt_iov_t *second) {
  unsigned char header[EGD_MPICH_HEADER_MAX];
  size_t length = first.length < sizeof(header) ? first.length : sizeof(header);
  if (length) memcpy(header, first.buffer, length);
  egd_mpich_clean(header, length);
  ucp_dt_iov_t pieces[3] = {{header, length}, {(unsigned char *)first.buffer + length, first.length - length}};
  if (second) pieces[2] = *second;
  send_am(ep, EGD_MPICH_AM_ID, pieces, second ? 3 : 2, UCP_DATATYPE_IOV);
}

EGD_EXPORT ucs_status_ptr_t ucp_am_send_nb(ucp_ep_h ep, uint16_t id, const void *buffer, size_t count,
                                           ucp_datatype_t datatype, ucp_send_callback_t callback, unsigned flags) {
  egd_enter();
  unsigned shape = datatype & UCP_DATATYPE_CLASS_MASK;
  if (id != EGD_MPICH_AM_ID || !egd_mpich_known()) {
    send_am(ep, id, buffer, count, datatype);
  } else if (shape == UCP_DATATYPE_CONTIG) {
    size_t length = count * (datatype >> UCP_DATATYPE_SHIFT);
    send_mpich_am(ep, (ucp_dt_iov_t){(void *)(uintptr_t)buffer, length}, NULL);
  } else if (shape == UCP_DATATYPE_IOV && count == 2) {
    const ucp_dt_iov_t *iov = buffer;
    send_mpich_am(ep, iov[0], &iov[1]);
  } else {
    send_am(ep, id, buffer, count, datatype);
  }
  egd_leave();
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
