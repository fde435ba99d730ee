# The specification language, its registry and synthesis
check_PROGRAMS += tests/unit/spec_language tests/unit/spec_synthesis tests/fuzz/spec_fuzz
unit_test_helpers += tests/fuzz/spec_fuzz
tests_unit_spec_language_SOURCES = tests/unit/spec_language.c tests/unit/spec_fixtures.h
tests_unit_spec_language_CPPFLAGS = $(AM_CPPFLAGS) -DEGD_TEST_SOURCE='"$(abs_top_srcdir)"'
tests_unit_spec_language_LDADD = libegd_protocol.la
tests_unit_spec_synthesis_SOURCES = tests/unit/spec_synthesis.c tests/unit/spec_fixtures.h
tests_unit_spec_synthesis_CPPFLAGS = $(AM_CPPFLAGS) -DEGD_TEST_SOURCE='"$(abs_top_srcdir)"'
tests_unit_spec_synthesis_LDADD = libegd_protocol.la
tests_fuzz_spec_fuzz_SOURCES = tests/fuzz/spec_fuzz.c
tests_fuzz_spec_fuzz_LDADD = libegd_protocol.la
EXTRA_DIST += tests/fixtures/specs tests/fuzz/corpus/spec
