"""The standing of one job id: what is saved beside its definition, and its runs before their end."""

from __future__ import annotations

from dataclasses import field
from enum import Enum, auto
from typing import Any

from jobqueued.child.tuples import NamedTuple
from jobqueued.core.usual import likely
from jobqueued.model import Run, RunId
from jobqueued.nouns import dataclass
from jobqueued.run_states import Unstarted
from jobqueued.saved import SavedJob


class Fault(Enum):
    """The kinds of what makes a job invalid on this host."""

    IMPOSSIBLE = auto()
    """It claims more than there is: none of its runs can ever be admitted."""
    UNKNOWN_JOB = auto()
    """It depends on a job that there is not.  This, and what follows, only keeps new runs away."""
    CIRCULAR = auto()
    ELSEWHERE = auto()
    """It depends on a job of the fleet."""


class Invalidity(NamedTuple):
    """The reason why a job can't run on this host as things stand, whatever its file says."""

    fault: Fault
    text: str


class Delay(NamedTuple):
    """Until when (monotonic, ns) a run waits; `cause`: why it could not be started, if that was it and is known."""

    until: int
    cause: Unstarted | None = None


@dataclass(slots=True)
class JobState:
    """All that is kept of a job id beside its definition; it outlives the job's removal.

    A run before its end is in exactly one of `due` (its job's rules hold it back), `waiting` (in the queue), `delayed`
    (before its next attempt, or after trouble of the system) and `live`.  `SchedulerState`
    alone writes these four and `saved`, as it knows what has to become durable.

    (Empty dictionaries, as `waiting` and `live`, are a third of empty sets, and there are as many as jobs.)
    `skip` is the newest run if that is a skip: the next skip for the same reason joins it.  `preceding` is the skip
    before the newest run, which joins it if it does not run for the same reason.  `recent`: how many of the
    clock's occurrences came since when (monotonic, ns), for the fuse.
    """

    saved: SavedJob
    due: list[RunId] = field(default_factory=list)
    waiting: dict[RunId, None] = field(default_factory=dict)
    delayed: dict[RunId, Delay] = field(default_factory=dict)
    live: dict[RunId, None] = field(default_factory=dict)
    skip: Run | None = None
    preceding: Run | None = None
    invalid: Invalidity | None = None
    recent: tuple[int, int] = (0, 0)
    fuse_blown: bool = False

    def precede(self) -> None:
        """Take note that there is a newer run."""
        self.preceding, self.skip = self.skip, None

    @property
    def usual(self) -> int | None:
        """The time that a run of it usually takes (ns); None: nobody knows."""
        return likely(self.saved.took, self.saved.stats.usual)

    @property
    def unstarted(self) -> int:
        """The number of runs that are due or in the queue."""
        return len(self.due) + len(self.waiting)

    @property
    def under_way(self) -> int:
        """The number of runs that count against `concurrency`."""
        return len(self.waiting) + len(self.delayed) + len(self.live)

    @property
    def pending(self) -> list[RunId]:
        """The runs without a live attempt, the oldest first."""
        return sorted([*self.due, *self.waiting, *self.delayed])

    @property
    def unfinished(self) -> list[RunId]:
        """All runs before their end."""
        return [*self.due, *self.waiting, *self.delayed, *self.live]

    @property
    def can_never_run(self) -> bool:
        """Tell whether what makes the job invalid also ends the runs that it has."""
        return self.invalid is not None and self.invalid.fault is Fault.IMPOSSIBLE


def leave(place: dict[RunId, Any], run: RunId) -> None:
    """Take a run out of where it stands, if it is there; what is empty keeps no room (160 bytes, of each job)."""
    if run in place:
        del place[run]
        if not place:
            place.clear()
