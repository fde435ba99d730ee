# The history store, its readers, sizes and durations
check_PROGRAMS += tests/unit/store tests/unit/size
tests_unit_store_SOURCES = tests/unit/store.c tests/unit/tap_store.h
tests_unit_store_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
tests_unit_store_LDADD = libegd_restartd.la libegd_common.la $(SQLITE_LIBS)
tests_unit_size_SOURCES = tests/unit/size.c tests/unit/tap_store.h
tests_unit_size_LDADD = libegd_restartd.la libegd_common.la
