// Between store.c (the file: open, transactions, trouble) and store_facts.c (the statements).
#ifndef EGIDA_RESTARTD_STORE_PRIVATE_H
#define EGIDA_RESTARTD_STORE_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

// The numbers are those of docs/formats/journal.md: new facts come behind the others.
enum egd_fact {
  EGD_FACT_JOB_BEGIN,
  EGD_FACT_JOB_STARTED,
  EGD_FACT_JOB_END,
  EGD_FACT_JOB_END_RANKS,
  EGD_FACT_NODE_UP,
  EGD_FACT_NODE_LOST,
  EGD_FACT_RANK_START,
  EGD_FACT_RANK_END,
  EGD_FACT_CHECKPOINT,
  EGD_FACT_LOG,
  EGD_FACT_FAILURE,
  EGD_FACT_RECOVERY,
  EGD_FACT_EVENT,
  EGD_FACT_CLEANED,
  EGD_FACT_FORGET_JOB,
  EGD_FACT_FORGET_NODES,
  EGD_FACT_FORGET_RANKS,
  EGD_FACT_FORGET_CHECKPOINTS,
  EGD_FACT_FORGET_LOGS,
  EGD_FACT_FORGET_FAILURES,
  EGD_FACT_FORGET_RECOVERIES,
  EGD_FACT_FORGET_EVENTS,
  EGD_FACT_JOURNAL,
  EGD_FACTS,
};
struct egd_fact_form {
  const char *sql;
  const char *values; // types, as in docs/formats/journal.md; NULL: this fact is of the folder and not shipped
};
extern const struct egd_fact_form egd_fact_forms[EGD_FACTS];
#define EGD_FAILURE_ORIGIN 9   // the value of EGD_FACT_FAILURE that is its number in the owner's journal
#define EGD_RECOVERY_FAILURE 4 // the value of EGD_FACT_RECOVERY that is a failure's number

// A value to bind. EGD_NULL_IF turns "unknown" numbers into NULL.
struct egd_value {
  enum { EGD_VALUE_NULL, EGD_VALUE_INTEGER, EGD_VALUE_TEXT } kind;
  int64_t integer;
  const char *text;
};
#define EGD_INTEGER(x) ((struct egd_value){.kind = EGD_VALUE_INTEGER, .integer = (int64_t)(x)})
#define EGD_TEXT(x) egd_value_text(x)
#define EGD_NULL_IF(condition, x)                                                                                      \
  ((condition) ? (struct egd_value){.kind = EGD_VALUE_NULL}                                                            \
               : (struct egd_value){.kind = EGD_VALUE_INTEGER, .integer = (int64_t)(x)})
static inline struct egd_value egd_value_text(const char *text) {
  return (struct egd_value){.kind = text ? EGD_VALUE_TEXT : EGD_VALUE_NULL, .text = text};
}

struct egd_store;
// Write one fact; values[i] is parameter i + 1. Returns the row id of an insert, 0 without history.
int64_t egd_store_write(struct egd_store *store, enum egd_fact fact, bool durable, unsigned count,
                        const struct egd_value *values);
#define EGD_WRITE(store, fact, durable, ...)                                                                           \
  egd_store_write(store, fact, durable, sizeof((struct egd_value[]){__VA_ARGS__}) / sizeof(struct egd_value),          \
                  (struct egd_value[]){__VA_ARGS__})

// Keep the begin of the job: a database that is moved aside in the middle of the job starts the new one with it.
void egd_store_remember_job(struct egd_store *store, unsigned count, const struct egd_value *values);
// A history that was given up because the disk was full may have room again: once more, at the end of a job.
void egd_store_try_again(struct egd_store *store);

// For the cluster's service, which writes facts of others in transactions of its own (ingest.c).
struct sqlite3;
/// NULL: the history can't be used now.
struct sqlite3 *egd_store_database(const struct egd_store *store);
/// Run one statement; a transaction is begun if none is. An SQLite result code.
int egd_store_run(struct egd_store *store, enum egd_fact fact, unsigned count, const struct egd_value *values);
/// Commit with all syncs. SQLITE_OK, or the transaction was given up, and what can be done about it was done.
int egd_store_commit(struct egd_store *store);
/// Try again where the history could not be used.
void egd_store_reopen(struct egd_store *store);
/// After an SQLite error in a transaction: it is given up; a damaged history is replaced.
void egd_store_abandon(struct egd_store *store, int rc);

uint64_t egd_store_now_ns(void); // CLOCK_REALTIME

#endif
