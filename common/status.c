#include "common/status.h"

const char *egd_status_string(enum egd_status status) {
  switch (status) {
  case EGD_OK: return "success";
  case EGD_ERR_INVALID: return "invalid input";
  case EGD_ERR_UNSUPPORTED: return "not supported";
  case EGD_ERR_EXISTS: return "exists already";
  case EGD_ERR_NOT_FOUND: return "not found";
  case EGD_ERR_NO_MEMORY: return "out of memory";
  case EGD_ERR_NO_SPACE: return "no space left";
  case EGD_ERR_IO: return "input/output error";
  case EGD_ERR_PERMISSION: return "permission denied";
  case EGD_ERR_TIMEOUT: return "timed out";
  case EGD_ERR_CORRUPT: return "corrupt data";
  case EGD_ERR_VERSION: return "written by another version";
  case EGD_ERR_FOREIGN: return "belongs to another job, program or machine";
  case EGD_ERR_DIVERGED: return "replay diverged from the first execution";
  case EGD_ERR_LOST: return "more failures than the protocol tolerates";
  }
  return "unknown status";
}
