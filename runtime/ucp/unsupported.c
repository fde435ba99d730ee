// The rest of UCP's interface: an MPI library that gets here needs more than egida offers, and is told so by name.
// Without these the dynamic linker would end the program with a message that helps nobody.
//
// ucp.h is not included: the functions are defined under their assembler names, without their types.
#include "runtime/rank.h"

#define UNSUPPORTED(name)                                                                                              \
  void egd_unsupported_##name(void) __asm__(#name) __attribute__((visibility("default"), noreturn));                   \
  void egd_unsupported_##name(void) {                                                                                  \
    egd_die("the MPI library called %s, which egida does not support; see egida-run(1) for the supported libraries",   \
            #name);                                                                                                    \
  }

// one-sided operations: never reached while no remote key can be unpacked
UNSUPPORTED(ucp_put)
UNSUPPORTED(ucp_put_nb)
UNSUPPORTED(ucp_put_nbi)
UNSUPPORTED(ucp_put_nbx)
UNSUPPORTED(ucp_get)
UNSUPPORTED(ucp_get_nb)
UNSUPPORTED(ucp_get_nbi)
UNSUPPORTED(ucp_get_nbx)
UNSUPPORTED(ucp_rkey_ptr)
UNSUPPORTED(ucp_atomic_add32)
UNSUPPORTED(ucp_atomic_add64)
UNSUPPORTED(ucp_atomic_fadd32)
UNSUPPORTED(ucp_atomic_fadd64)
UNSUPPORTED(ucp_atomic_swap32)
UNSUPPORTED(ucp_atomic_swap64)
UNSUPPORTED(ucp_atomic_cswap32)
UNSUPPORTED(ucp_atomic_cswap64)
UNSUPPORTED(ucp_atomic_post)
UNSUPPORTED(ucp_atomic_fetch_nb)
UNSUPPORTED(ucp_atomic_op_nbx)
UNSUPPORTED(ucp_mem_advise)
UNSUPPORTED(ucp_mem_print_info)
// older and newer forms of two-sided operations
UNSUPPORTED(ucp_tag_send_nb)
UNSUPPORTED(ucp_tag_send_nbr)
UNSUPPORTED(ucp_tag_send_sync_nb)
UNSUPPORTED(ucp_tag_recv_nb)
UNSUPPORTED(ucp_tag_recv_nbr)
UNSUPPORTED(ucp_tag_msg_recv_nb)
UNSUPPORTED(ucp_request_alloc)
UNSUPPORTED(ucp_request_query)
UNSUPPORTED(ucp_am_send_nbx)
UNSUPPORTED(ucp_am_recv_data_nbx)
UNSUPPORTED(ucp_am_data_release)
UNSUPPORTED(ucp_worker_set_am_recv_handler)
UNSUPPORTED(ucp_ep_flush_nbx)
UNSUPPORTED(ucp_worker_flush_nbx)
// streams
UNSUPPORTED(ucp_stream_send_nb)
UNSUPPORTED(ucp_stream_send_nbx)
UNSUPPORTED(ucp_stream_recv_nb)
UNSUPPORTED(ucp_stream_recv_nbx)
UNSUPPORTED(ucp_stream_recv_data_nb)
UNSUPPORTED(ucp_stream_data_release)
UNSUPPORTED(ucp_stream_recv_request_test)
UNSUPPORTED(ucp_stream_worker_poll)
// connections by socket address, events, information
UNSUPPORTED(ucp_listener_create)
UNSUPPORTED(ucp_listener_destroy)
UNSUPPORTED(ucp_listener_query)
UNSUPPORTED(ucp_listener_reject)
UNSUPPORTED(ucp_conn_request_query)
UNSUPPORTED(ucp_ep_query)
UNSUPPORTED(ucp_ep_modify_nb)
UNSUPPORTED(ucp_ep_print_info)
UNSUPPORTED(ucp_ep_evaluate_perf)
UNSUPPORTED(ucp_worker_wait)
UNSUPPORTED(ucp_worker_wait_mem)
UNSUPPORTED(ucp_worker_arm)
UNSUPPORTED(ucp_worker_signal)
UNSUPPORTED(ucp_worker_get_efd)
UNSUPPORTED(ucp_worker_address_query)
UNSUPPORTED(ucp_worker_print_info)
UNSUPPORTED(ucp_context_print_info)
UNSUPPORTED(ucp_config_print)
UNSUPPORTED(ucp_lib_query)
