# runtime/checkpoint: the image writer, part of libegida.so
libegida_checkpoint_sources = \
  runtime/checkpoint/buildid.c \
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

# The static loader: no libc, at an address that no image uses. Linked by the compiler driver itself, since libtool would drop -static.
pkglibexec_PROGRAMS += egida-restart
egida_restart_SOURCES = \
  runtime/checkpoint/buildid.c \
  runtime/checkpoint/context.S \
  runtime/checkpoint/header.c \
  runtime/checkpoint/restart.c \
  runtime/checkpoint/restart.h \
  runtime/checkpoint/restart_fds.c \
  runtime/checkpoint/restart_memory.c \
  runtime/checkpoint/restart_process.c \
  runtime/checkpoint/restart_start.S \
  runtime/checkpoint/restart_verify.c \
  runtime/checkpoint/scratch.c \
  runtime/syscall.S
egida_restart_CCASFLAGS = $(AM_CCASFLAGS)
egida_restart_CFLAGS = $(AM_CFLAGS) -O2 -fpie -fvisibility=hidden -fno-stack-protector -fno-tree-loop-distribute-patterns \
  -fno-asynchronous-unwind-tables -fcf-protection=none
egida_restart_LINK = $(CCLD) -static -no-pie -nostdlib -Wl,-Ttext-segment=0x3f0000000000 -Wl,-z,noexecstack -Wl,--build-id -o $@
