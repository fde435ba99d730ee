noinst_LTLIBRARIES += libegd_restartd.la
libegd_restartd_la_SOURCES = \
  restartd/controller.c restartd/controller.h restartd/controller_private.h \
  restartd/controller_cluster.c \
  restartd/controller_inject.c \
  restartd/controller_nodes.c \
  restartd/controller_output.c \
  restartd/controller_pmi.c \
  restartd/controller_ranks.c \
  restartd/controller_requests.c \
  restartd/recovery_times.c restartd/recovery_times.h \
  restartd/schema.c restartd/schema.h \
  restartd/store.c restartd/store.h restartd/store_private.h \
  restartd/store_facts.c \
  restartd/store_process.c restartd/store_process.h \
  restartd/store_read.c restartd/store_read.h
libegd_restartd_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)
libegd_restartd_la_LIBADD = $(SQLITE_LIBS) $(JANSSON_LIBS)
EXTRA_DIST += docs/formats/store.md
