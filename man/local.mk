# man: sources and products of this room
include man/history.mk
include man/spec.mk
