"""Instants (since 1970 UTC) and durations: integers in nanoseconds, so that comparisons are exact and cheap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from jobqueued.child.contract.instants import to_text

MILLISECOND, SECOND, MINUTE = 1_000_000, 1_000_000_000, 60_000_000_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = range(-DAY, 7_258_118_400 * SECOND + DAY)
"""The accepted instants: the years 1970 to 2199 in every timezone. 64-bit integers would last until 2262."""
STEP_LIMIT = 3 * HOUR
"""Longest step of the clock (ns) that is not a correction. If a due time that was already handled is further in the
future, the clock was wrong when the due time was handled.
"""
LEAPING = "right/"
"""Prefix of timezones that count leap seconds. The host's clock does not count leap seconds, so jobs would be due half
a minute early.
"""


class Trigger(Protocol):
    """A time-based rule that makes a job due."""

    @property
    def starts_twice(self) -> bool:
        """True if a time that the clock shows twice makes the job due twice."""

    def after(self, instant: datetime) -> datetime | None:
        """Return the first due time strictly after `instant`, or None if none follows. Both are aware datetimes."""


def to_datetime(instant: int) -> datetime:
    """Return the aware UTC datetime of an instant, truncated to microseconds."""
    return _EPOCH + timedelta(microseconds=instant // 1000)


def to_instant(moment: datetime) -> int:
    """Return the exact instant of an aware datetime. Raises ValueError if it is outside `INSTANTS`."""
    instant = exactly(moment)
    if instant not in INSTANTS:
        raise ValueError(f"{moment} is not in the years 1970 to 2199")
    return instant


def exactly(moment: datetime) -> int:
    """Return the exact instant of an aware datetime, even outside `INSTANTS`."""
    delta = moment - _EPOCH
    return ((delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000
