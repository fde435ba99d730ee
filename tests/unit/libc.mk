# System calls: programs are run with the trapped calls of runtime/libc over a log, killed, and replayed
check_PROGRAMS += tests/unit/libc_catch
tests_unit_libc_catch_SOURCES = tests/unit/libc_catch.c
tests_unit_libc_catch_CPPFLAGS = $(AM_CPPFLAGS) -DLIBC_TEST_SOURCE='"$(abs_top_srcdir)"' -DLIBC_TEST_CC='"$(CC)"' \
  -DLIBC_TEST_RUNTIME='"$(libegida_libc_sources)"'
unsanitized_tests += tests/unit/libc_catch
EXTRA_DIST += tests/unit/libc_app.c tests/unit/libc_app.cc tests/unit/libc_app.f90 tests/unit/libc_preload.c
