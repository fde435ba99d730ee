libegida_libc_sources = \
  runtime/libc/clocks.c \
  runtime/libc/descriptors.c \
  runtime/libc/dispatch.c \
  runtime/libc/files.c \
  runtime/libc/intent.h \
  runtime/libc/internal.h \
  runtime/libc/libc.h \
  runtime/libc/process.c \
  runtime/libc/signals.c \
  runtime/libc/streams.c \
  runtime/libc/table.c \
  runtime/libc/tempnames.c
