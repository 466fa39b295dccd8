"""Notices: who is notified of which event, how often, and of its end (pure; docs/notices.md)."""
