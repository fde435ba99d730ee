#include "restartd/credential.h"

#include <stdio.h>
#include <stdlib.h>
#include <stdbool.h>
#include <string.h>

#include "common/status.h"
#include "config.h"

char *egd_credential_payload(char payload[EGD_CREDENTIAL_PAYLOAD], const char *step, const char *reader_nonce,
                             const char *maker_nonce, const char *job) {
  snprintf(payload, EGD_CREDENTIAL_PAYLOAD, "egida-restartd 1\n%s\n%s\n%s\n%s", step, reader_nonce, maker_nonce, job);
  return payload;
}

#ifdef HAVE_MUNGE

#include <munge.h>

static munge_ctx_t context_of(const char *munge_socket) {
  munge_ctx_t context = munge_ctx_create();
  if (context && *munge_socket) munge_ctx_set(context, MUNGE_OPT_SOCKET, munge_socket);
  return context;
}

static int fail(munge_ctx_t context, munge_err_t error, char *why, size_t why_size) {
  const char *text = context ? munge_ctx_strerror(context) : "out of memory";
  snprintf(why, why_size, "munge: %s", text ? text : munge_strerror(error));
  if (context) munge_ctx_destroy(context);
  switch (error) {
  case EMUNGE_SNAFU:
  case EMUNGE_NO_MEMORY:
  case EMUNGE_SOCKET:
  case EMUNGE_TIMEOUT:
    return EGD_ERR_IO;
  default:
    return EGD_ERR_PERMISSION;
  }
}

int egd_credential_make(const char *munge_socket, const char *payload, uid_t reader, char **ret_credential, char *why,
                        size_t why_size) {
  munge_ctx_t context = context_of(munge_socket);
  if (!context) return fail(NULL, EMUNGE_NO_MEMORY, why, why_size);
  if (reader != EGD_CREDENTIAL_ANYBODY) munge_ctx_set(context, MUNGE_OPT_UID_RESTRICTION, reader);
  munge_err_t error = munge_encode(ret_credential, context, payload, (int)strlen(payload));
  if (error != EMUNGE_SUCCESS) return fail(context, error, why, why_size);
  munge_ctx_destroy(context);
  return EGD_OK;
}

int egd_credential_check(const char *munge_socket, const char *credential, const char *payload, uid_t *ret_uid,
                         char *why, size_t why_size) {
  munge_ctx_t context = context_of(munge_socket);
  if (!context) return fail(NULL, EMUNGE_NO_MEMORY, why, why_size);
  void *said = NULL;
  int length = 0;
  uid_t uid;
  gid_t gid;
  munge_err_t error = munge_decode(credential, context, &said, &length, &uid, &gid);
  bool same = error == EMUNGE_SUCCESS && length == (int)strlen(payload) && memcmp(said, payload, (size_t)length) == 0;
  free(said);
  if (error != EMUNGE_SUCCESS) return fail(context, error, why, why_size);
  munge_ctx_destroy(context);
  if (!same) {
    snprintf(why, why_size, "the munge credential was made for something else");
    return EGD_ERR_PERMISSION;
  }
  *ret_uid = uid;
  return EGD_OK;
}

#else

int egd_credential_make(const char *munge_socket, const char *payload, uid_t reader, char **ret_credential, char *why,
                        size_t why_size) {
  snprintf(why, why_size, "this build is without munge, which TCP needs");
  return EGD_ERR_UNSUPPORTED;
}

int egd_credential_check(const char *munge_socket, const char *credential, const char *payload, uid_t *ret_uid,
                         char *why, size_t why_size) {
  snprintf(why, why_size, "this build is without munge, which TCP needs");
  return EGD_ERR_UNSUPPORTED;
}

#endif
