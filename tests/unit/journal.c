// Records, the journal's file, and what the service takes of them.
#include "restartd/journal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/status.h"
#include "restartd/ingest.h"
#include "restartd/journal_record.h"
#include "restartd/store.h"
#include "tests/unit/tap_store.h"

#define JOB "20261121-120000-abcd"
#define FILE_NAME "d/journal/" JOB

// ---- records ------------------------------------------------------------------------------------------------------------

static unsigned char *bytes;
static size_t bytes_size;

static size_t encode(uint64_t seq, enum egd_fact fact, unsigned count, const struct egd_value *values) {
  struct egd_record record = {.seq = seq, .fact = fact, .count = count};
  memcpy(record.values, values, count * sizeof *values);
  return egd_record_encode(&record, &bytes, &bytes_size);
}

static size_t started(uint64_t seq, const char *job) {
  struct egd_value values[] = {EGD_TEXT(job), EGD_INTEGER(1234)};
  return encode(seq, EGD_FACT_JOB_STARTED, 2, values);
}

static void test_records(void) {
  static const unsigned char golden[] = {
      0x2f, 0,    0,    0,    0x24, 0x0a, 0x45, 0x70, 5,    0,
      0,    0,    1,    0,    0,    0,    12,   7,    0,    0, // head: event, seq 0x100000005
      2,    1,    0,    0,    0,    'j',  0,                   // job
      1,    0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,    // at_ns -2
      2,    1,    0,    0,    0,    'k',  0,                   // kind
      0,    0,    0,    0,                                     // rank, node, text, json
  };
  struct egd_value values[] = {EGD_TEXT("j"),        EGD_INTEGER(-2),      EGD_TEXT("k"),       EGD_NULL_IF(true, 0),
                               EGD_NULL_IF(true, 0), EGD_NULL_IF(true, 0), EGD_NULL_IF(true, 0)};
  size_t length = encode(0x100000005, EGD_FACT_EVENT, 7, values), got = 0;
  bool same =
      length == sizeof golden && memcmp(bytes, golden, 4) == 0 && memcmp(bytes + 8, golden + 8, length - 8) == 0;
  ok(same, "a record, byte by byte");
  ok(memcmp(bytes + 4, golden + 4, 4) == 0, "and its checksum (%02x %02x %02x %02x)", bytes[4], bytes[5], bytes[6],
     bytes[7]);
  struct egd_record record;
  ok(egd_record_decode(bytes, length, &record, &got) == EGD_OK && got == length && record.seq == 0x100000005 &&
         record.fact == EGD_FACT_EVENT && record.count == 7 && strcmp(record.values[2].text, "k") == 0 &&
         record.values[1].integer == -2 && record.values[6].kind == EGD_VALUE_NULL,
     "and back");
  bool torn = true, damaged = true;
  for (size_t i = 0; i < length; i++) {
    torn &= egd_record_decode(bytes, i, &record, &got) == EGD_ERR_NOT_FOUND && got == (i < 4 ? 0 : length);
    unsigned char *copy = malloc(length);
    memcpy(copy, bytes, length);
    copy[i] ^= 0x10;
    damaged &= egd_record_decode(copy, length, &record, &got) != EGD_OK;
    free(copy);
  }
  ok(torn, "a part of it is known as a part");
  ok(damaged, "no changed byte passes");

  char *long_text = malloc(3 << 20);
  memset(long_text, 'x', 3 << 20);
  long_text[(3 << 20) - 1] = 0;
  values[5] = EGD_TEXT(long_text);
  length = encode(1, EGD_FACT_EVENT, 7, values);
  ok(length > 0 && egd_record_decode(bytes, length, &record, &got) == EGD_OK &&
         record.values[5].kind == EGD_VALUE_NULL && strcmp(record.values[2].text, "k") == 0,
     "a text that fits no record is left out, the rest stays");
  long_text[900000] = 0;
  length = encode(1, EGD_FACT_EVENT, 7, values);
  ok(egd_record_decode(bytes, length, &record, &got) == EGD_OK && strlen(record.values[5].text) == 900000,
     "a long one that fits is kept");
  free(long_text);
}

// ---- the file -----------------------------------------------------------------------------------------------------------

static int appended;
static void on_append(void *arg) {
  appended++;
}

static void event(struct egd_journal *journal, const char *text, bool durable) {
  struct egd_value values[] = {EGD_TEXT(JOB),   EGD_INTEGER(1), EGD_TEXT("k"),       EGD_INTEGER(0),
                               EGD_INTEGER(-1), EGD_TEXT(text), EGD_NULL_IF(true, 0)};
  egd_journal_append(journal, EGD_FACT_EVENT, durable, 7, values);
}

// How many records there are to read; the numbers of the first and the last.
static unsigned read_all(struct egd_journal *journal, size_t part, uint64_t *ret_first, uint64_t *ret_last) {
  const unsigned char *data;
  size_t length;
  unsigned count = 0;
  uint64_t newest = 0;
  *ret_first = *ret_last = 0;
  while ((length = egd_journal_read(journal, part, &data, &newest)) > 0)
    for (size_t used = 0, size; used < length; used += size) {
      struct egd_record record;
      if (egd_record_decode(data + used, length - used, &record, &size) != EGD_OK || record.seq <= *ret_last) return 0;
      if (!count++) *ret_first = record.seq;
      *ret_last = record.seq;
    }
  return newest == *ret_last ? count : 0;
}

static off_t size_of(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 ? status.st_size : -1;
}

static void test_file(void) {
  uint64_t first, last, second_last;
  mkdir("d", 0700);
  struct egd_journal *journal = egd_journal_open("d", JOB);
  egd_journal_on_append(journal, on_append, NULL);
  ok(journal && egd_journal_is_confirmed(journal), "a new journal has nothing to confirm");
  ok(egd_journal_open_left("d", JOB) == NULL, "it has an owner: nobody else takes it");
  for (int i = 0; i < 1000; i++) event(journal, "something happened", false);
  ok(appended == 1000 && !egd_journal_is_confirmed(journal), "a thousand records");
  ok(read_all(journal, 300, &first, &last) == 1000 && last - first == 999, "read in small parts, without gaps");
  ok(first > (uint64_t)200000000 << 32 && (uint32_t)first == 1, "numbers begin with the time of the opening");
  ok(egd_journal_rewind(journal, first + 499) && read_all(journal, 65536, &first, &last) == 500,
     "again from the middle");
  ok(!egd_journal_rewind(journal, last + 1), "not from what was never written");
  egd_journal_acknowledge(journal, last - 1);
  ok(!egd_journal_is_confirmed(journal), "all but one are confirmed");
  egd_journal_close(journal);

  int fd = open(FILE_NAME, O_WRONLY | O_APPEND);
  ok(write(fd, "\x30\0\0\0torn", 8) == 8 && size_of(FILE_NAME) > 0, "a record is torn by the end of its owner");
  close(fd);
  journal = egd_journal_open_left("d", JOB);
  ok(journal && read_all(journal, 65536, &first, &second_last) == 1000 && second_last == last,
     "it can be sent by others");
  egd_journal_close(journal);
  journal = egd_journal_open("d", JOB);
  event(journal, "resumed", true);
  ok(read_all(journal, 65536, &first, &second_last) == 1001 && second_last >> 32 > last >> 32,
     "or by its owner who goes on, with greater numbers");
  egd_journal_acknowledge(journal, second_last);
  egd_journal_close(journal);
  ok(size_of(FILE_NAME) < 0, "all confirmed: the file goes");

  journal = egd_journal_open("d", JOB);
  char text[2000];
  memset(text, 't', sizeof text - 1);
  text[sizeof text - 1] = 0;
  for (int i = 0; i < 1000; i++) event(journal, text, false);
  read_all(journal, 65536, &first, &last);
  egd_journal_acknowledge(journal, last);
  ok(size_of(FILE_NAME) < 3000, "a long one is cut when all is confirmed (%lld bytes)", (long long)size_of(FILE_NAME));
  event(journal, "on", false);
  ok(read_all(journal, 65536, &first, &second_last) == 1 && second_last == last + 1, "and goes on");
  egd_journal_rewind(journal, 0);
  ok(read_all(journal, 65536, &first, &second_last) == 2 && (uint32_t)first == 1,
     "its first record is there for a service that lost all");

  if (ftruncate(open(FILE_NAME, O_WRONLY), 8) != 0) exit(1);
  egd_journal_rewind(journal, 0);
  ok(read_all(journal, 65536, &first, &last) == 0, "a file that loses its records is no trouble");
  egd_journal_close(journal);
  unlink(FILE_NAME);

  fd = open(FILE_NAME, O_WRONLY | O_CREAT, 0600);
  ok(write(fd, "something else", 14) == 14, "a file that is no journal");
  close(fd);
  ok(egd_journal_open_left("d", JOB) == NULL && size_of(FILE_NAME) == 14, "is left alone");
  unlink(FILE_NAME);
  if (symlink("/etc/passwd", FILE_NAME) != 0) exit(1);
  ok(egd_journal_open_left("d", JOB) == NULL && egd_journal_open("d", JOB) == NULL, "nor is a link followed");
  unlink(FILE_NAME);
}

// ---- what the service takes ----------------------------------------------------------------------------------------------

static int64_t ask(const char *sql) {
  sqlite3 *db;
  sqlite3_stmt *statement;
  int64_t value = -1;
  sqlite3_open_v2("s/history.db", &db, SQLITE_OPEN_READONLY, NULL);
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
    value = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  sqlite3_close(db);
  return value;
}

static void test_ingest(void) {
  const char *why = NULL;
  mkdir("s", 0700);
  struct egd_store *store = egd_store_open_for_service("s");
  struct egd_ingest_job mine = {.id = JOB, .uid = 1000, .user = "ada"},
                        theirs = {.id = JOB, .uid = 2000, .user = "eve"};
  ok(egd_ingest_find(store, &mine) == EGD_OK && mine.applied == 0, "a new job is anybody's");
  ok(egd_ingest_find(store, &theirs) == EGD_OK, "until its first record");
  struct egd_value begin[15] = {EGD_TEXT(JOB), EGD_TEXT("[\"a\"]"), [7] = EGD_TEXT("eve"), [10] = EGD_INTEGER(5)};
  size_t length = encode(10, EGD_FACT_JOB_BEGIN, 15, begin);
  ok(egd_ingest_records(store, &mine, bytes, length, &why) == EGD_OK && mine.applied == 10, "it begins");
  ok(egd_ingest_records(store, &theirs, bytes, started(11, JOB), &why) == EGD_ERR_FOREIGN && why,
     "another user who registered it too is refused (%s)", why ? why : "");
  why = NULL;
  ok(egd_store_commit(store) == SQLITE_OK && ask("SELECT count(*) FROM jobs WHERE user = 'ada'") == 1,
     "the user is who sent it, not who is said");
  ok(egd_ingest_find(store, &theirs) == EGD_ERR_FOREIGN, "another user can't register it any more");

  ok(egd_ingest_records(store, &mine, bytes, started(11, "other"), &why) == EGD_ERR_FOREIGN, "a record of another job");
  unsigned char two[512];
  size_t first = started(11, JOB);
  memcpy(two, bytes, first);
  size_t second = started(12, "other");
  memcpy(two + first, bytes, second);
  ok(egd_ingest_records(store, &mine, two, first + second, &why) == EGD_ERR_FOREIGN && mine.applied == 10 &&
         egd_store_commit(store) == SQLITE_OK && ask("SELECT count(*) FROM jobs WHERE started_ns IS NULL") == 1,
     "takes back the good ones before it");
  ok(egd_ingest_records(store, &mine, two, first - 1, &why) == EGD_ERR_CORRUPT, "half a record");
  second = started(11, JOB);
  memcpy(two + first, bytes, second);
  ok(egd_ingest_records(store, &mine, two, first + second, &why) == EGD_ERR_CORRUPT, "the same number twice");

  struct egd_value wrong[] = {EGD_TEXT(JOB), EGD_TEXT("5")};
  ok(egd_ingest_records(store, &mine, bytes, encode(12, EGD_FACT_JOB_STARTED, 2, wrong), &why) == EGD_ERR_FOREIGN,
     "a text for a number");
  wrong[1] = EGD_NULL_IF(true, 0);
  ok(egd_ingest_records(store, &mine, bytes, encode(12, EGD_FACT_JOB_STARTED, 2, wrong), &why) == EGD_ERR_FOREIGN,
     "NULL for a number that must be");
  ok(egd_ingest_records(store, &mine, bytes, encode(12, EGD_FACT_JOB_STARTED, 1, wrong), &why) == EGD_ERR_FOREIGN,
     "too few values");
  unsigned refused = 0;
  for (int fact = EGD_FACT_CLEANED; fact < EGD_FACTS; fact++)
    refused += egd_ingest_records(store, &mine, bytes, encode(12, fact, 1, begin), &why) == EGD_ERR_FOREIGN;
  ok(refused == EGD_FACTS - EGD_FACT_CLEANED, "facts that are not shipped");

  struct egd_value event[] = {EGD_TEXT(JOB),       EGD_INTEGER(1),  EGD_TEXT("k"),
                              EGD_INTEGER(0),      EGD_INTEGER(-1), EGD_TEXT("robert'); DROP TABLE jobs;--"),
                              EGD_NULL_IF(true, 0)};
  length = encode(20, EGD_FACT_EVENT, 7, event);
  for (int i = 0; i < 3; i++) egd_ingest_records(store, &mine, bytes, length, &why);
  egd_store_commit(store);
  for (int i = 0; i < 3; i++) egd_ingest_records(store, &mine, bytes, length, &why);
  egd_store_commit(store);
  ok(ask("SELECT count(*) FROM events") == 1 && ask("SELECT count(*) FROM jobs") == 1,
     "a record that comes again is one");
  ok(ask("SELECT applied FROM journals WHERE job = '" JOB "' AND uid = 1000") == 20, "the history knows how far it is");

  struct egd_value failure[10] = {EGD_TEXT(JOB), EGD_INTEGER(1), EGD_INTEGER(0), EGD_INTEGER(0), [9] = EGD_INTEGER(77)};
  struct egd_value recovery[16] = {EGD_TEXT(JOB), EGD_INTEGER(1), EGD_INTEGER(0), EGD_INTEGER(1), EGD_INTEGER(77)};
  egd_ingest_records(store, &mine, bytes, encode(21, EGD_FACT_FAILURE, 10, failure), &why);
  egd_ingest_records(store, &mine, bytes, encode(22, EGD_FACT_RECOVERY, 16, recovery), &why);
  egd_store_commit(store);
  ok(ask("SELECT f.origin FROM recoveries r JOIN failures f ON f.id = r.failure") == 77 &&
         ask("SELECT id FROM failures") == 1,
     "a recovery finds its failure by the number that its owner gave it");
  egd_store_close(store);

  store = egd_store_open_for_service("s");
  ok(egd_ingest_find(store, &mine) == EGD_OK && mine.applied == 22, "so it is after the service began again");
  egd_store_close(store);

  // The owner's side of the same.
  mkdir("o", 0700);
  store = egd_store_open("o");
  struct egd_journal *journal = egd_journal_open("o", JOB);
  egd_store_set_journal(store, journal);
  struct egd_store_failure fact = {.job = JOB, .rank = 1, .exit_code = -1};
  int64_t number = egd_store_failure(store, &fact);
  egd_store_cleaned(store, JOB, 0);
  egd_store_event(store, NULL, "k", -1, -1, "of no job", NULL);
  const unsigned char *data;
  uint64_t newest;
  struct egd_record record = {0};
  length = egd_journal_read(journal, 4096, &data, &newest);
  ok(length > 0 && egd_record_decode(data, length, &record, &first) == EGD_OK && first == length &&
         record.fact == EGD_FACT_FAILURE && record.values[EGD_FAILURE_ORIGIN].integer == (int64_t)record.seq,
     "a failure is shipped with its number, what is of the folder is not");
  uint64_t failure_seq = record.seq;
  struct egd_store_recovery of_it = {.job = JOB, .failure = number, .rank = 1, .image = 1};
  egd_store_recovery(store, &of_it);
  length = egd_journal_read(journal, 4096, &data, &newest);
  ok(length > 0 && egd_record_decode(data, length, &record, &first) == EGD_OK && record.fact == EGD_FACT_RECOVERY &&
         record.values[EGD_RECOVERY_FAILURE].integer == (int64_t)failure_seq,
     "its recovery names that");
  egd_store_close(store);
  egd_journal_close(journal);
}

int main(void) {
  test_records();
  test_file();
  test_ingest();
  free(bytes);
  return done();
}
