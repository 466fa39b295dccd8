"""The life of runs: events in, commands out.  Pure."""
