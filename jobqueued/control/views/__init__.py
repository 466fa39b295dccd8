"""Jobs, runs and problems as plain data for replies.

`seen` omits data that a user may not see. `texts` caches replies that many callers share. Begin with `views`.
"""
