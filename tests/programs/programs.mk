# Builds the test programs with the wrappers of a stock MPICH: make -f programs.mk OUT=folder
HERE := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
OUT ?= $(HERE)/out
MPICC ?= mpicc.mpich
MPICXX ?= mpicxx.mpich
MPIFC ?= mpif90.mpich

C := $(patsubst $(HERE)/%.c,%,$(wildcard $(HERE)/*.c))
CXX_ := $(patsubst $(HERE)/%.cpp,%,$(wildcard $(HERE)/*.cpp))
F := $(patsubst $(HERE)/%.f90,%,$(wildcard $(HERE)/*.f90))

all: $(addprefix $(OUT)/,$(C) $(CXX_) $(F))

# MPI_STATUSES_IGNORE is a null array: gcc takes it for a short one.
$(addprefix $(OUT)/,$(C)): $(OUT)/%: $(HERE)/%.c $(HERE)/check.h $(HERE)/history.h | $(OUT)
	$(MPICC) -std=gnu11 -O2 -g -Wall -Wextra -Wno-stringop-overflow -pthread -o $@ $<
$(addprefix $(OUT)/,$(CXX_)): $(OUT)/%: $(HERE)/%.cpp | $(OUT)
	$(MPICXX) -std=c++17 -O2 -g -Wall -Wextra -o $@ $<
$(addprefix $(OUT)/,$(F)): $(OUT)/%: $(HERE)/%.f90 | $(OUT)
	$(MPIFC) -O2 -g -Wall -Wno-unused-dummy-argument -J $(OUT) -o $@ $<
$(OUT):
	mkdir -p $@
