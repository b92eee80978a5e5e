"""Where a source left off: the local store."""
