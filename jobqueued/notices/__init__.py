"""Notices: the people to notify of an event, how often, and of its end (docs/notices.md). Pure.

`happenings` makes events from log lines, `incidents` joins those of one problem, `outbox` keeps notices until they are
sent. Begin with `notices`.
"""
