"""Futures: what comes of one host by several draws of how long its runs take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from jobqueued.core.host_limits import HostLimits
from jobqueued.foresight.durations import Chance, Draws, Durations
from jobqueued.foresight.tally import Tally
from jobqueued.foresight.world import World
from jobqueued.model import Job, Run
from jobqueued.saved import Hold, SavedJob

_SLICES = 50
"""So often the progress of a future is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host as it is at an instant: its jobs and limits, where they stand, how long their runs take."""

    begin: int
    jobs: tuple[Job, ...]
    limits: HostLimits
    durations: Durations
    saved: tuple[SavedJob, ...] = ()
    runs: tuple[Run, ...] = ()
    hold: Hold | None = None

    def without(self, jobs: Iterable[str]) -> Host:
        """The same host without some jobs, and what there is of them."""
        gone = set(jobs)
        return self.with_jobs([job for job in self.jobs if job.id not in gone])

    def with_jobs(self, jobs: Iterable[Job]) -> Host:
        """The same host with other jobs."""
        found = tuple(jobs)
        known = {job.id for job in found}
        runs = tuple(run for run in self.runs if run.id.job in known)
        return replace(self, jobs=found, runs=runs)


def play(
    host: Host, until: int, chances: Sequence[Chance], progress: Callable[[float], None] = lambda _: None,
    *, keeps_starts: bool = False,
) -> list[Tally]:  # fmt: skip
    """Play a host forward, once for each draw; `progress` is told the part that is done."""
    tallies = []
    for number, chance in enumerate(chances):
        tally = Tally(keeps_starts=keeps_starts)
        world = World(
            host.jobs, host.limits, host.begin, Draws(host.durations, chance), tally,
            saved=host.saved, runs=host.runs, hold=host.hold,
        )  # fmt: skip
        for part in range(1, _SLICES + 1):
            world.play(host.begin + (until - host.begin) * part // _SLICES)
            progress((number + part / _SLICES) / len(chances))
        tallies.append(tally)
    return tallies
