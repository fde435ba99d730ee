# The message log and the engine
check_PROGRAMS += tests/unit/msglog
tests_unit_msglog_SOURCES = tests/unit/msglog.c
tests_unit_msglog_LDADD = libegd_common.la
unsanitized_tests += tests/unit/msglog
