"""CPU time per answered request, for Cello and its peers in one run."""
