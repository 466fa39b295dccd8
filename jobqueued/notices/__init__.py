"""Notices: who is told what, once and again (pure; docs/notices.md)."""
