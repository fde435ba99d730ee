# runtime: what is loaded into a rank
include runtime/ucp/sources.mk
include runtime/libc/sources.mk
include runtime/checkpoint/sources.mk

pkglib_LTLIBRARIES += libegida.la
include_HEADERS += runtime/egida.h

# Engine and message log are compiled into the library: ranks load nothing else of ours.
libegida_la_SOURCES = \
  common/msglog.c \
  common/msglog.h \
  protocol/determinant.h \
  protocol/engine.c \
  protocol/engine.h \
  runtime/alloc.c \
  runtime/events.c \
  runtime/fault.c \
  runtime/images.c \
  runtime/images_log.c \
  runtime/images_log.h \
  runtime/internal.h \
  runtime/rank.c \
  runtime/rank.h \
  runtime/say.c \
  runtime/syscall.S \
  runtime/syscall.h \
  runtime/transport/channels.c \
  runtime/transport/kept.c \
  $(libegida_ucp_sources) \
  $(libegida_libc_sources) \
  $(libegida_checkpoint_sources)
# No builtin may turn into a call of the application's malloc or stdio; no stack protector: its guard is read before TLS is set up.
libegida_la_CFLAGS = $(AM_CFLAGS) -O2 -fvisibility=hidden -fno-stack-protector -fno-builtin-printf
libegida_la_CCASFLAGS = $(AM_CCASFLAGS)
libegida_la_LDFLAGS = -avoid-version -module -Wl,-z,now -Wl,-z,noexecstack

# Whatever hardening the builder's flags ask for: these come last, and are not a matter of taste here.
$(libegida_la_OBJECTS) $(egida_restart_OBJECTS): override CFLAGS += -fno-stack-protector -U_FORTIFY_SOURCE
