# The drop-in UCP: part of libegida.so; and the libraries that take the place of UCX's in a rank

libegida_ucp_sources = \
  runtime/ucp/adapter.h \
  runtime/ucp/am.c \
  runtime/ucp/datatype.c \
  runtime/ucp/match.c \
  runtime/ucp/match.h \
  runtime/ucp/memory.c \
  runtime/ucp/mpich.c \
  runtime/ucp/mpich.h \
  runtime/ucp/request.c \
  runtime/ucp/tag.c \
  runtime/ucp/unsupported.c \
  runtime/ucp/worker.c

# Stubs: found first by LD_LIBRARY_PATH, so that the real ones are never loaded. Version 0:0:0 gives libNAME.so.0.
stubsdir = $(pkglibdir)/stubs
stubs_LTLIBRARIES = runtime/ucp/libucp.la runtime/ucp/libucs.la runtime/ucp/libuct.la runtime/ucp/libucm.la
runtime_ucp_libucp_la_SOURCES = runtime/ucp/stub_empty.c
runtime_ucp_libucs_la_SOURCES = runtime/ucp/stub_ucs.c
runtime_ucp_libuct_la_SOURCES = runtime/ucp/stub_empty.c
runtime_ucp_libucm_la_SOURCES = runtime/ucp/stub_empty.c
runtime_ucp_libucp_la_LDFLAGS = -version-info 0:0:0
runtime_ucp_libucs_la_LDFLAGS = -version-info 0:0:0
runtime_ucp_libuct_la_LDFLAGS = -version-info 0:0:0
runtime_ucp_libucm_la_LDFLAGS = -version-info 0:0:0
