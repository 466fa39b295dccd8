"""Find the holder that kept a run from starting: the last run that released the claim that the waiting run needed.

A daemon's record names the claims that its run waited for and held, but not the holder. A record in a file may name the
holder in `held_by`. Otherwise the holder is the run that held the claim and ended last during the wait. If a record has
no claims, the job's current claims are used. Each host has separate locks and resources, except the fleet's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping

from jobqueued.child.contract.reasons import reserver
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.ctl.chart.chart_runs import NONE, ChartRun, Runs
from jobqueued.model.fleet import FLEET
from jobqueued.model.job import Job

HOST, SLOT = "host", "max_running"
_ALL = (HOST, SLOT)
"""Claims that every run has."""
_OF_FLEET = FLEET.removeprefix(":")
"""Prefix of a fleet's lock in a record."""
_NOTICED = 1000
"""Shortest wait (ms) that counts as a wait for an earlier run of the same job, if the record names no claim."""
_LOOKED_AT = 64
"""Maximum number of earlier runs of the same job to search for the holder."""

Claims = Mapping[str, Mapping[str, bool]]
"""Job → name of each claim of its runs → True if exclusive."""
Place = tuple[str, int]
"""A run, as its job and its index among the job's runs."""
_ENDED, _WAITED_FOR, _CLAIMS = map(ChartRun._fields.index, ("ended", "waited_for", "claims"))
_LAST: Place = ("\U0010ffff", 0)


class Wait(NamedTuple):
    """A run that had to wait, and the name of the run that it waited for, or "" if unknown."""

    job: str
    run: ChartRun
    waited_for: tuple[str, ...]
    holder: str


def claims_of(jobs: Iterable[Job]) -> dict[str, dict[str, bool]]:
    """Return the claims of each job from its definition."""
    return {
        job.id: {HOST: job.exclusive, **{it.resource: it.exclusive or it.units > 0 for it in job.locks + job.resources}}
        for job in jobs
    }


def related(jobs: Collection[str], claims: Claims) -> list[str]:
    """Return the other jobs that share a named claim with these jobs."""
    wanted = {name for job in jobs for name in claims.get(job, ()) if name not in _ALL}
    return sorted({job for job, known in claims.items() if not wanted.isdisjoint(known)} - {*jobs})


def find_holders(runs: Runs, claims: Claims) -> None:
    """Set the holder for each run that had to wait, if its record does not name one and it can be found."""
    finder, lists = _Finder(runs, claims), runs.lists
    for job in runs.of:
        for place, run in enumerate(runs.runs(job)):
            if _has_waited(run) and not run.held_by:
                holder = finder.holder(job, place, run, lists[run.waited_for])
                if holder is not None:
                    runs.tell_holder(job, place, runs.name(*holder))


def waits(runs: Runs) -> Iterator[Wait]:
    """Yield the runs that had to wait, sorted by job and due time."""
    texts, lists = runs.texts, runs.lists
    for job in runs.of:
        for run in runs.runs(job):
            if _has_waited(run):
                yield Wait(job, run, lists[run.waited_for], texts[run.held_by])


def _has_waited(run: ChartRun) -> bool:
    return run.started != NONE and bool(run.waited_for or run.held_by or run.waited >= _NOTICED)


class _Finder:
    """A search for holders, with the runs that held each claim, sorted by end."""

    def __init__(self, runs: Runs, claims: Claims) -> None:
        self._runs, lists = runs, runs.lists
        self._claims = {job: dict(claims.get(job, {})) for job in runs.of}
        for job, found in self._claims.items():
            for waited in set(runs.of[job][_WAITED_FOR]):
                found.update({name: True for name in lists[waited] if name not in {*found, HOST}})
        self._told = runs.claims
        self._claimed = {job: {*columns[_CLAIMS]} for job, columns in runs.of.items()}
        self._held: dict[tuple[str, bool, str | None], list[tuple[int, Place]]] = {}

    def holder(self, job: str, place: int, run: ChartRun, waited_for: tuple[str, ...]) -> Place | None:
        """Return the run that ended last among the runs that kept `run` from starting, or None if unknown."""
        if not waited_for:
            return self._earlier(job, place, run)
        ends = [self._last((job, place), run, name) for name in waited_for if reserver(name) is None]
        return max((it for it in ends if it is not None), default=(0, None))[1]

    def _last(self, at: Place, run: ChartRun, name: str) -> tuple[int, Place] | None:
        """Return the end and place of the run that held the claim `name` and ended last while `run` waited, or None."""
        wants_alone = self._of(at[0], run.claims).get(name, False)
        host = None if name.startswith(_OF_FLEET) else self._runs.whose[at[0]][0]
        held = self._holders(name, host, shared=name != SLOT and not wants_alone)
        for nth in range(bisect_right(held, (run.started, _LAST)) - 1, -1, -1):
            ended, place = held[nth]
            if ended <= run.queued:
                return None
            if place != at:
                return ended, place
        return None

    def _holders(self, name: str, host: str | None, *, shared: bool) -> list[tuple[int, Place]]:
        """Return the ended runs whose claim `name` blocked other runs, sorted by end. `host` None means all hosts.

        With `shared`, return only runs that blocked even a shared claim.
        """
        if (name, shared, host) not in self._held:
            self._held[name, shared, host] = sorted(
                (run.ended, (job, place))
                for job, claimed in self._claimed.items()
                if host in (None, self._runs.whose[job][0])
                if (keeping := {it for it in claimed if self._keeps(self._of(job, it), name, shared=shared)})
                for place, run in enumerate(self._runs.runs(job))
                if run.claims in keeping and NONE not in (run.started, run.ended)
            )
        return self._held[name, shared, host]

    def _of(self, job: str, claims: int) -> Mapping[str, bool]:
        """Return the claims at an index, or the job's current claims for NONE."""
        return self._claims[job] if claims == NONE else self._told[claims]

    @staticmethod
    def _keeps(claims: Mapping[str, bool], name: str, *, shared: bool) -> bool:
        """Return whether a run with these claims blocks the claim `name` of other runs; with `shared`, even a shared
        claim.
        """
        return claims.get(name, not shared and name in _ALL) or (not shared and claims.get(name) is False)

    def _earlier(self, job: str, place: int, run: ChartRun) -> Place | None:
        """Return the earlier run of the same job that ended last while this run waited, or None."""
        ends = self._runs.of[job][_ENDED][max(0, place - _LOOKED_AT) : place]
        last = max((end for end in ends if run.queued < end <= run.started), default=None)
        return None if last is None else (job, place - len(ends) + ends.index(last))
