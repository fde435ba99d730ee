# packaging: what an installation has besides programs and manuals
# The service under systemd. Units are below the prefix by default, so that an installation needs no other place.
systemdsystemunitdir = @systemdsystemunitdir@
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
systemdsystemunit_DATA = packaging/systemd/egida-restartd.service
sysusers_DATA = packaging/systemd/sysusers.d/egida-restartd.conf
tmpfiles_DATA = packaging/systemd/tmpfiles.d/egida-restartd.conf
filled_in += $(systemdsystemunit_DATA) $(sysusers_DATA) $(tmpfiles_DATA)

# Examples for /etc
examplesdir = $(docdir)/examples
dist_examples_DATA = packaging/egida.conf
if SLURM
plugstackdir = $(examplesdir)/plugstack.conf.d
plugstack_DATA = packaging/plugstack.conf.d/egida.conf
endif
filled_in += packaging/plugstack.conf.d/egida.conf

EXTRA_DIST += packaging/build-deb packaging/debian
