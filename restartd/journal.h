// The journal of one job: what was recorded of it and not confirmed by the cluster's service (docs/formats/journal.md).
//
// It never fails a job: what can't be written is said once and missing at the service.
#ifndef EGIDA_RESTARTD_JOURNAL_H
#define EGIDA_RESTARTD_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "restartd/store_private.h"

struct egd_journal;

/// Open DIR/journal/JOB to write and to read it. NULL after a message. egd_journal_close() it.
struct egd_journal *egd_journal_open(const char *dir, const char *job);
/// Open one that an earlier owner left, to read it. NULL without a message: it has an owner, or is not a journal of this
/// user.
struct egd_journal *egd_journal_open_left(const char *dir, const char *job);
/// Removes the file if all of it is confirmed. NULL is fine.
void egd_journal_close(struct egd_journal *journal);

const char *egd_journal_job(const struct egd_journal *journal);
/// `fn` is called after each record that was appended.
void egd_journal_on_append(struct egd_journal *journal, void (*fn)(void *arg), void *arg);
/// The number of the next record.
uint64_t egd_journal_next(const struct egd_journal *journal);
/// Append a fact of the job; `durable` ones also where the journal has reached its limit.
void egd_journal_append(struct egd_journal *journal, enum egd_fact fact, bool durable, unsigned count,
                        const struct egd_value *values);

/// Read again from the first record above `acknowledged`. False: that is above all that was written: the service knows
/// another life of this job.
bool egd_journal_rewind(struct egd_journal *journal, uint64_t acknowledged);
/// The next whole records, about `size` bytes, at least one if there is one. Returns the number of bytes, *ret_data is
/// valid until the next call, *ret_newest is the number of the last of them; 0: nothing more to read.
size_t egd_journal_read(struct egd_journal *journal, size_t size, const unsigned char **ret_data, uint64_t *ret_newest);
/// All up to `seq` is committed by the service.
void egd_journal_acknowledge(struct egd_journal *journal, uint64_t seq);
/// Everything is.
bool egd_journal_is_confirmed(const struct egd_journal *journal);

#endif
