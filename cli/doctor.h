// Shared by the files of `egida doctor`.
#ifndef EGIDA_CLI_DOCTOR_H
#define EGIDA_CLI_DOCTOR_H

#include <jansson.h>

enum doctor_verdict { DOCTOR_GOOD, DOCTOR_NOTE, DOCTOR_BAD };

/// Add a finding (printf): what is so, and for what is not good the next step.
void doctor_find(json_t *findings, enum doctor_verdict verdict, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// doctor_checks.c
void doctor_look_at_installation(json_t *findings);
void doctor_look_at_kernel(json_t *findings);
void doctor_look_at_limits(json_t *findings);
/// `program` NULL: only what MPI there is.
void doctor_look_at_mpi(json_t *findings, const char *program);
void doctor_look_at_slurm(json_t *findings);
void doctor_look_at_service(json_t *findings);

#endif
