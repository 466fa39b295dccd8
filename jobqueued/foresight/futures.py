"""Futures: simulations of one host, each with different random durations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from jobqueued.core.records.host_limits import HostLimits
from jobqueued.foresight.durations import Chance, Draws, Durations
from jobqueued.foresight.fast_path import Calendar, FastPath
from jobqueued.foresight.partition import groups, is_plain
from jobqueued.foresight.simulated_host import Beginning, LiveAttempt, SimulatedHost
from jobqueued.foresight.tally import Tally
from jobqueued.model.job import Job
from jobqueued.model.run import Run
from jobqueued.model.saved import Hold, SavedJob

_SLICES = 50
"""Maximum number of progress reports for each group of jobs in a future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    """A host at an instant: its jobs, their state, its limits, and the durations of runs."""

    begin: int
    jobs: tuple[Job, ...]
    limits: HostLimits
    durations: Durations
    saved: tuple[SavedJob, ...] = ()
    runs: tuple[Run, ...] = ()
    hold: Hold | None = None

    def without(self, jobs: Iterable[str]) -> HostSnapshot:
        """Return a copy of the host without these jobs and their runs."""
        gone = set(jobs)
        return self.with_jobs([job for job in self.jobs if job.id not in gone])

    def with_jobs(self, jobs: Iterable[Job]) -> HostSnapshot:
        """Return a copy of the host that has only these jobs and their runs."""
        found = tuple(jobs)
        known = {job.id for job in found}
        runs = tuple(run for run in self.runs if run.id.job in known)
        return replace(self, jobs=found, runs=runs)


class _JobGroup:
    """Jobs that are simulated together. If all are plain, the scheduler is used only while a run waits."""

    def __init__(
        self,
        host: HostSnapshot,
        jobs: Sequence[Job],
        draws: Draws,
        tally: Tally,
        calendar: Calendar,
        *,
        may_be_fast: bool,
    ) -> None:
        ids = {job.id for job in jobs}
        saved = {it.job: it for it in host.saved if it.job in ids}
        runs = [run for run in host.runs if run.id.job in ids]
        plain = may_be_fast and host.hold is None
        plain = plain and all(is_plain(job, host.limits, host.durations, saved) for job in jobs)
        self._fast = FastPath(jobs, host.limits, draws, tally, calendar) if plain else None
        self._least = 2 * len(jobs) if plain else None
        self._host: SimulatedHost | None = None
        if runs or not plain:
            live = [(run, _going_on(host, draws, run)) for run in runs if run.started is not None]
            waiting = [run for run in runs if run.started is None]
            beginning = Beginning(host.begin, saved.values(), waiting, live, host.hold)
            self._host = SimulatedHost(jobs, host.limits, beginning, draws, tally)

    def play(self, until: int) -> None:
        """Simulate everything that happens before an instant."""
        while True:
            if self._fast is not None and self._host is None:
                self._host = self._fast.play(until)
            if self._host is None or not self._host.play(until, self._least) or self._fast is None:
                return
            self._fast.take_over(self._host)
            self._host = None

    def settle(self, until: int) -> None:
        """Count the live and waiting runs at the end of the simulation, which must have reached this instant."""
        if (last := self._host or self._fast) is not None:
            last.settle(until)


def _going_on(host: HostSnapshot, draws: Draws, run: Run) -> LiveAttempt:
    """Return the attempt of a run that is live at the beginning of the simulation, with a drawn end."""
    started = min(run.started or 0, host.begin)
    job = next(job for job in host.jobs if job.id == run.id.job)
    sample = draws.rest(job, host.begin - started)
    return LiveAttempt(run.id, run.due, started, started + sample.took, sample)


def play(
    host: HostSnapshot,
    until: int,
    chances: Sequence[Chance],
    progress: Callable[[float], None] = lambda _: None,
    *,
    keeps_starts: bool = False,
    apart: bool = True,
    first: Tally | None = None,
) -> list[Tally]:
    """Simulate a host once for each stream of draws; `progress` gets the finished fraction.

    `keeps_starts`: whether to record each start too. `apart`: whether to simulate groups of independent jobs
    separately, which is faster. `first`: the tally to use for the first stream.
    """
    tallies, calendar = list[Tally](), Calendar(host.begin)
    parts = groups(host.jobs, host.limits) if apart else [host.jobs]
    done, whole = 0.0, len(chances) * len(host.jobs)
    for chance in chances:
        tally, draws = Tally(keeps_starts=keeps_starts), Draws(host.durations, chance)
        tally = first if first is not None and not tallies else tally
        for jobs in parts:
            slices = min(_SLICES, len(jobs))
            group = _JobGroup(host, jobs, draws, tally, calendar, may_be_fast=apart)
            for number in range(1, slices + 1):
                group.play(host.begin + (until - host.begin) * number // slices)
                done += len(jobs) / slices
                progress(done / whole)
            group.settle(until)
        tallies.append(tally)
    return tallies
