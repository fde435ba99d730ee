// What the commands that read the history share.
#ifndef EGIDA_CLI_HISTORY_H
#define EGIDA_CLI_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/table.h"
#include "restartd/store_read.h"

#define EGD_JOB_ID_SIZE 128

/// The job that the operand names (NULL: the newest one). False after a message.
bool egd_cli_find_job(struct egd_history *history, const struct egd_list_options *options, const char *operand,
                      char ret_id[EGD_JOB_ID_SIZE]);

extern const struct egd_column egd_job_columns[];
/// Append a job to a table of egd_job_columns; `table` is a struct egd_table. Returns true.
bool egd_job_row(void *table, const struct egd_history_job *job);
/// "exited 3", "killed by signal 9 (Killed)", "-" for -1; into 64 bytes. Returns `text`.
char *egd_wait_status_format(long long wait_status, char *text);

#endif
