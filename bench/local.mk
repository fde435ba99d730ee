# bench: programs for bench/compare, built with a stock MPICH's wrapper
bench_sources = bench/programs/allreduce.c bench/programs/overlap.c bench/programs/pingpong.c
EXTRA_DIST += bench/compare $(bench_sources)

.PHONY: build-bench
build-bench:
	$(MKDIR_P) bench/programs
	for source in $(bench_sources); do \
	  mpicc.mpich -std=gnu11 -O2 -Wall -Wextra -o $${source%.c} $(top_srcdir)/$$source || exit 1; \
	done
