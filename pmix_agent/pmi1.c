#include "pmix_agent/pmi1.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void egd_pmi1_init(struct egd_pmi1 *pmi, uint32_t rank, uint32_t size, int fd,
                   void (*request)(void *arg, struct egd_pmi1 *pmi), void *arg) {
  memset(pmi, 0, sizeof(*pmi));
  pmi->rank = rank;
  pmi->size = size;
  pmi->fd = fd;
  pmi->request = request;
  pmi->arg = arg;
}

static bool answer(struct egd_pmi1 *pmi, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool answer(struct egd_pmi1 *pmi, const char *format, ...) {
  char line[EGD_PMI_LINE_MAX];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(line, sizeof(line) - 1, format, args);
  va_end(args);
  if (n < 0 || (size_t)n >= sizeof(line) - 1) return false;
  line[n++] = '\n';
  for (int done = 0; done < n;) {
    ssize_t written = write(pmi->fd, line + done, (size_t)(n - done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    done += (int)written;
  }
  return true;
}

// The value of `name` in "a=b c=d …". The last one, "value", goes to the end of the line: it may hold blanks.
static bool field(const char *line, const char *name, char *to, size_t size) {
  size_t n = strlen(name);
  for (const char *p = line; p; p = strchr(p, ' '), p = p ? p + 1 : NULL) {
    if (strncmp(p, name, n) != 0 || p[n] != '=') continue;
    p += n + 1;
    size_t length = strcmp(name, "value") == 0 ? strlen(p) : strcspn(p, " ");
    if (length >= size) return false;
    memcpy(to, p, length);
    to[length] = 0;
    return true;
  }
  return false;
}

static bool ask(struct egd_pmi1 *pmi, enum egd_pmi_request request) {
  pmi->pending = request;
  pmi->request(pmi->arg, pmi);
  return true;
}

static bool command(struct egd_pmi1 *pmi, const char *line) {
  char name[32], number[16];
  if (pmi->in_spawn) {
    if (strcmp(line, "endcmd") != 0) return true;
    pmi->in_spawn = false;
    return answer(pmi, "cmd=spawn_result rc=-1 msg=MPI_Comm_spawn_is_not_supported_by_Egida");
  }
  if (strncmp(line, "mcmd=spawn", 10) == 0) {
    pmi->in_spawn = true;
    return true;
  }
  if (!field(line, "cmd", name, sizeof(name))) return false;
  if (strcmp(name, "init") == 0) return answer(pmi, "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0");
  if (strcmp(name, "get_maxes") == 0)
    return answer(pmi, "cmd=maxes kvsname_max=%d keylen_max=%d vallen_max=%d", EGD_PMI_KVSNAME_MAX, EGD_PMI_KEY_MAX,
                  EGD_PMI_VALUE_MAX);
  if (strcmp(name, "get_appnum") == 0) return answer(pmi, "cmd=appnum appnum=0");
  if (strcmp(name, "get_universe_size") == 0) return answer(pmi, "cmd=universe_size size=%u", pmi->size);
  if (strcmp(name, "get_my_kvsname") == 0) return answer(pmi, "cmd=my_kvsname kvsname=egida");
  if (strcmp(name, "put") == 0) {
    if (!field(line, "key", pmi->key, sizeof(pmi->key)) || !field(line, "value", pmi->value, sizeof(pmi->value)))
      return answer(pmi, "cmd=put_result rc=-1 msg=key_or_value_too_long");
    return ask(pmi, EGD_PMI_PUT);
  }
  if (strcmp(name, "get") == 0) {
    if (!field(line, "key", pmi->key, sizeof(pmi->key))) return answer(pmi, "cmd=get_result rc=-1 msg=no_key");
    // Each rank on a node of its own: MPICH then sends all messages through the network layer, which is ours.
    if (strcmp(pmi->key, "PMI_process_mapping") == 0)
      return answer(pmi, "cmd=get_result rc=0 msg=success value=(vector,(0,%u,1))", pmi->size);
    return ask(pmi, EGD_PMI_GET);
  }
  if (strcmp(name, "barrier_in") == 0) return ask(pmi, EGD_PMI_BARRIER);
  if (strcmp(name, "finalize") == 0) return answer(pmi, "cmd=finalize_ack");
  if (strcmp(name, "abort") == 0) {
    pmi->code = field(line, "exitcode", number, sizeof(number)) ? atoi(number) : 1;
    return ask(pmi, EGD_PMI_ABORT);
  }
  if (strcmp(name, "publish_name") == 0 || strcmp(name, "unpublish_name") == 0 || strcmp(name, "lookup_name") == 0)
    return answer(pmi, "cmd=%s_result rc=-1 info=fail msg=name_service_is_not_supported_by_Egida",
                  name[0] == 'p'   ? "publish"
                  : name[0] == 'u' ? "unpublish"
                                   : "lookup");
  return answer(pmi, "cmd=%s_result rc=-1 msg=unknown_command", name);
}

bool egd_pmi1_read(struct egd_pmi1 *pmi) {
  ssize_t n = read(pmi->fd, pmi->line + pmi->used, sizeof(pmi->line) - 1 - pmi->used);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (n <= 0) return false;
  pmi->used += (size_t)n;
  for (;;) {
    char *end = memchr(pmi->line, '\n', pmi->used);
    if (!end) return pmi->used < sizeof(pmi->line) - 1;
    *end = 0;
    if (!command(pmi, pmi->line)) return false;
    size_t length = (size_t)(end + 1 - pmi->line);
    memmove(pmi->line, end + 1, pmi->used - length);
    pmi->used -= length;
  }
}

bool egd_pmi1_reply(struct egd_pmi1 *pmi, bool success, const char *value) {
  enum egd_pmi_request request = pmi->pending;
  pmi->pending = 0;
  switch (request) {
  case EGD_PMI_PUT:
    return answer(pmi, "cmd=put_result rc=%s", success ? "0 msg=success" : "-1 msg=failure");
  case EGD_PMI_GET:
    if (!success || !value) return answer(pmi, "cmd=get_result rc=-1 msg=key_not_found value=unknown");
    return answer(pmi, "cmd=get_result rc=0 msg=success value=%s", value);
  case EGD_PMI_BARRIER:
    return answer(pmi, "cmd=barrier_out rc=0 msg=success");
  case EGD_PMI_ABORT:
    break;
  }
  return true;
}
