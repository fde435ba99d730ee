// Facts that owners of jobs sent, into the history of the cluster's service: each exactly once, and only into jobs of the
// user who sent them.
#ifndef EGIDA_RESTARTD_INGEST_H
#define EGIDA_RESTARTD_INGEST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct egd_store;

struct egd_ingest_job {
  const char *id;
  uid_t uid;
  const char *user; // what the history shows as the job's user, whatever the records say
  uint64_t applied; // sequence number of the newest record in the history or in the open transaction
};

/// Look up job->id and set job->applied. EGD_OK; EGD_ERR_FOREIGN: it is another user's; EGD_ERR_IO: the history can't be
/// read now.
int egd_ingest_find(struct egd_store *store, struct egd_ingest_job *job);
/// Apply whole records to the open transaction (one is begun); all of them or none. EGD_OK: job->applied is the newest,
/// and stable after egd_store_commit(). EGD_ERR_CORRUPT, EGD_ERR_FOREIGN (a record names another job): the sender is at
/// fault, *ret_why says how. EGD_ERR_IO: the history is; the transaction was given up, with all that it held.
int egd_ingest_records(struct egd_store *store, struct egd_ingest_job *job, const unsigned char *data, size_t length,
                       const char **ret_why);

#endif
