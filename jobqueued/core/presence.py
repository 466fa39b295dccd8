"""The presence of a host in its fleet: when it was there last, whatever its clock and its power did since."""

from __future__ import annotations

from jobqueued.fleet import FleetMark
from jobqueued.model import MINUTE, Now


class Presence:
    """That of this host."""

    def __init__(self) -> None:
        self.mark = FleetMark()
        """The mark of the fleet that was told last; `at`: when the host was there last before it began."""
        self.ended = 0
        """When (wall) it ceased to be there last; 0: not since it began."""
        self._back = 0
        """By how much (ns) the clock was set back since."""
        self._forward = 0, 0
        """When (monotonic) the clock was set forward last, or the host slept, and by how much (ns)."""

    def stepped(self, step: int, mono: int) -> None:
        """Follow a step of the clock, or a sleep of the host, which may also have stood still as the clock went on."""
        if step > 0:
            self._forward = mono, step
        else:
            self._back -= step

    def end(self, now: Now) -> None:
        """Note that the host is not in the fleet any more, which it may hear only after it has stood still."""
        mono, step = self._forward
        is_recent = step > 0 and now.mono - mono <= MINUTE
        self.ended, self._back = now.wall - step if is_recent else now.wall, 0

    def until(self, known: int, wall: int) -> int:
        """Return until when (by the clock as it is now) the host was there; 0: nobody knows.  `known`: as it began."""
        was_there = (self.ended or known) - self._back
        return was_there if was_there <= wall else 0

    def may_have_begun(self, start: int) -> int:
        """Return when an occurrence may have begun elsewhere at the earliest, by the time of its start here."""
        return start - self._back

    def saved(self, wall: int, *, is_there: bool) -> FleetMark:
        """Return the mark as it is to be saved.  A host that is not there yet has reached etcd, and heard nothing."""
        return self.mark._replace(at=wall if is_there else self.ended or self.mark.at)
