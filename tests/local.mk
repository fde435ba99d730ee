# tests: unit tests (a fragment per part), test programs, what ./run-tests asks of the build
# Built by check, but no tests in themselves.
unit_test_helpers =
# Need what the sanitizers take: fixed addresses, static linking, their own signal handling.
unsanitized_tests =

include tests/unit/checkpoint.mk
include tests/unit/common.mk
include tests/unit/core.mk
include tests/unit/libc.mk
include tests/unit/mover.mk
include tests/unit/protocol.mk
include tests/unit/restartd.mk
include tests/unit/service.mk
include tests/unit/sim.mk
include tests/unit/ucp.mk

EXTRA_DIST += .ci/run tests/campaign tests/tap-run tests/lab tests/lib tests/programs tests/t

.PHONY: build-tests build-test-programs build-sanitized-tests list-unit-tests list-sanitized-tests
build-test-programs:
	$(MAKE) -f $(abs_top_srcdir)/tests/programs/programs.mk OUT=$(abs_top_builddir)/tests/programs
build-tests: all $(check_PROGRAMS) build-test-programs
build-sanitized-tests: $(check_PROGRAMS)

list-unit-tests:
	@for test in $(check_PROGRAMS); do \
	  case " $(unit_test_helpers) " in *" $$test "*) ;; *) echo $${test#tests/unit/} ;; esac; \
	done
list-sanitized-tests:
	@for test in $(check_PROGRAMS); do \
	  case " $(unit_test_helpers) $(unsanitized_tests) " in *" $$test "*) ;; *) echo $${test#tests/unit/} ;; esac; \
	done

check-local: $(check_PROGRAMS)
	$(top_srcdir)/tests/tap-run `for test in \`$(MAKE) -s --no-print-directory list-unit-tests\`; do echo unit/$$test=$(abs_top_builddir)/tests/unit/$$test; done`
