# specs: sources and products of this room
specsdir = $(pkgdatadir)/specs
dist_specs_DATA = specs/default.egd specs/none.egd specs/pessimistic.egd specs/pessimistic-nfs.egd
