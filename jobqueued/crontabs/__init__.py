"""Crontabs: the text of a table → its lines, as cron reads them → Jobs or problems (pure)."""
