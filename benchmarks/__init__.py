"""What Cello costs, measured beside its peers; README.md says how to run and read it."""
