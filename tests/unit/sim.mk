# The simulator: every crash point of short runs, and every rule of the protocol once left out
check_PROGRAMS += tests/unit/sim
tests_unit_sim_SOURCES = tests/unit/sim.c
tests_unit_sim_LDADD = libegd_sim.la libegd_protocol.la
