// Stands in for libucs.so.0 in ranks: the real one starts threads, installs signal handlers and reads the clock when
// it's loaded. MPI libraries need this one function of it, for their error messages.
#include <ucs/type/status.h>

const char *ucs_status_string(ucs_status_t status) {
  switch (status) {
  case UCS_OK:
    return "Success";
  case UCS_INPROGRESS:
    return "Operation in progress";
  case UCS_ERR_NO_MEMORY:
    return "Out of memory";
  case UCS_ERR_INVALID_PARAM:
    return "Invalid parameter";
  case UCS_ERR_UNREACHABLE:
    return "Destination is unreachable";
  case UCS_ERR_MESSAGE_TRUNCATED:
    return "Message truncated";
  case UCS_ERR_CANCELED:
    return "Request canceled";
  case UCS_ERR_UNSUPPORTED:
    return "Operation is not supported";
  default:
    return "Error in the message layer";
  }
}
