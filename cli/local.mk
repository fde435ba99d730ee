# cli: the program egida
include cli/history.mk
bin_PROGRAMS += egida
egida_SOURCES = \
  cli/check.c \
  cli/commands.h \
  cli/config.c \
  cli/doctor.c cli/doctor.h \
  cli/doctor_checks.c \
  cli/explain.c \
  cli/main.c \
  cli/run.c cli/run.h \
  cli/run_job.c \
  cli/run_options.c \
  cli/run_program.c \
  cli/run_start.c \
  cli/sim.c \
  cli/specpath.c cli/specpath.h \
  cli/specprint.c cli/specprint.h \
  cli/specs.c \
  cli/steward.c cli/steward.h \
  cli/steward_lost.c \
  cli/steward_output.c \
  cli/steward_slurm.c \
  $(egida_history_sources)
egida_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(SQLITE_CFLAGS)
egida_LDADD = libegd_sim.la libegd_restartd.la libegd_protocol.la libegd_common.la $(JANSSON_LIBS) $(SQLITE_LIBS) -lm -ldl
