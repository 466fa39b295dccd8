"""Jobs, runs and problems as plain data for replies.

`seen` omits data that a user may not see. `texts` keeps replies that many callers share. Begin with `views`.
"""
