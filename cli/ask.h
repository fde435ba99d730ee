// Requests to the launcher of a running job (docs/formats/control.md).
#ifndef EGIDA_CLI_ASK_H
#define EGIDA_CLI_ASK_H

#include <jansson.h>
#include <stdint.h>

#include "cli/table.h"
#include "cli/history.h"

/// Send `request` (stolen; its "op" is the command's) to the launcher of the job named `operand`, wait for the reply, and
/// print it with --json. `ret_id` gets the job's full id. True: done. False after a message.
bool egd_cli_ask(const char *command, const struct egd_list_options *options, const char *operand, json_t *request,
                 uint64_t timeout_ns, char ret_id[EGD_JOB_ID_SIZE]);
/// Parse the value of --timeout. False after a message.
bool egd_cli_timeout(const char *command, const char *value, uint64_t *ret_timeout_ns);

#endif
