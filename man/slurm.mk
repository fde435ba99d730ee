# The options of srun, salloc and sbatch (man/local.mk includes this)
man1_MANS += man/egida-srun.1
EXTRA_DIST += man/egida-srun.1
