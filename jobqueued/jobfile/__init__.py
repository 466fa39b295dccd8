"""The bytes of a job file become Jobs, or Problems with line and column. Pure."""
