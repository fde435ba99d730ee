# Pages of the commands that read the history (man/local.mk includes this)
history_mans = man/egida-checkpoint.1 man/egida-checkpoints.1 man/egida-clean.1 man/egida-doctor.1 man/egida-events.1 man/egida-jobs.1 man/egida-migrate.1 \
  man/egida-ranks.1 man/egida-status.1
man1_MANS += $(history_mans)
EXTRA_DIST += $(history_mans)
