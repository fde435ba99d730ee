#include "protocol/modules/modules.h"

static const char *const phrases[] = {"{ source , sesn|ssn , dest , desn|dsn }", NULL};

const struct egd_module egd_module_determinant_structure_source_ssn_dest_dsn = {
    .abi_version = EGD_MODULE_ABI_VERSION,
    .variable = EGD_VARIABLE_DETERMINANT_STRUCTURE,
    .value = "source-ssn-dest-dsn",
    .name = "{source, ssn, dest, dsn}",
    .phrases = phrases,
    .doc = "The sender of the message, its send sequence number, the receiver, and the receiver's delivery "
           "sequence number. Stored with the number of progress calls since the previous admission, so that "
           "non-arrival is repeated as well.",
};
