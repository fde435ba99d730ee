# Pages on specifications (man/local.mk includes this)
spec_mans = man/egida-check.1 man/egida-explain.1 man/egida-specs.1
man1_MANS += $(spec_mans)
man5_MANS += man/egida-spec.5
EXTRA_DIST += $(spec_mans) man/egida-spec.5 docs/spec-language.md
