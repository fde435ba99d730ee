// Synthesis: from the text of a specification to the plan that ranks and agents execute.
//
// Pure as all of protocol/: the caller reads the file. Runs in the command line's process, never in a rank.
#ifndef EGIDA_PROTOCOL_SYNTHESIS_H
#define EGIDA_PROTOCOL_SYNTHESIS_H

#include <stddef.h>
#include "common/status.h"
#include "common/plan.h"
#include "protocol/spec/diagnostic.h"

struct egd_spec;

/// Parse, check and bind the specification `text`. `display_name` stands in messages; its last component without ".egd"
/// becomes the plan's name. Every error is given to `report` (which may be NULL, as may be `context`); notes are not.
/// EGD_OK; EGD_ERR_INVALID (does not parse, or cannot recover); EGD_ERR_UNSUPPORTED (sound, but a value has no module
/// in this build); EGD_ERR_NO_MEMORY. `*ret_plan` is untouched unless EGD_OK.
int egd_plan_compile(const char *text, size_t length, const char *display_name, struct egd_plan *ret_plan,
                     egd_report_fn report, void *context);

/// One line (no newline) on what the plan guarantees, for the start line of a run. Writes at most `size` bytes, always
/// NUL-terminated if size > 0. With one node nothing is promised for lost nodes by memory. Returns `buffer`.
const char *egd_plan_describe(const struct egd_plan *plan, uint32_t nnodes, char *buffer, size_t size);

/// The second half of egd_plan_compile, for a specification that was parsed and passed the checker.
int egd_plan_bind(const struct egd_spec *spec, const char *text, size_t length, struct egd_plan *ret_plan,
                  egd_report_fn report, void *context);

#endif
