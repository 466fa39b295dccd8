"""Storage: what survives a restart, in state.db and the record files."""
