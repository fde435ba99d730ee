# The mover; a variable, because its unit tests and its fuzzer are built of the same files.
egida_mover_sources = \
  pmix_agent/mover.c pmix_agent/mover.h pmix_agent/mover_internal.h \
  pmix_agent/mover_adopt.c \
  pmix_agent/mover_determinants.c \
  pmix_agent/mover_link.c \
  pmix_agent/mover_mirror.c \
  pmix_agent/mover_stream.c \
  pmix_agent/mover_wire.c pmix_agent/mover_wire.h \
  pmix_agent/replica.c pmix_agent/replica.h \
  pmix_agent/replica_disk.c pmix_agent/replica_disk.h \
  pmix_agent/replica_kept.c pmix_agent/replica_kept.h
