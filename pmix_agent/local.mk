# pmix_agent: node agent, its mover, and the watchdog
include pmix_agent/mover.mk
pkglibexec_PROGRAMS += egida-agent egida-exec
egida_agent_SOURCES = \
  pmix_agent/agent.c pmix_agent/agent.h \
  pmix_agent/agent_launcher.c \
  pmix_agent/agent_ranks.c \
  pmix_agent/agent_requeue.c \
  pmix_agent/agent_start.c \
  pmix_agent/agent_watch.c \
  pmix_agent/control.h \
  $(egida_mover_sources)
egida_agent_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS) -pthread
egida_agent_LDADD = libegd_protocol.la libegd_common.la $(JANSSON_LIBS) $(CRYPTO_LIBS)
egida_exec_SOURCES = \
  pmix_agent/control.h \
  pmix_agent/exec.c pmix_agent/exec.h \
  pmix_agent/exec_spawn.c \
  pmix_agent/exec_task.c \
  pmix_agent/pmi1.c pmix_agent/pmi1.h
egida_exec_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
egida_exec_LDADD = libegd_common.la $(JANSSON_LIBS)
