# Commands about specifications, and the search for them that `egida run` uses too (cli/local.mk includes this)
egida_spec_sources = \
  cli/check.c \
  cli/explain.c \
  cli/specpath.c cli/specpath.h \
  cli/specprint.c cli/specprint.h \
  cli/specs.c
