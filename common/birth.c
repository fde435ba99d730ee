#include "common/birth.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>
#include "common/securepath.h"
#include "common/status.h"

#define BIRTH_LIMIT (64u << 20)

// ---- writing ----------------------------------------------------------------------------------------------------------

static int write_file(const char *dir, const char *name, const void *data, size_t length, char *why, size_t why_size) {
  errno = 0;
  int status = egd_secure_write(dir, name, data, length, true);
  if (status != EGD_OK) snprintf(why, why_size, "cannot write %s/%s", dir, name);
  return status;
}

static int write_strings(const char *dir, const char *name, char *const *list, char *why, size_t why_size) {
  size_t length = 0;
  for (char *const *p = list; *p; p++) length += strlen(*p) + 1;
  char *data = malloc(length + 1), *at = data;
  if (!data) return EGD_ERR_NO_MEMORY;
  for (char *const *p = list; *p; p++) at = stpcpy(at, *p) + 1;
  int status = write_file(dir, name, data, length, why, why_size);
  free(data);
  return status;
}

static char *describe_process(const char *program, const char *cwd) {
  json_t *limits = json_array();
  for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) == 0)
      json_array_append_new(limits,
                            json_pack("[i,I,I]", resource, (json_int_t)limit.rlim_cur, (json_int_t)limit.rlim_max));
  }
  mode_t mask = umask(0);
  umask(mask);
  json_t *process = json_pack("{ss ss si so}", "program", program, "cwd", cwd, "umask", (int)mask, "limits", limits);
  char *text = process ? json_dumps(process, JSON_COMPACT) : NULL;
  json_decref(process);
  return text;
}

int egd_birth_write(const char *dir, const char *program, char *const *argv, char *const *environ, char *why,
                    size_t why_size) {
  char cwd[PATH_MAX];
  if (!getcwd(cwd, sizeof(cwd))) {
    snprintf(why, why_size, "the working folder is not known");
    return EGD_ERR_NOT_FOUND;
  }
  char *text = describe_process(program, cwd);
  if (!text) {
    errno = EILSEQ;
    snprintf(why, why_size, "the path of the program or of the working folder is not valid UTF-8: %s, %s", program,
             cwd);
    return EGD_ERR_INVALID;
  }
  errno = 0;
  int status = egd_secure_mkdir(dir);
  if (status != EGD_OK) snprintf(why, why_size, "cannot use the folder %s", dir);
  if (status == EGD_OK) status = write_strings(dir, "argv", argv, why, why_size);
  if (status == EGD_OK) status = write_strings(dir, "environ", environ, why, why_size);
  if (status == EGD_OK) status = write_file(dir, "process.json", text, strlen(text), why, why_size);
  free(text);
  return status;
}

// ---- reading ----------------------------------------------------------------------------------------------------------

// "a\0b\0" to a vector of strings.
static char **split(char *data, size_t length) {
  size_t count = 0;
  for (size_t i = 0; i < length; i++) count += data[i] == 0;
  char **list = calloc(count + 1, sizeof(*list));
  if (!list) return NULL;
  char *p = data;
  for (size_t i = 0; i < count; i++) {
    list[i] = p;
    p += strlen(p) + 1;
  }
  return list;
}

static char *read_file(const char *dir, const char *name, size_t *ret_length, char *why, size_t why_size) {
  char path[PATH_MAX], *data;
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  int status = egd_secure_read(path, BIRTH_LIMIT, &data, ret_length);
  if (status == EGD_OK) return data;
  snprintf(why, why_size, "cannot read %s: %s", path, egd_status_string(status));
  return NULL;
}

bool egd_birth_read(const char *dir, struct egd_birth *ret_birth, char *why, size_t why_size) {
  size_t argv_length, environ_length;
  char *argv = read_file(dir, "argv", &argv_length, why, why_size);
  char *environ_data = argv ? read_file(dir, "environ", &environ_length, why, why_size) : NULL;
  char *text = environ_data ? read_file(dir, "process.json", NULL, why, why_size) : NULL;
  if (!text) return false;
  json_t *process = json_loads(text, 0, NULL), *entry;
  const char *cwd = json_string_value(json_object_get(process, "cwd"));
  ret_birth->argv = split(argv, argv_length);
  ret_birth->environ = split(environ_data, environ_length);
  const char *program = json_string_value(json_object_get(process, "program"));
  ret_birth->cwd = cwd ? strdup(cwd) : NULL;
  ret_birth->program = program ? strdup(program) : NULL;
  if (!ret_birth->argv || !ret_birth->argv[0] || !ret_birth->environ || !ret_birth->cwd || !ret_birth->program) {
    snprintf(why, why_size, "%s is damaged; start the job anew", dir);
    return false;
  }
  ret_birth->umask = (uint32_t)json_integer_value(json_object_get(process, "umask"));
  size_t index;
  ret_birth->nlimits = 0;
  json_array_foreach(json_object_get(process, "limits"), index, entry) {
    if (ret_birth->nlimits == RLIM_NLIMITS) break;
    size_t i = ret_birth->nlimits++;
    ret_birth->limits[i].resource = (int)json_integer_value(json_array_get(entry, 0));
    ret_birth->limits[i].limit.rlim_cur = (rlim_t)json_integer_value(json_array_get(entry, 1));
    ret_birth->limits[i].limit.rlim_max = (rlim_t)json_integer_value(json_array_get(entry, 2));
  }
  json_decref(process);
  free(text);
  return true;
}
