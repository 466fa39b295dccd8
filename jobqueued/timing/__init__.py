"""When a job is due, in any zone and over any change of the clock.  Pure."""
