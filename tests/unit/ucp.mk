# The drop-in UCP, without a network
ucp_fake_sources = tests/unit/ucp_fake.c tests/unit/ucp_fake.h $(libegida_ucp_sources)
check_PROGRAMS += tests/unit/ucp_match tests/unit/ucp_calls
tests_unit_ucp_match_SOURCES = tests/unit/ucp_match.c $(ucp_fake_sources)
tests_unit_ucp_calls_SOURCES = tests/unit/ucp_calls.c $(ucp_fake_sources)
# Flags of their own keep these objects apart from the library's.
tests_unit_ucp_match_CFLAGS = $(AM_CFLAGS)
tests_unit_ucp_calls_CFLAGS = $(AM_CFLAGS)
