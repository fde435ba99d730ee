# protocol: sources and products of this room

# The core (engine, gate) needs nothing; the specification language allocates and runs in the command line only. The
# library of ranks compiles the engine itself.
noinst_LTLIBRARIES += libegd_protocol.la
libegd_protocol_la_SOURCES = protocol/determinant.h protocol/engine.c protocol/engine.h protocol/gate.c \
  protocol/gate.h protocol/registry.c protocol/registry.h protocol/synthesis.c protocol/synthesis.h \
  protocol/spec/check.c protocol/spec/diagnostic.h protocol/spec/expected.c protocol/spec/expected.h protocol/spec/grammar.y \
  protocol/spec/lexer.c protocol/spec/lexer.h protocol/spec/parse.c protocol/spec/parse.h protocol/spec/spec.h \
  protocol/spec/text.h protocol/modules/modules.h protocol/modules/table.c protocol/modules/unimplemented.c \
  protocol/modules/event/send.c \
  protocol/modules/event/receive.c \
  protocol/modules/event/read.c \
  protocol/modules/event/write.c \
  protocol/modules/determinant-structure/source-ssn-dest-dsn.c \
  protocol/modules/output-commit-proto/independent.c \
  protocol/modules/event-info/determinant.c \
  protocol/modules/event-info/message.c \
  protocol/modules/how-to-log/synchronously.c \
  protocol/modules/stable-storage/nfs-disk.c \
  protocol/modules/stable-storage/volatile-memory-of-processes.c \
  protocol/modules/volatile-storage/volatile-memory-of-self.c \
  protocol/modules/ckpt-proto/independent.c \
  protocol/modules/how-to-ckpt/synchronously.c \
  protocol/modules/how-to-ckpt/asynchronously.c \
  protocol/modules/ckpt-impl/full.c \
  protocol/modules/recovery-get-det-proto/distributed.c \
  protocol/modules/scheduling-policy/periodic.c \
  protocol/modules/scheduling-policy/on-request.c
BUILT_SOURCES += protocol/spec/grammar.h
# Also where a single target is made.
protocol/spec/parse.lo: protocol/spec/grammar.h
