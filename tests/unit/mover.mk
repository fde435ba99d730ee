# The mover and the node gate
check_PROGRAMS += tests/unit/gate tests/unit/mover tests/unit/mover_parts
tests_unit_gate_SOURCES = tests/unit/gate.c
tests_unit_gate_LDADD = libegd_protocol.la
mover_test_sources = tests/unit/mover_world.h $(egida_mover_sources)
mover_test_libs = libegd_protocol.la libegd_common.la $(CRYPTO_LIBS)
tests_unit_mover_SOURCES = tests/unit/mover.c $(mover_test_sources)
tests_unit_mover_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) -pthread
tests_unit_mover_LDADD = $(mover_test_libs)
tests_unit_mover_parts_SOURCES = tests/unit/mover_parts.c $(mover_test_sources)
tests_unit_mover_parts_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) -pthread
tests_unit_mover_parts_LDADD = $(mover_test_libs)

# Standard input to a mover's decoder; with -DEGD_LIBFUZZER an entry for libFuzzer.
check_PROGRAMS += tests/fuzz/mover_fuzz
unit_test_helpers += tests/fuzz/mover_fuzz
tests_fuzz_mover_fuzz_SOURCES = tests/fuzz/mover_fuzz.c $(mover_test_sources)
tests_fuzz_mover_fuzz_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) -pthread
tests_fuzz_mover_fuzz_LDADD = $(mover_test_libs)
