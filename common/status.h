// Status codes shared by every room, grouped by the entity that they blame.
#ifndef EGIDA_COMMON_STATUS_H
#define EGIDA_COMMON_STATUS_H

enum egd_status {
  EGD_OK = 0,
  // the caller's input
  EGD_ERR_INVALID = -1,   // an argument or a document is not well-formed
  EGD_ERR_UNSUPPORTED = -2, // well-formed, but not something that this build can do
  EGD_ERR_EXISTS = -3,
  EGD_ERR_NOT_FOUND = -4,
  // the machine
  EGD_ERR_NO_MEMORY = -10,
  EGD_ERR_NO_SPACE = -11,
  EGD_ERR_IO = -12,
  EGD_ERR_PERMISSION = -13,
  EGD_ERR_TIMEOUT = -14,
  // stored or received data
  EGD_ERR_CORRUPT = -20,  // checksum or structure is wrong
  EGD_ERR_VERSION = -21,  // written by another version
  EGD_ERR_FOREIGN = -22,  // valid, but of another job, user, program or machine
  // the protocol
  EGD_ERR_DIVERGED = -30, // a replay did something else than the first execution
  EGD_ERR_LOST = -31,     // more failures than the protocol tolerates
};

/// A short English phrase for `status`; never NULL, static storage, async-signal-safe.
const char *egd_status_string(enum egd_status status);

#endif
