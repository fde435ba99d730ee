# Reactor, frames, links, private files; PMI-1
check_PROGRAMS += tests/unit/common_loop tests/unit/common_files tests/unit/pmi1
tests_unit_common_loop_SOURCES = tests/unit/common_loop.c tests/unit/tap_store.h
tests_unit_common_loop_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_common_loop_LDADD = libegd_common.la $(JANSSON_LIBS)
tests_unit_common_files_SOURCES = tests/unit/common_files.c tests/unit/tap_store.h
tests_unit_common_files_LDADD = libegd_common.la $(JANSSON_LIBS)
tests_unit_pmi1_SOURCES = tests/unit/pmi1.c tests/unit/tap_store.h pmix_agent/pmi1.c pmix_agent/pmi1.h
