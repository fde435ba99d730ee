#include "common/nodedir.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/securepath.h"
#include "common/status.h"

int egd_node_dir(const char *job_dir, uint32_t node, char ret_path[PATH_MAX]) {
  const char *tmp = getenv("TMPDIR"), *job = strrchr(job_dir, '/');
  int n = snprintf(ret_path, PATH_MAX, "%s/egida-%u", tmp && *tmp == '/' ? tmp : "/tmp", (unsigned)geteuid());
  if (n < 0 || n >= PATH_MAX) return EGD_ERR_INVALID;
  int status = egd_secure_mkdir(ret_path);
  if (status != EGD_OK) return status;
  int m = snprintf(ret_path + n, (size_t)(PATH_MAX - n), "/%s-n%u", job ? job + 1 : job_dir, node);
  return m < 0 || m >= PATH_MAX - n ? EGD_ERR_INVALID : EGD_OK;
}
