# spank: the Slurm plugin; only where Slurm's headers are
spank_egida_sources = \
  spank/allocator.c \
  spank/check.c \
  spank/local.c \
  spank/options.c \
  spank/plugin.c spank/plugin.h \
  spank/remote.c \
  spank/srun_options.c \
  spank/steward.c
if SLURM
pkglib_LTLIBRARIES += spank_egida.la
spank_egida_la_SOURCES = $(spank_egida_sources)
spank_egida_la_CPPFLAGS = $(AM_CPPFLAGS) $(SLURM_CPPFLAGS)
spank_egida_la_CFLAGS = $(AM_CFLAGS) -pthread
# nodelete: srun's end runs code of the plugin after Slurm has closed it. The plugin's symbols of Slurm are srun's.
spank_egida_la_LDFLAGS = -module -avoid-version -shared -Wl,-z,nodelete \
  -export-symbols-regex '^(slurm_spank_(init|init_post_opt|local_user_init|task_init)|plugin_(name|type|version)|spank_plugin_version)$$'
endif
EXTRA_DIST += $(spank_egida_sources)
