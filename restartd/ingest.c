#include "restartd/ingest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include <sqlite3.h>

#include "common/status.h"
#include "restartd/journal_record.h"
#include "restartd/store_private.h"

#define JOB_BEGIN_USER 7 // the value of EGD_FACT_JOB_BEGIN that names the user

int egd_ingest_find(struct egd_store *store, struct egd_ingest_job *job) {
  sqlite3 *db = egd_store_database(store);
  sqlite3_stmt *statement;
  if (!db) return EGD_ERR_IO;
  int rc = sqlite3_prepare_v2(db, "SELECT uid, applied FROM journals WHERE job = ?1", -1, &statement, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_bind_text(statement, 1, job->id, -1, SQLITE_STATIC);
  if (rc == SQLITE_OK) rc = sqlite3_step(statement);
  int64_t uid = sqlite3_column_int64(statement, 0), applied = sqlite3_column_int64(statement, 1);
  sqlite3_finalize(statement);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
    egd_store_abandon(store, rc);
    return EGD_ERR_IO;
  }
  if (rc == SQLITE_ROW && uid != (int64_t)job->uid) return EGD_ERR_FOREIGN;
  job->applied = rc == SQLITE_ROW ? (uint64_t)applied : 0;
  return EGD_OK;
}

// What is wrong with a record, NULL if nothing is.
static const char *fault_of(const struct egd_record *record, const struct egd_ingest_job *job) {
  const char *types = egd_fact_forms[record->fact].values;
  if (!types || record->count != strlen(types)) return "a record is not of a fact that is shipped";
  for (unsigned i = 0; i < record->count; i++) {
    int kind = record->values[i].kind;
    bool fits = kind == EGD_VALUE_NULL ? islower((unsigned char)types[i])
                                       : tolower((unsigned char)types[i]) == (kind == EGD_VALUE_TEXT ? 't' : 'i');
    if (!fits) return "a value is not of the type that its fact asks for";
  }
  return strcmp(record->values[0].text, job->id) == 0 ? NULL : "a record names another job than this connection";
}

// Two passes, so that a frame with a fault leaves no trace.
static int check(const struct egd_ingest_job *job, const unsigned char *data, size_t length, const char **ret_why) {
  struct egd_record record;
  uint64_t before = 0;
  for (size_t used = 0, size; used < length; used += size) {
    if (egd_record_decode(data + used, length - used, &record, &size) != EGD_OK || record.seq <= before) {
      *ret_why = "what came is not a row of records";
      return EGD_ERR_CORRUPT;
    }
    before = record.seq;
    *ret_why = fault_of(&record, job);
    if (*ret_why) return EGD_ERR_FOREIGN;
  }
  return EGD_OK;
}

int egd_ingest_records(struct egd_store *store, struct egd_ingest_job *job, const unsigned char *data, size_t length,
                       const char **ret_why) {
  int status = check(job, data, length, ret_why);
  // Looked up each time: two users may have registered the same new job, and the first records decide.
  if (status == EGD_OK) status = egd_ingest_find(store, job);
  if (status == EGD_ERR_FOREIGN && !*ret_why) *ret_why = "this job is another user's";
  if (status != EGD_OK) return status;
  uint64_t applied = job->applied;
  int rc = SQLITE_OK;
  struct egd_record record;
  for (size_t used = 0, size; rc == SQLITE_OK && used < length; used += size) {
    egd_record_decode(data + used, length - used, &record, &size);
    if (record.seq <= applied) continue;
    if (record.fact == EGD_FACT_JOB_BEGIN) record.values[JOB_BEGIN_USER] = EGD_TEXT(job->user);
    rc = egd_store_run(store, record.fact, record.count, record.values);
    applied = record.seq;
  }
  if (rc == SQLITE_OK && applied > job->applied) {
    struct egd_value values[] = {EGD_TEXT(job->id), EGD_INTEGER(job->uid), EGD_INTEGER(applied)};
    rc = egd_store_run(store, EGD_FACT_JOURNAL, 3, values);
  }
  if (rc != SQLITE_OK) {
    egd_store_abandon(store, rc);
    return EGD_ERR_IO;
  }
  job->applied = applied;
  return EGD_OK;
}
