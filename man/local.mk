# man: sources and products of this room
include man/history.mk
include man/run.mk
include man/service.mk
include man/spec.mk
include man/sim.mk
include man/slurm.mk
