# The service and the configuration (man/local.mk includes this). The list of options is the program's own.
man5_MANS += man/egida.conf.5
man8_MANS += man/egida-restartd.8
EXTRA_DIST += man/egida.conf.5.in man/egida-restartd.8.in
CLEANFILES += man/egida.conf.5 man/egida-restartd.8 man/options.tmp
service_man_paths = -e 's|[@]sysconfdir[@]|$(sysconfdir)|g' -e 's|[@]localstatedir[@]|$(localstatedir)|g' -e 's|[@]runstatedir[@]|$(runstatedir)|g'
man/egida.conf.5: man/egida.conf.5.in egida$(EXEEXT)
	@$(MKDIR_P) man
	$(AM_V_GEN)./egida config --man >man/options.tmp && sed $(service_man_paths) -e '/@OPTIONS@/{r man/options.tmp' -e 'd}' \
	  $(srcdir)/man/egida.conf.5.in >$@.tmp && mv $@.tmp $@ && rm -f man/options.tmp
man/egida-restartd.8: man/egida-restartd.8.in Makefile
	@$(MKDIR_P) man
	$(AM_V_GEN)sed $(service_man_paths) $(srcdir)/man/egida-restartd.8.in >$@.tmp && mv $@.tmp $@
