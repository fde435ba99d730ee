// Who is at the other end of a TCP connection: munge credentials, bound to the connection (docs/formats/service.md).
//
// These functions wait for munged.
#ifndef EGIDA_RESTARTD_CREDENTIAL_H
#define EGIDA_RESTARTD_CREDENTIAL_H

#include <stddef.h>
#include <sys/types.h>

#define EGD_CREDENTIAL_ANYBODY ((uid_t)-1)
#define EGD_CREDENTIAL_PAYLOAD 512

/// What a credential says: `step` is "register" or "registered". Returns `payload`.
char *egd_credential_payload(char payload[EGD_CREDENTIAL_PAYLOAD], const char *step, const char *reader_nonce,
                             const char *maker_nonce, const char *job);
/// `munge_socket`: of munged, "" = the usual one; `reader`: who may decode it. EGD_OK (free() *ret_credential) or
/// EGD_ERR_UNSUPPORTED, EGD_ERR_IO with one line in `why`.
int egd_credential_make(const char *munge_socket, const char *payload, uid_t reader, char **ret_credential, char *why,
                        size_t why_size);
/// EGD_OK and who made it; EGD_ERR_PERMISSION: it is none, old, seen before, or says something else than `payload`;
/// EGD_ERR_UNSUPPORTED, EGD_ERR_IO.
int egd_credential_check(const char *munge_socket, const char *credential, const char *payload, uid_t *ret_uid,
                         char *why, size_t why_size);

#endif
