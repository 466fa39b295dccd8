"""Instants as text: RFC 3339 in UTC with microseconds, the format of records, replies and JSON lines."""

from __future__ import annotations

import time

FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
"""The same format, for strftime on a datetime in UTC."""


_FIRST, _LAST = -62_135_510_400, 253_402_214_400
"""First and last instant (seconds since 1970) whose year has four digits in every time zone."""


def to_text(instant: int) -> str:
    """Format nanoseconds since 1970 as ``2026-11-24T02:00:00.000000Z``, cut to microseconds and to years 1 to 9999."""
    seconds, rest = divmod(instant, 1_000_000_000)
    seconds = min(max(seconds, _FIRST), _LAST)
    t = time.gmtime(seconds)
    return f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}.{rest // 1000:06}Z"
