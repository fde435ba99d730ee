// TCP with numeric addresses: a name server must not stop a thread that others wait for.
#ifndef EGIDA_COMMON_TCP_H
#define EGIDA_COMMON_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EGD_TCP_ADDRESS 64 // "HOST:PORT" with its NUL; IPv6 hosts in brackets

struct addrinfo;

/// Parse "HOST:PORT". EGD_OK (freeaddrinfo() *ret_info) or EGD_ERR_INVALID.
int egd_tcp_resolve(const char *address, bool passive, struct addrinfo **ret_info);
/// Listen on `address` (port 0: any). A non-blocking close-on-exec descriptor and where it listens, or -1 with errno
/// (EINVAL: no numeric HOST:PORT).
int egd_tcp_listen(const char *address, char bound[EGD_TCP_ADDRESS]);
/// Connect within `timeout_ns`; blocks so long. Non-blocking, close-on-exec, without Nagle's delay; -1 with errno.
int egd_tcp_connect(const char *address, uint64_t timeout_ns);
/// Accept a connection like that; -1: none.
int egd_tcp_accept(int listener);
/// This side's "HOST:0" of a connection: where others on its network reach this machine. False: not known.
bool egd_tcp_own_address(int fd, char address[EGD_TCP_ADDRESS]);

#endif
