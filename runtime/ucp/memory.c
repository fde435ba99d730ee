// Memory handles and remote keys. No key can be unpacked, so MPI libraries do one-sided operations by active messages.
#include "runtime/ucp/adapter.h"

#define PAGE 4096u

struct packed_key {
  uint64_t magic;
};
#define KEY_MAGIC 0x3159454b444745ull // "EGDKEY1"

// Memory that we allocate has the same address in a replay and is part of the image, as all of egd_alloc()'s.
EGD_EXPORT ucs_status_t ucp_mem_map(ucp_context_h context, const ucp_mem_map_params_t *params, ucp_mem_h *ret_mem) {
  void *address = params->field_mask & UCP_MEM_MAP_PARAM_FIELD_ADDRESS ? params->address : NULL;
  if (!(params->field_mask & UCP_MEM_MAP_PARAM_FIELD_LENGTH)) return UCS_ERR_INVALID_PARAM;
  struct ucp_mem *mem = egd_calloc(sizeof(*mem));
  mem->address = address;
  mem->length = params->length;
  if (!address && params->length) {
    mem->allocated = (params->length + 2 * PAGE - 1) & ~(size_t)(PAGE - 1);
    mem->allocation = egd_calloc(mem->allocated);
    mem->address = (void *)(((uintptr_t)mem->allocation + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
  }
  *ret_mem = mem;
  return UCS_OK;
}

EGD_EXPORT ucs_status_t ucp_mem_query(const ucp_mem_h mem, ucp_mem_attr_t *attr) {
  if (attr->field_mask & UCP_MEM_ATTR_FIELD_ADDRESS) attr->address = mem->address;
  if (attr->field_mask & UCP_MEM_ATTR_FIELD_LENGTH) attr->length = mem->length;
  if (attr->field_mask & UCP_MEM_ATTR_FIELD_MEM_TYPE) attr->mem_type = UCS_MEMORY_TYPE_HOST;
  return UCS_OK;
}

EGD_EXPORT ucs_status_t ucp_mem_unmap(ucp_context_h context, ucp_mem_h mem) {
  egd_free(mem->allocation, mem->allocated);
  egd_free(mem, sizeof(*mem));
  return UCS_OK;
}

EGD_EXPORT ucs_status_t ucp_rkey_pack(ucp_context_h context, ucp_mem_h mem, void **ret_buffer, size_t *ret_size) {
  struct packed_key *key = egd_alloc(sizeof(*key));
  key->magic = KEY_MAGIC;
  *ret_buffer = key;
  *ret_size = sizeof(*key);
  return UCS_OK;
}

EGD_EXPORT void ucp_rkey_buffer_release(void *buffer) {
  egd_free(buffer, sizeof(struct packed_key));
}

EGD_EXPORT ucs_status_t ucp_ep_rkey_unpack(ucp_ep_h ep, const void *buffer, ucp_rkey_h *ret_key) {
  return UCS_ERR_UNREACHABLE;
}

EGD_EXPORT void ucp_rkey_destroy(ucp_rkey_h key) {}
