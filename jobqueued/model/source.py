"""Sources of events for the loop. Each returns the descriptors to poll, the time of its next check, and its events.

To add a source, derive a class from `Source`, override the methods that the source needs, and add a line to the list in
`Daemon._sources`. The methods return events (model/events.py), which the scheduler handles.  The loop needs no change.
A source must never block: while it works, the whole daemon waits.
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
    """A source without events: the base class of all sources."""

    def descriptors(self) -> Mapping[int, int]:
        """Return the descriptors to wait for, each with its bits for poll(2). The loop calls this method before each
        sleep.
        """
        return {}

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) when the loop must call `turn`, or None if no call is needed."""
        return None

    @property
    def has_more(self) -> bool:
        """True if the loop must call `turn` again without a sleep."""
        return False

    @property
    def troubles(self) -> Sequence[str]:
        """Descriptions of the lasting problems, which `jobqueuectl status` and `doctor` show.

        Momentary problems are only logged, as `trouble`.
        """
        return ()

    def ready(self, descriptor: int, now: Now) -> Iterable[Event]:
        """Handle a descriptor that poll(2) reported; return the events.

        An earlier handler may have closed the descriptor, so its number may belong to another file now.
        """
        return ()

    def turn(self, now: Now) -> Iterable[Event]:
        """Return the events that are due.

        The loop calls this after `ready` of all sources, if `has_more` is true or the deadline has passed.
        """
        return ()
