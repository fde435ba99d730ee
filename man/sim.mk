# The simulator's page (man/local.mk includes this)
man1_MANS += man/egida-sim.1
EXTRA_DIST += man/egida-sim.1
