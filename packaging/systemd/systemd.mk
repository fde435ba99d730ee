# The service under systemd; where systemd looks for units is the packager's to say
EXTRA_DIST += packaging/systemd/egida-restartd.service packaging/systemd/egida.sysusers packaging/systemd/egida.tmpfiles
