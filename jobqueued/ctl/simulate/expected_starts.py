"""Expected starts of jobs and waiting runs, from a simulation with all jobs that compete with them."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click

from jobqueued.base.instants import DAY, HOUR, MINUTE, to_text
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.client import CallRefused
from jobqueued.ctl.base.terminal import reaching
from jobqueued.ctl.simulate.kept_forecast import KeptForecast, spread_of
from jobqueued.ctl.simulate.parallel_futures import play_in_parallel
from jobqueued.ctl.simulate.snapshot import chance, snapshot
from jobqueued.foresight.calibration import FUTURES, ExpectedStart, forecast
from jobqueued.foresight.futures import HostSnapshot
from jobqueued.foresight.partition import groups
from jobqueued.foresight.tally import Tally
from jobqueued.model.run import RunId
from jobqueued.settings.paths import Paths

_MORE = (MINUTE, HOUR, DAY // 4)
"""Times (ns) to simulate after the last due time. The shortest is tried first, because most runs start in time."""
_AFFORDED = 50_000
"""Maximum number of simulated runs and skips, which may take ten seconds."""
_SPANS = (HOUR, DAY)
"""Times (ns) to simulate for waiting runs. The shortest is tried first, because most runs start soon."""


def expected_starts(paths: Paths, starts: Mapping[str, list[int]]) -> KeptForecast:
    """Return the expected starts of some jobs in the next day. `starts` maps jobs to planned starts.

    Each group of competing jobs is simulated only until its planned starts have happened.
    """
    begin = time.time_ns()
    until, expected = begin + DAY, dict[str, list[ExpectedStart]]()
    if min((start for planned in starts.values() for start in planned), default=until) >= until:
        return KeptForecast(begin, until, FUTURES, {}, {})
    found = snapshot(paths, {}, None, only=starts)
    if found.unread:
        click.echo(reaching(f"Run durations are unknown: {found.unread}"), err=True)
    for jobs in groups(found.host.jobs, found.host.limits):
        near = {job.id: {it - job.offset for it in starts.get(job.id, ()) if it < until} for job in jobs}
        if dues := {(name, due) for name, of_job in near.items() for due in of_job}:
            last = max(due + job.offset for job in jobs for due in near[job.id])
            foreseen = forecast(_until_started(found.host.with_jobs(jobs), last, dues))
            expected |= {name: [it for it in foreseen.get(name, ()) if it.due in near[name]] for name in near}
    return KeptForecast(begin, until, FUTURES, expected, spread_of(found.host.jobs))


def _until_started(host: HostSnapshot, last: int, dues: set[tuple[str, int]]) -> list[Tally]:
    """Simulate until each occurrence in `dues` has started in each future, or the limit is reached."""
    futures, played, happened = list[Tally](), 0, 0
    for more in _MORE:
        until = last + more
        if happened * (until - host.begin) > _AFFORDED * played:
            break
        futures, played = _futures(host, until), until - host.begin
        if all(dues <= {(name, due) for name, it in each.jobs.items() for due, _ in it.starts} for each in futures):
            break
        happened = sum(it.runs + it.waiting + it.skipped.total() for each in futures for it in each.jobs.values())
    return futures


def expected_of_waiting(paths: Paths, job: str, runs: list[RunId]) -> dict[RunId, Message | None]:
    """Return run → expected start with its range, for these waiting runs of a job if they had no attempt yet.

    The value is None unless more than half of the futures start the run within a day. Raises CallRefused if the daemon
    hides waiting runs.
    """
    found = snapshot(paths, {}, None, only=(job,))
    if found.without:
        raise CallRefused(found.without)
    due = {run.id: run.due for run in found.host.runs if run.id in runs and run.so_far is None}
    foreseen: dict[RunId, Message | None] = {}
    for span in _SPANS:
        expected = {it.due: it for it in forecast(_futures(found.host, found.host.begin + span)).get(job, ())}
        foreseen = {run: _band(expected.get(instant)) for run, instant in due.items()}
        if None not in foreseen.values():
            break
    return foreseen


def _futures(host: HostSnapshot, until: int) -> list[Tally]:
    return play_in_parallel(host, until, [chance(0, number) for number in range(FUTURES)], keeps_starts=True)


def _band(it: ExpectedStart | None) -> Message | None:
    if it is None:
        return None
    return {
        "expected": to_text(it.due + it.middle),
        "earliest": to_text(it.due + it.low),
        "latest": to_text(it.due + it.high),
    }
