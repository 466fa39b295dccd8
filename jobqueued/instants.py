"""Instants: integers, nanoseconds since 1970 UTC, so that comparisons are exact and cheap; durations are those, too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from jobqueued.child.instants import to_text

MILLISECOND, SECOND, MINUTE = 1_000_000, 1_000_000_000, 60_000_000_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = range(-DAY, 7_258_118_400 * SECOND + DAY)
"""The instants that are accepted: the years 1970 to 2199 as every zone has them.  64 bits end in 2262."""
STEP_LIMIT = 3 * HOUR
"""A due time that has had its turn, and is further ahead of the clock than this, is a wrong clock's."""
LEAPING = "right/"
"""The zones whose clock counts leap seconds, as the host's does not: by these all would be due half a minute early."""


class Trigger(Protocol):
    """A rule by which the clock makes a job due."""

    @property
    def starts_twice(self) -> bool:
        """True if a time that the clock shows twice makes it due twice."""

    def after(self, instant: datetime) -> datetime | None:
        """The first due time strictly later than `instant`, both aware; None: never again."""


def to_datetime(instant: int) -> datetime:
    """The aware UTC datetime of an instant, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=instant // 1000)


def to_instant(moment: datetime) -> int:
    """The instant of an aware datetime, exactly; ValueError: it is none of `INSTANTS`."""
    instant = exactly(moment)
    if instant not in INSTANTS:
        raise ValueError(f"{moment} is not in the years 1970 to 2199")
    return instant


def exactly(moment: datetime) -> int:
    """The instant of an aware datetime, also beyond `INSTANTS`."""
    delta = moment - _EPOCH
    return ((delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000
