// The rest of UCP's interface: an MPI library that gets here needs more than egida offers, and is told so by name.
// Without these the dynamic linker would end the program with a message that helps nobody.
//
// ucp.h is not included: the functions are defined under their assembler names, without their types.
#include <dlfcn.h>
#include <stdbool.h>
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

// ---- processes that the program wants to start --------------------------------------------------

// The launcher answers MPICH's request with an error, which MPICH passes on without the reason.
static void *refused(const char *name, int root, int comm) {
  static bool said;
  int rank = root;
  int (*comm_rank)(int, int *) = (int (*)(int, int *))dlsym(RTLD_NEXT, "PMPI_Comm_rank");
  if (comm_rank) comm_rank(comm, &rank);
  if (rank == root && !said && egd_rank.seg) {
    said = true;
    egd_say("the program called %s, which egida does not support; start all ranks with 'egida run -n N'", name);
  }
  void *next = dlsym(RTLD_NEXT, name);
  if (!next) egd_die("the program's MPI library has no %s", name);
  return next;
}

#define SPAWN(name)                                                                                                    \
  __attribute__((visibility("default"))) int name(const char *command, char **argv, int n, int info, int root,         \
                                                  int comm, int *intercomm, int *codes);                               \
  int name(const char *command, char **argv, int n, int info, int root, int comm, int *intercomm, int *codes) {        \
    int (*next)(const char *, char **, int, int, int, int, int *, int *) = refused(#name, root, comm);                 \
    return next(command, argv, n, info, root, comm, intercomm, codes);                                                 \
  }
SPAWN(MPI_Comm_spawn)
SPAWN(PMPI_Comm_spawn)

#define SPAWN_MULTIPLE(name)                                                                                           \
  __attribute__((visibility("default"))) int name(int count, char **commands, char ***argvs, const int *n,             \
                                                  const int *infos, int root, int comm, int *intercomm, int *codes);   \
  int name(int count, char **commands, char ***argvs, const int *n, const int *infos, int root, int comm,              \
           int *intercomm, int *codes) {                                                                               \
    int (*next)(int, char **, char ***, const int *, const int *, int, int, int *, int *) =                            \
        refused(#name, root, comm);                                                                                    \
    return next(count, commands, argvs, n, infos, root, comm, intercomm, codes);                                       \
  }
SPAWN_MULTIPLE(MPI_Comm_spawn_multiple)
SPAWN_MULTIPLE(PMPI_Comm_spawn_multiple)
