// Tagged messages: sending, matching in MPI's order, probing, cancelling.
//
// A message goes to the earliest posted receive that it fits; a receive takes the earliest arrived message that fits
// it. Both are looked up by one hash table per mask in use.
#include <string.h>
#include "runtime/ucp/adapter.h"

#define container_of(node, type, member) ((type *)((unsigned char *)(node)-offsetof(type, member)))
#define NO_GROUP (-1)

// ---- the unexpected queue -----------------------------------------------------------------------

static struct ucp_recv_desc *desc_of_link(struct egd_match_node *link, unsigned group) {
  return (struct ucp_recv_desc *)((unsigned char *)(link - group) - offsetof(struct ucp_recv_desc, links));
}

struct ucp_recv_desc *egd_desc_get(uint64_t payload) {
  return egd_alloc(sizeof(struct ucp_recv_desc) + payload);
}

void egd_desc_put(struct ucp_recv_desc *desc) {
  egd_free(desc, sizeof(*desc) + egd_desc_payload(desc));
}

static void add_unexpected(struct ucp_recv_desc *desc) {
  for (unsigned group = 0; group < egd_ucp.nmasks; group++)
    egd_match_add(&egd_ucp.unexpected[group], &desc->links[group], desc->message.imm & egd_ucp.masks[group]);
  desc->order.key = desc->message.imm;
  egd_match_append(&egd_ucp.arrivals, &desc->order);
}

static void remove_unexpected(struct ucp_recv_desc *desc) {
  for (unsigned group = 0; group < egd_ucp.nmasks; group++)
    egd_match_remove(&egd_ucp.unexpected[group], &desc->links[group]);
  egd_match_unlink(&egd_ucp.arrivals, &desc->order);
}

static int new_group(uint64_t mask) {
  if (egd_ucp.nmasks == EGD_MASK_GROUPS) return NO_GROUP;
  unsigned group = egd_ucp.nmasks++;
  egd_ucp.masks[group] = mask;
  for (struct egd_match_node *node = egd_ucp.arrivals.first; node; node = node->next)
    egd_match_add(&egd_ucp.unexpected[group], &container_of(node, struct ucp_recv_desc, order)->links[group],
                  node->key & mask);
  return (int)group;
}

static inline int group_of(uint64_t mask) {
  if (EGD_LIKELY(egd_ucp.last_mask < egd_ucp.nmasks && egd_ucp.masks[egd_ucp.last_mask] == mask))
    return (int)egd_ucp.last_mask;
  for (unsigned group = 0; group < egd_ucp.nmasks; group++)
    if (egd_ucp.masks[group] == mask) return (int)(egd_ucp.last_mask = group);
  return new_group(mask);
}

static inline struct ucp_recv_desc *find_unexpected(int group, uint64_t tag, uint64_t mask) {
  if (EGD_LIKELY(!egd_ucp.arrivals.first)) return NULL;
  if (EGD_LIKELY(group != NO_GROUP)) {
    struct egd_match_node *link = egd_match_find(&egd_ucp.unexpected[group], tag & mask);
    return link ? desc_of_link(link, (unsigned)group) : NULL;
  }
  for (struct egd_match_node *node = egd_ucp.arrivals.first; node; node = node->next)
    if (((node->key ^ tag) & mask) == 0) return container_of(node, struct ucp_recv_desc, order);
  return NULL;
}

static void hold_kept(struct ucp_recv_desc *desc) {
  desc->kept_previous = NULL;
  desc->kept_next = egd_ucp.kept;
  if (desc->kept_next) desc->kept_next->kept_previous = desc;
  egd_ucp.kept = desc;
}

static void drop_kept(struct ucp_recv_desc *desc) {
  if (desc->kept_previous)
    desc->kept_previous->kept_next = desc->kept_next;
  else
    egd_ucp.kept = desc->kept_next;
  if (desc->kept_next) desc->kept_next->kept_previous = desc->kept_previous;
  egd_message_done(&desc->message);
}

void egd_ucp_restored(void) {
  for (struct ucp_recv_desc *desc = egd_ucp.kept; desc; desc = desc->kept_next) egd_message_refresh(&desc->message);
}

// ---- the posted queue ---------------------------------------------------------------------------

static void post(struct egd_request *request, int group, uint64_t tag, uint64_t mask) {
  request->mask = mask;
  request->mask_group = group;
  request->sequence = egd_ucp.sequence++;
  request->flags |= EGD_REQUEST_POSTED;
  if (EGD_LIKELY(group != NO_GROUP)) {
    egd_match_add(&egd_ucp.posted[group], &request->node, tag & mask);
    return;
  }
  request->node.key = tag & mask;
  egd_match_append(&egd_ucp.posted_other, &request->node);
  egd_ucp.nposted_other++;
}

static void unpost(struct egd_request *request) {
  request->flags &= ~EGD_REQUEST_POSTED;
  if (EGD_LIKELY(request->mask_group != NO_GROUP)) {
    egd_match_remove(&egd_ucp.posted[request->mask_group], &request->node);
    return;
  }
  egd_match_unlink(&egd_ucp.posted_other, &request->node);
  egd_ucp.nposted_other--;
}

static inline struct egd_request *take_posted(uint64_t tag) {
  struct egd_request *first = NULL;
  for (unsigned group = 0; group < egd_ucp.nmasks; group++) {
    struct egd_match_node *node = egd_match_find(&egd_ucp.posted[group], tag & egd_ucp.masks[group]);
    if (!node) continue;
    struct egd_request *request = container_of(node, struct egd_request, node);
    if (!first || request->sequence < first->sequence) first = request;
  }
  if (EGD_UNLIKELY(egd_ucp.nposted_other))
    for (struct egd_match_node *node = egd_ucp.posted_other.first; node; node = node->next) {
      struct egd_request *request = container_of(node, struct egd_request, node);
      if ((tag & request->mask) != node->key) continue;
      if (!first || request->sequence < first->sequence) first = request;
      break;
    }
  if (first) unpost(first);
  return first;
}

// ---- a message meets its receive ----------------------------------------------------------------

static void acknowledge(const struct egd_message *message) {
  if (message->source == egd_rank.self) {
    egd_self_send(NULL, EGD_RECORD_SYNC_ACK, 0, message->cookie);
    return;
  }
  struct egd_send out;
  egd_send_open(&out, message->source, EGD_RECORD_SYNC_ACK, 0, message->cookie, 0, 0);
  egd_send_close(&out);
}

static inline ucs_status_t receive(struct egd_request *request, const void *data, const struct egd_message *message) {
  request->info.sender_tag = message->imm;
  request->info.length = message->length;
  ucs_status_t status = egd_sink_fill(request, data, message);
  if (EGD_UNLIKELY(message->kind == EGD_RECORD_TAG_SYNC)) acknowledge(message);
  return status;
}

static ucs_status_t receive_unexpected(struct egd_request *request, struct ucp_recv_desc *desc) {
  ucs_status_t status = receive(request, desc->kept ? NULL : desc->data, &desc->message);
  if (desc->kept) drop_kept(desc);
  egd_desc_put(desc);
  return status;
}

enum egd_verdict_on_message egd_tag_deliver(const struct egd_message *message) {
  struct egd_request *request = take_posted(message->imm);
  if (EGD_LIKELY(request != NULL)) {
    egd_request_complete_receive(request, receive(request, NULL, message));
    return EGD_CONSUMED;
  }
  bool keep = message->length > EGD_UNEXPECTED_COPY_MAX;
  struct ucp_recv_desc *desc = egd_desc_get(keep ? 0 : message->length);
  desc->message = *message;
  desc->kept = keep;
  if (keep)
    hold_kept(desc);
  else if (message->length)
    egd_message_read(message, 0, desc->data, message->length);
  add_unexpected(desc);
  return keep ? EGD_KEEP : EGD_CONSUMED;
}

void egd_tag_deliver_self(struct ucp_recv_desc *desc) {
  struct egd_request *request = take_posted(desc->message.imm);
  if (request)
    egd_request_complete_receive(request, receive_unexpected(request, desc));
  else
    add_unexpected(desc);
}

// ---- UCP: sending -------------------------------------------------------------------------------

static inline ucp_datatype_t datatype_of(const ucp_request_param_t *param) {
  return param->op_attr_mask & UCP_OP_ATTR_FIELD_DATATYPE ? param->datatype : ucp_dt_make_contig(1);
}

static struct egd_request *send_request(const ucp_request_param_t *param) {
  struct egd_request *request = egd_request_get(param);
  if (param->op_attr_mask & UCP_OP_ATTR_FIELD_CALLBACK) request->sent = param->cb.send;
  return request;
}

static inline void send_to(ucp_ep_h ep, struct egd_source *source, enum egd_record_kind kind, uint64_t imm,
                           uint32_t cookie) {
  if (EGD_UNLIKELY(ep->rank == egd_rank.self))
    egd_self_send(source, kind, imm, cookie);
  else
    egd_source_send(source, ep->rank, kind, imm, cookie);
}

EGD_EXPORT ucs_status_ptr_t ucp_tag_send_nbx(ucp_ep_h ep, const void *buffer, size_t count, ucp_tag_t tag,
                                             const ucp_request_param_t *param) {
  egd_enter();
  struct egd_source source;
  egd_source_start(&source, buffer, count, datatype_of(param));
  send_to(ep, &source, EGD_RECORD_TAG, tag, 0);
  void *handle = NULL;
  if (EGD_UNLIKELY(param->op_attr_mask & UCP_OP_ATTR_FLAG_NO_IMM_CMPL)) {
    struct egd_request *request = send_request(param);
    handle = egd_request_handle(request);
    egd_request_complete_send(request, UCS_OK);
  }
  egd_leave();
  return handle;
}

EGD_EXPORT ucs_status_ptr_t ucp_tag_send_sync_nbx(ucp_ep_h ep, const void *buffer, size_t count, ucp_tag_t tag,
                                                  const ucp_request_param_t *param) {
  egd_enter();
  struct egd_request *request = send_request(param);
  egd_request_expect_ack(request);
  struct egd_source source;
  egd_source_start(&source, buffer, count, datatype_of(param));
  send_to(ep, &source, EGD_RECORD_TAG_SYNC, tag, request->cookie);
  egd_leave();
  return egd_request_handle(request);
}

// ---- UCP: receiving -----------------------------------------------------------------------------

static struct egd_request *receive_request(void *buffer, size_t count, const ucp_request_param_t *param) {
  struct egd_request *request = egd_request_get(param);
  if (param->op_attr_mask & UCP_OP_ATTR_FIELD_CALLBACK) request->received = param->cb.recv;
  egd_sink_start(request, buffer, count, datatype_of(param));
  return request;
}

// The message was there already: either the callback comes now, or the outcome is the function's value.
static ucs_status_ptr_t received_at_once(struct egd_request *request, ucs_status_t status,
                                         const ucp_request_param_t *param) {
  if (param->op_attr_mask & UCP_OP_ATTR_FLAG_NO_IMM_CMPL) {
    egd_request_complete_receive(request, status);
    return egd_request_handle(request);
  }
  if (param->op_attr_mask & UCP_OP_ATTR_FIELD_RECV_INFO) *param->recv_info.tag_info = request->info;
  request->status = status;
  egd_request_recycle(request);
  return UCS_STATUS_PTR(status);
}

EGD_EXPORT ucs_status_ptr_t ucp_tag_recv_nbx(ucp_worker_h worker, void *buffer, size_t count, ucp_tag_t tag,
                                             ucp_tag_t mask, const ucp_request_param_t *param) {
  egd_enter();
  struct egd_request *request = receive_request(buffer, count, param);
  int group = group_of(mask);
  struct ucp_recv_desc *desc = find_unexpected(group, tag, mask);
  ucs_status_ptr_t result;
  if (desc) {
    remove_unexpected(desc);
    result = received_at_once(request, receive_unexpected(request, desc), param);
  } else {
    post(request, group, tag, mask);
    result = egd_request_handle(request);
  }
  egd_leave();
  return result;
}

EGD_EXPORT ucs_status_ptr_t ucp_tag_msg_recv_nbx(ucp_worker_h worker, void *buffer, size_t count,
                                                 ucp_tag_message_h message, const ucp_request_param_t *param) {
  egd_enter();
  struct egd_request *request = receive_request(buffer, count, param);
  ucs_status_ptr_t result = received_at_once(request, receive_unexpected(request, message), param);
  egd_leave();
  return result;
}

EGD_EXPORT ucp_tag_message_h ucp_tag_probe_nb(ucp_worker_h worker, ucp_tag_t tag, ucp_tag_t mask, int remove,
                                              ucp_tag_recv_info_t *info) {
  egd_enter();
  struct ucp_recv_desc *desc = find_unexpected(group_of(mask), tag, mask);
  if (desc) {
    info->sender_tag = desc->message.imm;
    info->length = desc->message.length;
    if (remove) remove_unexpected(desc);
  }
  egd_leave();
  return desc;
}

// Sends are complete or on their way for good: only receives can be cancelled.
EGD_EXPORT void ucp_request_cancel(ucp_worker_h worker, void *handle) {
  struct egd_request *request = egd_request_of(handle);
  if (!(request->flags & EGD_REQUEST_POSTED)) return;
  egd_enter();
  unpost(request);
  egd_sink_cancel(request);
  request->info = (ucp_tag_recv_info_t){0};
  egd_request_complete_receive(request, UCS_ERR_CANCELED);
  egd_leave();
}
