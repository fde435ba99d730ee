// Egida's interface for programs. None of it is needed: programs run unmodified. Link with -legida only to ask for
// images at good moments; without Egida (the program started directly or by another launcher) the calls do nothing.
#ifndef EGIDA_H
#define EGIDA_H
#ifdef __cplusplus
extern "C" {
#endif

/// Ask for an image of the calling rank now, at this point of the program. Returns at once when images are written
/// asynchronously (the default). 0; the image may still fail to be written (`egida checkpoints` shows it), the job then
/// goes on with the older ones. Call it from the thread that calls MPI, after MPI_Init.
int egida_checkpoint(void);

#ifdef __cplusplus
}
#endif
#endif
