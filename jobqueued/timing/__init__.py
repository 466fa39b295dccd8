"""Due times of jobs, in any zone and over any change of the clock.  Pure."""
