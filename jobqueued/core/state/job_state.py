"""The state of one job ID in addition to its definition: its saved values and its unfinished runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.usual import likely
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import Unstarted
from jobqueued.model.saved import SavedJob


class JobFault(Enum):
    """The kinds of fault that make a job invalid on this host."""

    IMPOSSIBLE = auto()
    """The job claims more than the host has, so none of its runs can ever be admitted."""
    UNKNOWN_JOB = auto()
    """The job depends on a job that does not exist. This fault and the faults below prevent only new runs."""
    CYCLIC = auto()
    ELSEWHERE = auto()
    """The job depends on a fleet job."""


class Invalidity(NamedTuple):
    """The reason, outside a job's file, why the job can't run on this host now."""

    fault: JobFault
    text: str


class Delay(NamedTuple):
    """The instant (monotonic, ns) until which a run waits. `cause`: why its start failed, or None if no start
    failed.
    """

    until: int
    cause: Unstarted | None = None


@dataclass(slots=True)
class JobState:
    """The state of a job ID in addition to its definition; it outlives the job's removal.

    An unfinished run is in exactly one of `due` (held back by an obstacle), `waiting` (in the queue), `delayed` (before
    its next attempt, or after a failed start) and `live`. Only `SchedulerState` changes these four fields and `saved`,
    so that each change is saved.

    `waiting` and `live` are dictionaries because an empty dictionary takes a third of an empty set's memory.

    `skip` is the newest run if that run is a skip; the next skip for the same reason is added to it. `preceding` is the
    skip before the newest run; if the newest run is skipped for the same reason, it is added to `preceding`. `recent`
    is for the fuse: the number of scheduled occurrences, and since when (monotonic, ns) they are counted.
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
    rate_wakes: int = 0
    """When (monotonic, ns) the last timer fires that was set for the job's `rate`."""

    def precede(self) -> None:
        """Record that a newer run exists, so that `skip` is now the preceding run."""
        self.preceding, self.skip = self.skip, None

    @property
    def usual(self) -> int | None:
        """The usual duration of a run (ns), or None if unknown."""
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
        """Return whether the job's fault also ends its existing runs."""
        return self.invalid is not None and self.invalid.fault is JobFault.IMPOSSIBLE


def leave(place: dict[RunId, Any], run: RunId) -> None:
    """Remove a run from a place if the place contains it; an empty place frees its memory (160 bytes per job)."""
    if run in place:
        del place[run]
        if not place:
            place.clear()
