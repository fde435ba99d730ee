# common: what every room outside the ranks may use
noinst_LTLIBRARIES += libegd_common.la
libegd_common_la_SOURCES = \
  common/birth.c common/birth.h \
  common/config.c common/config.h \
  common/frame.c common/frame.h \
  common/install.c common/install.h \
  common/link.c common/link.h \
  common/log.c common/log.h \
  common/msglog.c common/msglog.h \
  common/nearest.c common/nearest.h \
  common/nodedir.c common/nodedir.h \
  common/plan.h \
  common/proof.c common/proof.h \
  common/reactor.c common/reactor.h \
  common/securepath.c common/securepath.h \
  common/segment.c common/segment.h \
  common/size.c common/size.h \
  common/status.c common/status.h \
  common/tcp.c common/tcp.h
libegd_common_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS)
libegd_common_la_LIBADD = $(JANSSON_LIBS) $(CRYPTO_LIBS)
