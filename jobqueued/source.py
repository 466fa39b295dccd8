"""Sources of events, as the loop knows them: what to poll, when to look, and what has happened then.

Recipe for a new one: derive a class from `Source`, override only what it has, return what happened as events (in
events.py; the scheduler decides about each), and add a line to the list in `Daemon.__init__`.  The loop needs no edit.

Nothing here may wait: while a source looks, everything else stands still.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobqueued.events import Event
    from jobqueued.model import Now


def soonest(times: Iterable[int | None]) -> int | None:
    """The first of some times; None: all are None."""
    found = [time for time in times if time is not None]
    return min(found) if found else None


class Source:
    """An origin of events that has nothing to tell: the defaults of all others."""

    def descriptors(self) -> Mapping[int, int]:
        """Descriptors to wait for, each with its bits for poll(2); asked before each sleep."""
        return {}

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) from which `turn` is to be called; None: no such time."""
        return None

    @property
    def has_more(self) -> bool:
        """True if `turn` is to be called at once, without a sleep."""
        return False

    @property
    def troubles(self) -> Sequence[str]:
        """All that is not as it should be now and lasts, for people: `jobqueuectl status` and `doctor` tell it.

        What is said as `trouble` in the log and is over with that is none of these.
        """
        return ()

    def ready(self, descriptor: int, now: Now) -> Iterable[Event]:
        """Events behind a descriptor that poll(2) has told of.

        It may have been closed since, and its number be another file's, by what was ready before it.
        """
        return ()

    def turn(self, now: Now) -> Iterable[Event]:
        """Events that are due: after `ready` of all sources, if there is more or the deadline is over."""
        return ()
