"""Where a source left off: the local store; and what interrupted runs have left undecided."""
