# The commands that read the history (cli/local.mk includes this)
egida_history_sources = \
  cli/ask.c cli/ask.h \
  cli/checkpoint.c \
  cli/checkpoints.c \
  cli/clean.c \
  cli/clean_files.c cli/clean_files.h \
  cli/events.c \
  cli/history.c cli/history.h \
  cli/jobs.c \
  cli/migrate.c \
  cli/ranks.c \
  cli/status.c \
  cli/table.c cli/table.h
