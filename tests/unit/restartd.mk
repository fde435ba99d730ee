# The history store, its readers, sizes and durations
check_PROGRAMS += tests/unit/store tests/unit/size
tests_unit_store_SOURCES = tests/unit/store.c tests/unit/tap_store.h
tests_unit_store_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
tests_unit_store_LDADD = libegd_restartd.la libegd_common.la $(SQLITE_LIBS)
tests_unit_size_SOURCES = tests/unit/size.c tests/unit/tap_store.h
tests_unit_size_LDADD = libegd_restartd.la libegd_common.la

# Makes the histories that tests/t/history.t reads.
unit_test_helpers += tests/unit/history_fill
check_PROGRAMS += tests/unit/history_fill
tests_unit_history_fill_SOURCES = tests/unit/history_fill.c
tests_unit_history_fill_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
tests_unit_history_fill_LDADD = libegd_restartd.la libegd_common.la $(SQLITE_LIBS)
