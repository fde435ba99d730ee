# The page of egida and of egida run (man/local.mk includes this)
man1_MANS += man/egida.1
EXTRA_DIST += man/egida.1
