#include "protocol/modules/modules.h"

static const char *const phrases[] = {"message", "messages", "data", NULL};

static const char *bind(struct egd_plan *plan, const struct egd_binding *binding) {
  if (binding->use == EGD_USE_DETERMINANT_LOG)
    return "the contents of messages are logged by their sender (send: Log message …)";
  if (binding->use == EGD_USE_MESSAGE_LOG) plan->flags |= EGD_PLAN_LOG_MESSAGES;
  return NULL;
}

const struct egd_module egd_module_event_info_message = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_EVENT_INFO,
    .value = "message",
    .name = "message",
    .phrases = phrases,
    .doc = "The contents of a message, kept so that a restarted receiver can read it again. Egida keeps them at "
           "the sender: the log is the channel that the receiver reads, so that logging costs no copy of its "
           "own.",
    .traits = EGD_TRAIT_PAYLOAD,
    .bind = bind,
};
