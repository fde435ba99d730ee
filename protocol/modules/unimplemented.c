// Values of the language (the paper's figure 2) that no module implements: known to the parser and to the checker,
// refused by synthesis.
#include "protocol/registry.h"

#define VALUE(variable_, value_, name_, phrases_, traits_, doc_)                                                       \
  {                                                                                                                    \
    .abi_version = EGD_MODULE_ABI_VERSION, .variable = EGD_VARIABLE_##variable_, .value = value_, .name = name_,       \
    .phrases = phrases_, .doc = doc_, .traits = EGD_TRAIT_NO_MODULE | (traits_)                                        \
  }
#define PHRASES(...) ((const char *const[]){__VA_ARGS__, NULL})

const struct egd_module egd_unimplemented_modules[] = {
    VALUE(
        OUTPUT_COMMIT_PROTO, "coordinated", "co-ordinated", NULL, EGD_TRAIT_COORDINATED,
        "Before output leaves, all processes on which it depends make their determinants stable. Needed by optimistic "
        "protocols; costs a round of messages per output."),
    VALUE(HOW_TO_LOG, "asynchronously", "asynchronously", NULL, 0,
          "The process goes on, and others may come to depend on it, before what it logged is stable. Needs a way to "
          "find orphans, or determinants piggybacked on messages."),
    VALUE(STABLE_STORAGE, "local-disk", "local disk", NULL, EGD_TRAIT_OUTLIVES_PROCESS,
          "A disk of the node: outlives its processes, not the node."),
    VALUE(VOLATILE_STORAGE, "local-disk", "local disk", NULL, EGD_TRAIT_OUTLIVES_PROCESS,
          "A disk of the node: outlives its processes, not the node."),
    VALUE(PB_VALUE, "determinants", "determinants", PHRASES("determinants|determinant"), EGD_TRAIT_DETERMINANT,
          "The determinants that are not yet stable ride on each message (causal logging): whoever depends on a state "
          "can "
          "also reproduce it."),
    VALUE(PB_VALUE, "determinants-dependency-matrix", "determinants, dependency matrix",
          PHRASES("determinants|determinant , dependency matrix"), EGD_TRAIT_DETERMINANT,
          "Determinants, and a matrix of who depends on whom, by which fewer of them need to be sent."),
    VALUE(PB_VALUE, "determinants-stability-matrix", "determinants, stability matrix",
          PHRASES("determinants|determinant , stability matrix"), EGD_TRAIT_DETERMINANT,
          "Determinants, and a matrix of how many processes hold which, by which fewer of them need to be sent."),
    VALUE(PB_VALUE, "determinants-stability-vector", "determinants, stability vector",
          PHRASES("determinants|determinant , stability vector"), EGD_TRAIT_DETERMINANT,
          "Determinants, and a vector of those that are stable already, by which fewer of them need to be sent."),
    VALUE(PB_VALUE, "vector-clock", "vector clock", NULL, EGD_TRAIT_DEPENDENCIES,
          "One counter per process: tells exactly which states a message depends on."),
    VALUE(PB_VALUE, "logical-clock", "logical clock", NULL, EGD_TRAIT_DEPENDENCIES,
          "One counter: an upper bound of what a message depends on."),
    VALUE(PB_VALUE, "checkpoint-counter", "checkpoint counter", NULL, EGD_TRAIT_CHECKPOINT_INDEX,
          "The number of checkpoints that the sender has taken; a receiver that is behind takes one first."),
    VALUE(CKPT_PROTO, "coordinated", "co-ordinated", NULL, EGD_TRAIT_COORDINATED,
          "All processes save their states such that these form a consistent cut; after a failure all go back to it."),
    VALUE(CKPT_PROTO, "communication-induced", "communication-induced",
          PHRASES("communication-induced", "communication induced"), EGD_TRAIT_INDUCED,
          "Processes checkpoint on their own, and additionally when the pattern of messages would make checkpoints "
          "useless."),
    VALUE(CKPT_IMPL, "incremental", "incremental", NULL, 0,
          "The image holds what changed since the previous one; a restart reads the whole chain."),
    VALUE(RECOVERY_GET_DET_PROTO, "centralized", "centralized", PHRASES("centralized|centralised"), 0,
          "One process collects the determinants for all that recover."),
    VALUE(ORPHAN_DETECTION_PROTO, "broadcast-logical-clock", "broadcast logical clock", NULL, 0,
          "The recovered process tells all others at which clock its lost states begin; those that depend on them roll "
          "back."),
    VALUE(ORPHAN_DETECTION_PROTO, "exchange-vector-clock", "exchange vector clock", NULL, 0,
          "Processes compare vector clocks with the recovered one; those that depend on lost states roll back."),
};
const size_t egd_nunimplemented_modules = sizeof(egd_unimplemented_modules) / sizeof(egd_unimplemented_modules[0]);
