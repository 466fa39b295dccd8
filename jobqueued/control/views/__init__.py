"""Jobs, runs and problems as plain data for replies.

`seen` leaves out what a user may not see; `texts` keeps replies that many callers share. Begin with `views`.
"""
