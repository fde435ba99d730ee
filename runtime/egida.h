// Egida's interface for programs. None of it is needed: programs run unmodified. Include it to ask for images at good
// moments. There is nothing to link with: under Egida the functions are there, elsewhere they do nothing.
#ifndef EGIDA_H
#define EGIDA_H
#ifdef __cplusplus
extern "C" {
#endif

// In Egida's runtime, which is loaded into the ranks. Weak: without Egida its address is null.
int egida_checkpoint(void) __attribute__((weak));

/// Ask for an image of the calling rank now, at this point of the program. Returns at once when images are written
/// asynchronously (the default). 0, also without Egida. The image may still fail to be written (`egida checkpoints` shows
/// it); the job then goes on with the older ones. Call it from the thread that calls MPI, after MPI_Init.
static inline int egida_take_checkpoint(void) {
  return egida_checkpoint ? egida_checkpoint() : 0;
}

#ifdef __cplusplus
}
#endif
#endif
