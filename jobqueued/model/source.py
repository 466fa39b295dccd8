"""Sources of events for the loop: what to poll, when to check, and what happened.

Recipe for a new one: derive a class from `Source`, override only what it needs, return what happened as events (in
model/events.py; the scheduler decides about each), and add a line to the list in `Daemon._sources`. The loop needs no
edit. Nothing here may block: while a source works, everything else waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobqueued.model.events import Event
    from jobqueued.model.job import Now


def soonest(times: Iterable[int | None]) -> int | None:
    """Return the earliest of some times, or None if all are None."""
    found = [time for time in times if time is not None]
    return min(found) if found else None


class Source:
    """A source without events: the defaults of all others."""

    def descriptors(self) -> Mapping[int, int]:
        """Return the descriptors to wait for, each with its bits for poll(2). The loop calls it before each sleep."""
        return {}

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) from which `turn` is to be called, or None."""
        return None

    @property
    def has_more(self) -> bool:
        """True if `turn` is to be called at once, without a sleep."""
        return False

    @property
    def troubles(self) -> Sequence[str]:
        """The lasting problems, for people: `jobqueuectl status` and `doctor` show them.

        Momentary problems are only logged, as `trouble`.
        """
        return ()

    def ready(self, descriptor: int, now: Now) -> Iterable[Event]:
        """Return the events behind a descriptor that poll(2) reported.

        An earlier handler may have closed it since, so its number may be another file's.
        """
        return ()

    def turn(self, now: Now) -> Iterable[Event]:
        """Return the events that are due: after `ready` of all sources, if there is more or the deadline is over."""
        return ()
