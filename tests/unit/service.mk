# Configuration, journals, what the cluster's service takes; the owner of a job for tests/t/restartd.t
service_test_libs = libegd_restartd.la libegd_common.la $(SQLITE_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += tests/unit/config tests/unit/journal tests/unit/service_job tests/fuzz/journal_fuzz
unit_test_helpers += tests/unit/service_job tests/fuzz/journal_fuzz
tests_unit_config_SOURCES = tests/unit/config.c tests/unit/tap_store.h
tests_unit_config_LDADD = libegd_common.la
tests_unit_journal_SOURCES = tests/unit/journal.c tests/unit/tap_store.h restartd/ingest.c
tests_unit_journal_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
tests_unit_journal_LDADD = $(service_test_libs)
tests_unit_service_job_SOURCES = tests/unit/service_job.c
tests_unit_service_job_LDADD = $(service_test_libs)
tests_fuzz_journal_fuzz_SOURCES = tests/fuzz/journal_fuzz.c
tests_fuzz_journal_fuzz_LDADD = $(service_test_libs)

EXTRA_DIST += tests/fuzz/corpus/journal
