// Memory handles and remote keys. No key can be unpacked, so MPI libraries do one-sided operations by active messages.
#include <sys/mman.h>
#include "runtime/syscall.h"
#include "runtime/ucp/adapter.h"

#define ARENA_SIZE (1ull << 38) // virtual; only what is touched takes memory
#define PAGE_SHIFT 12u
#define HUGE_PAGE (2ull << 20)

struct packed_key {
  uint64_t magic;
};
#define KEY_MAGIC 0x3159454b444745ull // "EGDKEY1"

void egd_memory_init(void) {
  if (egd_ucp.window_arena) return;
  egd_ucp.window_arena = egd_alloc(ARENA_SIZE);
  egd_ucp.window_arena_used = 0;
}

static uint64_t align(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

// Programs see these addresses and send them around, so a replay has to give the same ones. The runtime's heap can't promise that:
// a replay takes no images and appends nothing to logs, so its allocations differ. Hence this arena, which nobody else uses.
static struct ucp_mem *allocate(size_t length) {
  unsigned shift = PAGE_SHIFT;
  while (shift < 63 && 1ull << shift < length) shift++;
  struct ucp_mem **free_list = &egd_ucp.free_windows[shift];
  struct ucp_mem *mem = *free_list;
  if (mem) {
    *free_list = mem->next_free;
    return mem;
  }
  uint64_t size = 1ull << shift;
  uintptr_t base = (uintptr_t)egd_ucp.window_arena;
  uint64_t begin = align(base + egd_ucp.window_arena_used, size < HUGE_PAGE ? size : HUGE_PAGE) - base;
  if (begin > ARENA_SIZE || size > ARENA_SIZE - begin) return NULL;
  egd_ucp.window_arena_used = begin + size;
  mem = egd_calloc(sizeof(*mem));
  mem->address = egd_ucp.window_arena + begin;
  mem->shift = shift;
  return mem;
}

EGD_EXPORT ucs_status_t ucp_mem_map(ucp_context_h context, const ucp_mem_map_params_t *params, ucp_mem_h *ret_mem) {
  void *address = params->field_mask & UCP_MEM_MAP_PARAM_FIELD_ADDRESS ? params->address : NULL;
  if (!(params->field_mask & UCP_MEM_MAP_PARAM_FIELD_LENGTH)) return UCS_ERR_INVALID_PARAM;
  egd_enter();
  struct ucp_mem *mem;
  if (address || !params->length) {
    mem = egd_calloc(sizeof(*mem));
    mem->address = address;
  } else {
    mem = allocate(params->length);
  }
  egd_leave();
  if (!mem) return UCS_ERR_NO_MEMORY;
  mem->length = params->length;
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
  egd_enter();
  if (mem->shift) {
    // Gives the pages back; the next window here starts with zeros again.
    egd_sys3(SYS_madvise, mem->address, 1ull << mem->shift, MADV_DONTNEED);
    mem->next_free = egd_ucp.free_windows[mem->shift];
    egd_ucp.free_windows[mem->shift] = mem;
  } else {
    egd_free(mem, sizeof(*mem));
  }
  egd_leave();
  return UCS_OK;
}

EGD_EXPORT ucs_status_t ucp_rkey_pack(ucp_context_h context, ucp_mem_h mem, void **ret_buffer, size_t *ret_size) {
  egd_enter();
  struct packed_key *key = egd_alloc(sizeof(*key));
  egd_leave();
  key->magic = KEY_MAGIC;
  *ret_buffer = key;
  *ret_size = sizeof(*key);
  return UCS_OK;
}

EGD_EXPORT void ucp_rkey_buffer_release(void *buffer) {
  egd_enter();
  egd_free(buffer, sizeof(struct packed_key));
  egd_leave();
}

EGD_EXPORT ucs_status_t ucp_ep_rkey_unpack(ucp_ep_h ep, const void *buffer, ucp_rkey_h *ret_key) {
  return UCS_ERR_UNREACHABLE;
}

EGD_EXPORT void ucp_rkey_destroy(ucp_rkey_h key) {}
