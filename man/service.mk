# The service and the configuration (man/local.mk includes this). The list of options is the program's own.
man5_MANS += man/egida.conf.5
man8_MANS += man/egida-restartd.8
filled_in += man/egida-restartd.8
EXTRA_DIST += man/egida.conf.5.in
CLEANFILES += man/egida.conf.5 man/options.tmp
man/egida.conf.5: man/egida.conf.5.in egida$(EXEEXT)
	@$(MKDIR_P) man
	$(AM_V_GEN)./egida config --man >man/options.tmp && $(fill_in) -e '/@OPTIONS@/{r man/options.tmp' -e 'd}' \
	  $(srcdir)/man/egida.conf.5.in >$@.tmp && mv $@.tmp $@ && rm -f man/options.tmp
