"""The last instant when a host was in its fleet, corrected for later clock steps and sleep."""

from __future__ import annotations

from jobqueued.base.instants import MINUTE
from jobqueued.model.fleet import FleetMark
from jobqueued.model.job import Now


class Presence:
    """The last instant when this host was in its fleet."""

    def __init__(self) -> None:
        self.mark = FleetMark()
        """The newest mark of the fleet. Its `at` is the instant when the host was last in the fleet before the
        scheduler started.
        """
        self.ended = 0
        """The instant (wall) when the host last left the fleet, or 0 if it has not left since the scheduler started."""
        self._back = 0
        """Total (ns) of the clock's steps back since the host last left the fleet."""
        self._forward = 0, 0
        """Instant (monotonic) and length (ns) of the last forward step of the clock or sleep of the host."""

    def stepped(self, step: int, mono: int) -> None:
        """Record a step of the clock, or a sleep of the host."""
        if step > 0:
            self._forward = mono, step
        else:
            self._back -= step

    def end(self, now: Now) -> None:
        """Record that the host left the fleet; a host that slept notices this only after it woke up."""
        mono, step = self._forward
        is_recent = step > 0 and now.mono - mono <= MINUTE
        self.ended, self._back = now.wall - step if is_recent else now.wall, 0

    def until(self, known: int, wall: int) -> int:
        """Return when the host was last in the fleet, by its current clock, or 0 if unknown.

        `known`: the instant that was saved before the scheduler started.
        """
        was_there = (self.ended or known) - self._back
        return was_there if was_there <= wall else 0

    def may_have_begun(self, start: int) -> int:
        """Return the earliest instant when another host may have started an occurrence that this host would start at
        `start`.
        """
        return start - self._back

    def saved(self, wall: int, *, is_there: bool) -> FleetMark:
        """Return the mark to save. `is_there` is False while this host is not in the fleet, including when it reached
        etcd but received nothing yet.
        """
        return self.mark._replace(at=wall if is_there else self.ended or self.mark.at)
