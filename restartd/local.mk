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
  restartd/credential.c restartd/credential.h \
  restartd/journal.c restartd/journal.h \
  restartd/journal_record.c restartd/journal_record.h \
  restartd/recovery_times.c restartd/recovery_times.h \
  restartd/schema.c restartd/schema.h \
  restartd/store.c restartd/store.h restartd/store_private.h \
  restartd/store_facts.c \
  restartd/store_process.c restartd/store_process.h \
  restartd/store_read.c restartd/store_read.h \
  restartd/upstream.c restartd/upstream.h \
  restartd/upstream_connect.c restartd/upstream_connect.h
libegd_restartd_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS) $(MUNGE_CFLAGS)
libegd_restartd_la_LIBADD = $(SQLITE_LIBS) $(JANSSON_LIBS) $(MUNGE_LIBS)

# The service
sbin_PROGRAMS += egida-restartd
egida_restartd_service_sources = \
  restartd/ingest.c restartd/ingest.h \
  restartd/notify.c restartd/notify.h \
  restartd/service.c restartd/service.h restartd/service_private.h \
  restartd/service_nodes.c \
  restartd/service_session.c \
  restartd/slurm_node.c restartd/slurm_node.h
egida_restartd_SOURCES = restartd/main.c $(egida_restartd_service_sources)
egida_restartd_CPPFLAGS = $(AM_CPPFLAGS) $(SLURM_CPPFLAGS)
egida_restartd_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)
egida_restartd_LDADD = libegd_restartd.la libegd_common.la $(SQLITE_LIBS) $(JANSSON_LIBS) $(SLURM_LIBS)
