# Images: programs that are restarted from them; images that are refused; the file format
image_test_defines = -DIMAGE_TEST_SOURCE='"$(abs_top_srcdir)"' -DIMAGE_TEST_BUILD='"$(abs_top_builddir)"' -DIMAGE_TEST_CC='"$(CC)"'
check_PROGRAMS += tests/unit/image_restart tests/unit/image_refuse tests/unit/image_format
tests_unit_image_restart_SOURCES = tests/unit/image_restart.c tests/unit/image_test.h
tests_unit_image_restart_CPPFLAGS = $(AM_CPPFLAGS) $(image_test_defines)
tests_unit_image_refuse_SOURCES = tests/unit/image_refuse.c tests/unit/image_test.h runtime/checkpoint/buildid.c runtime/checkpoint/header.c \
  runtime/checkpoint/scratch.c runtime/syscall.S
tests_unit_image_refuse_CFLAGS = $(AM_CFLAGS)
tests_unit_image_refuse_CPPFLAGS = $(AM_CPPFLAGS) $(image_test_defines)
tests_unit_image_format_SOURCES = tests/unit/image_format.c $(libegida_checkpoint_sources) runtime/syscall.S
tests_unit_image_format_CFLAGS = $(AM_CFLAGS)
unsanitized_tests += tests/unit/image_restart tests/unit/image_refuse tests/unit/image_format
EXTRA_DIST += tests/unit/image_guests tests/unit/image_harness.c tests/unit/image_harness.h
