// Links into the guest programs of the image tests (C, C++, Fortran): take images where the environment says so.
#ifndef EGIDA_TESTS_UNIT_IMAGE_HARNESS_H
#define EGIDA_TESTS_UNIT_IMAGE_HARNESS_H

#ifdef __cplusplus
extern "C" {
#endif

/// Counts its calls. At each call whose number is listed in IMAGE_POINTS ("3,7") an image is written to IMAGE_PATH and the process
/// kills itself; the restored one goes on. IMAGE_ASYNC=1: by a forked copy. IMAGE_ASYNC=late: the process goes on meanwhile and kills itself
/// at the next call only. IMAGE_ASYNC=die: it kills itself IMAGE_DELAY_US after the fork, while the copy writes.
void image_point(void);
/// Take an image now, whatever IMAGE_POINTS says (async-signal-safe).
void image_now(void);
/// Number of the incarnation: 0 in an undisturbed run.
int image_generation(void);

#ifdef __cplusplus
}
#endif
#endif
