"""What survives a restart: state.db and the record files."""
