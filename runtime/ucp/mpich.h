// What the adapter knows about MPICH's active messages.
#ifndef EGIDA_RUNTIME_UCP_MPICH_H
#define EGIDA_RUNTIME_UCP_MPICH_H

#include <stdbool.h>
#include <stddef.h>

#define EGD_MPICH_AM_ID 0u       // MPICH sends all under this one id
#define EGD_MPICH_HEADER_MAX 96u // no header of fixed size is longer

/// Is the MPI library one whose headers we know?
bool egd_mpich_known(void);
/// Clear the bytes of a message's header that MPICH leaves uninitialised. `header` holds its first `length` bytes.
void egd_mpich_clean(unsigned char *header, size_t length);

#endif
