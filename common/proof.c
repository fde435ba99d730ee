#include "common/proof.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static void hex(char *to, const unsigned char *data, size_t length) {
  for (size_t i = 0; i < length; i++) sprintf(to + 2 * i, "%02x", data[i]);
}

bool egd_proof_nonce(char ret_nonce[EGD_PROOF_TEXT]) {
  unsigned char bytes[32];
  if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) return false;
  hex(ret_nonce, bytes, sizeof(bytes));
  return true;
}

bool egd_proof_make(const unsigned char secret[EGD_PROOF_SECRET], const char *label, const char *statement,
                    const char *theirs, const char *mine, char ret_proof[EGD_PROOF_TEXT]) {
  char text[1024];
  // Newlines part what has none; nonces have a fixed length.
  int n = snprintf(text, sizeof(text), "%s\n%s\n%s\n%s", label, theirs, mine, statement);
  unsigned char digest[32];
  unsigned length = sizeof(digest);
  if (n < 0 || (size_t)n >= sizeof(text) || strlen(theirs) != EGD_PROOF_TEXT - 1 ||
      strlen(mine) != EGD_PROOF_TEXT - 1 ||
      !HMAC(EVP_sha256(), secret, EGD_PROOF_SECRET, (const unsigned char *)text, (size_t)n, digest, &length))
    return false;
  hex(ret_proof, digest, sizeof(digest));
  return true;
}

bool egd_proof_check(const unsigned char secret[EGD_PROOF_SECRET], const char *label, const char *statement,
                     const char *theirs, const char *mine, const char *proof) {
  char expected[EGD_PROOF_TEXT];
  return theirs && mine && proof && strlen(proof) == EGD_PROOF_TEXT - 1 &&
         egd_proof_make(secret, label, statement, theirs, mine, expected) &&
         CRYPTO_memcmp(expected, proof, EGD_PROOF_TEXT - 1) == 0;
}
