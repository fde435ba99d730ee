# runtime/checkpoint: the image writer, part of libegida.so
libegida_checkpoint_sources = \
  runtime/checkpoint/checksum.h \
  runtime/checkpoint/context.S \
  runtime/checkpoint/describe.c \
  runtime/checkpoint/extra.c \
  runtime/checkpoint/format.h \
  runtime/checkpoint/header.c \
  runtime/checkpoint/image.h \
  runtime/checkpoint/internal.h \
  runtime/checkpoint/memory.c \
  runtime/checkpoint/scratch.c \
  runtime/checkpoint/scratch.h \
  runtime/checkpoint/take.c \
  runtime/checkpoint/text.h \
  runtime/checkpoint/write.c
