# sim: the protocol core in a virtual world
noinst_LTLIBRARIES += libegd_sim.la
libegd_sim_la_SOURCES = sim/sim.h sim/world.h sim/agent.c sim/campaign.c sim/image.c sim/oracle.c sim/program.c \
  sim/rank.c sim/run.c sim/util.c sim/world.c
