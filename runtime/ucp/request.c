// Requests: a pool of objects with the user's part behind ours.
#include <string.h>
#include "runtime/ucp/adapter.h"

#define REQUESTS_PER_BLOCK 64u
#define FIRST_COOKIES 64u

static void grow_pool(void) {
  size_t size = (sizeof(struct egd_request) + egd_ucp.request_size + 15) & ~(size_t)15;
  unsigned char *block = egd_calloc(size * REQUESTS_PER_BLOCK);
  for (unsigned i = REQUESTS_PER_BLOCK; i-- > 0;) {
    struct egd_request *request = (struct egd_request *)(block + i * size);
    if (egd_ucp.request_init) egd_ucp.request_init(egd_request_handle(request));
    request->free_next = egd_ucp.free_requests;
    egd_ucp.free_requests = request;
  }
}

struct egd_request *egd_request_get(const ucp_request_param_t *param) {
  struct egd_request *request;
  if (EGD_UNLIKELY(param->op_attr_mask & UCP_OP_ATTR_FIELD_REQUEST)) {
    request = egd_request_of(param->request);
    request->flags = EGD_REQUEST_EXTERNAL;
  } else {
    if (EGD_UNLIKELY(!egd_ucp.free_requests)) grow_pool();
    request = egd_ucp.free_requests;
    egd_ucp.free_requests = request->free_next;
    request->flags = 0;
  }
  request->status = UCS_INPROGRESS;
  request->unpack = NULL;
  request->sent = NULL;
  request->received = NULL;
  request->user_data = param->op_attr_mask & UCP_OP_ATTR_FIELD_USER_DATA ? param->user_data : NULL;
  return request;
}

void egd_request_recycle(struct egd_request *request) {
  if (request->flags & EGD_REQUEST_EXTERNAL) return;
  request->free_next = egd_ucp.free_requests;
  egd_ucp.free_requests = request;
}

static void after_callback(struct egd_request *request) {
  request->flags |= EGD_REQUEST_COMPLETED;
  if (request->flags & EGD_REQUEST_RELEASED) egd_request_recycle(request);
}

void egd_request_complete_send(struct egd_request *request, ucs_status_t status) {
  request->status = status;
  if (request->sent) request->sent(egd_request_handle(request), status, request->user_data);
  after_callback(request);
}

void egd_request_complete_receive(struct egd_request *request, ucs_status_t status) {
  request->status = status;
  if (request->received) request->received(egd_request_handle(request), status, &request->info, request->user_data);
  after_callback(request);
}

void egd_request_expect_ack(struct egd_request *request) {
  if (!egd_ucp.nfree_cookies) {
    uint32_t old = egd_ucp.ncookies, new = old ? old * 2 : FIRST_COOKIES;
    struct egd_request **requests = egd_calloc(new * sizeof(*requests));
    uint32_t *cookies = egd_calloc(new * sizeof(*cookies));
    if (old) memcpy(requests, egd_ucp.sync_requests, old * sizeof(*requests));
    for (uint32_t i = new; i-- > old;) cookies[egd_ucp.nfree_cookies++] = i;
    egd_free(egd_ucp.sync_requests, old * sizeof(*requests));
    egd_free(egd_ucp.free_cookies, old * sizeof(*cookies));
    egd_ucp.sync_requests = requests;
    egd_ucp.free_cookies = cookies;
    egd_ucp.ncookies = new;
  }
  request->cookie = egd_ucp.free_cookies[--egd_ucp.nfree_cookies];
  egd_ucp.sync_requests[request->cookie] = request;
}

void egd_request_acknowledged(uint32_t cookie, uint32_t source) {
  struct egd_request *request = cookie < egd_ucp.ncookies ? egd_ucp.sync_requests[cookie] : NULL;
  if (!request)
    egd_die("rank %u acknowledged synchronous send %u, which is not in progress; the job's state is inconsistent, "
            "start it again",
            source, cookie);
  egd_ucp.sync_requests[cookie] = NULL;
  egd_ucp.free_cookies[egd_ucp.nfree_cookies++] = cookie;
  egd_request_complete_send(request, UCS_OK);
}

// ---- the user's side ----------------------------------------------------------------------------

EGD_EXPORT ucs_status_t ucp_request_check_status(void *handle) {
  return egd_request_of(handle)->status;
}

EGD_EXPORT int ucp_request_is_completed(void *handle) {
  return egd_request_of(handle)->status != UCS_INPROGRESS;
}

EGD_EXPORT ucs_status_t ucp_request_test(void *handle, ucp_tag_recv_info_t *info) {
  return ucp_tag_recv_request_test(handle, info);
}

EGD_EXPORT ucs_status_t ucp_tag_recv_request_test(void *handle, ucp_tag_recv_info_t *info) {
  struct egd_request *request = egd_request_of(handle);
  if (request->status != UCS_INPROGRESS) *info = request->info;
  return request->status;
}

EGD_EXPORT void ucp_request_release(void *handle) {
  struct egd_request *request = egd_request_of(handle);
  request->flags |= EGD_REQUEST_RELEASED;
  if (request->flags & EGD_REQUEST_COMPLETED) egd_request_recycle(request);
}

// In contrast to release, the user doesn't want to hear of it any more.
EGD_EXPORT void ucp_request_free(void *handle) {
  struct egd_request *request = egd_request_of(handle);
  request->sent = NULL;
  request->received = NULL;
  ucp_request_release(handle);
}
