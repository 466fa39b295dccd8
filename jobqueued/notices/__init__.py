"""Notices: the people to notify of an event and of its end, and how often (docs/notices.md).  Pure.

`happenings` creates events from log lines, `incidents` joins the events of one problem, `outbox` keeps notices until
they are sent. Begin with `notices`.
"""
