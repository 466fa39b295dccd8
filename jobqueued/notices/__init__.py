"""Notices: which people to notify of a problem and its end, and how often (docs/notices.md). Pure.

`happenings` makes events from log lines, `incidents` joins the events of one problem, and `outbox` keeps notices until
they are sent. Begin with `notices`.
"""
