"""The watched directories, from which job files come."""
