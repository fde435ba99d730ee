// Proof that both ends of a stream know the job's secret, without showing it: HMAC-SHA256 over both ends' nonces.
#ifndef EGIDA_COMMON_PROOF_H
#define EGIDA_COMMON_PROOF_H

#include <stdbool.h>
#include <stddef.h>

#define EGD_PROOF_SECRET 32u
#define EGD_PROOF_TEXT 65u // 32 bytes in hexadecimal and a NUL

/// A fresh nonce as text. False: the system gives no random bytes.
bool egd_proof_nonce(char ret_nonce[EGD_PROOF_TEXT]);
/// The proof of the end named `label` for a `statement` (what it says of itself) and the two nonces, the other end's
/// first. Each end has a label of its own, so that a proof cannot be sent back to its maker.
bool egd_proof_make(const unsigned char secret[EGD_PROOF_SECRET], const char *label, const char *statement,
                    const char *theirs, const char *mine, char ret_proof[EGD_PROOF_TEXT]);
/// Does `proof` (NULL is allowed) match? In constant time. `theirs` and `mine` as seen by the end that made it.
bool egd_proof_check(const unsigned char secret[EGD_PROOF_SECRET], const char *label, const char *statement,
                     const char *theirs, const char *mine, const char *proof);

#endif
