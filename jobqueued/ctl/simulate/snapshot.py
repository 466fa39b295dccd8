"""A snapshot of the host's current state, where a simulation starts: jobs, run durations, live and waiting runs."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from jobqueued.base.instants import to_instant
from jobqueued.base.problem import Problem
from jobqueued.base.replace import changed
from jobqueued.base.text import printable
from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.recollection import is_final, run_of
from jobqueued.core.records.record_checks import Damaged
from jobqueued.core.records.usual import RECENT
from jobqueued.core.runs.retries import NextAttempt, another
from jobqueued.ctl.base import records
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.files.job_files import read_files, settings_of
from jobqueued.ctl.files.job_units import Unit, units
from jobqueued.ctl.past.offline import is_hidden
from jobqueued.foresight.durations import Chance, Durations, DurationSample, samples
from jobqueued.foresight.futures import HostSnapshot
from jobqueued.foresight.partition import influencing
from jobqueued.host.capacity import host_has
from jobqueued.jobdir import user_files
from jobqueued.model.job import Job, RateUse
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE, PENDING, RunState
from jobqueued.model.saved import Hold, JobStats, SavedJob, Skip
from jobqueued.queue.admission import OUTPUT_DRAIN
from jobqueued.queue.rates import refill_time
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import limits_of, machine_id
from jobqueued.state import record_files

_LOOKED_AT = 500
"""Number of a job's newest records to search for durations, because many records may be skips."""


class Snapshot(NamedTuple):
    """The host, and missing facts. `unknown` contains the jobs without a recorded duration.

    `without` is the reason why live and waiting runs are unknown, or "". `unread` is the reason why records can't be
    read, or "".
    """

    host: HostSnapshot
    unknown: list[str]
    without: str
    unread: str
    problems: list[Problem]


def snapshot(
    paths: Paths, given: Mapping[str, int], default: int | None, only: Collection[str] | None = None
) -> Snapshot:
    """Read files and records, and get live and waiting runs from the daemon.

    `given` maps jobs to run durations (ns). `default` is the duration (ns) for jobs without a record. If `only` is
    given, include just these jobs and the jobs that can affect them.
    """
    begin = time.time_ns()
    jobs, limits, problems = host_of_files(paths)
    if only is not None:
        jobs = influencing(jobs, limits, only)
    known = {job.id: _samples(paths, job.id, given) for job in jobs}
    host = HostSnapshot(begin=begin, jobs=jobs, limits=limits, durations=Durations(known, default))
    unknown = sorted(job.id for job in jobs if not known[job.id])
    without = ""
    try:
        host = _as_it_goes(paths, host)
    except DaemonUnreachable as down:
        without = down.seen
    except CallRefused as refused:
        without = refused.message
    return Snapshot(host, unknown, without, unread(paths), problems)


def unread(paths: Paths) -> str:
    """Return the reason why records can't be read, with the remedy, or "" if they can be read."""
    if not is_hidden(paths.logs):
        return ""
    return f"{printable(str(paths.logs))} can't be read: permission denied; run this as root"


def require_records(paths: Paths) -> None:
    """Raise CallRefused if records can't be read."""
    if why := unread(paths):
        raise CallRefused(why)


def host_of_files(paths: Paths) -> tuple[tuple[Job, ...], HostLimits, list[Problem]]:
    """Return the host's valid jobs, including users' jobs, its limits, and the problems of its files."""
    reading, (config, _) = read_files(paths), settings_of(paths)
    jobs = (*(job for job in reading.jobs if job.id not in reading.invalid), *_of_users(paths, config.zone))
    return jobs, limits_of(config, "", *host_has()), reading.problems


def _of_users(paths: Paths, timezone: str) -> list[Job]:
    """Return the jobs in the users' job files that the caller can read."""
    found: list[Job] = []
    with suppress(OSError):
        for name in sorted(os.listdir(paths.state / user_files.DIRECTORY)):
            if (file := user_files.UserFile.parse(name)) is not None:
                text = atomic_file.content(str(paths.state / user_files.DIRECTORY / name))
                found += user_files.jobs_of_text(file, text, timezone, machine_id()) or ()
    return found


def chance(seed: int, number: int) -> Chance:
    """Return the random source for the future with this number."""
    return lambda name: random.Random(f"{seed}/{number}/{name}").random


def _samples(paths: Paths, job: str, given: Mapping[str, int]) -> list[DurationSample]:
    """Return the job's duration in `given`, or the durations of its newest runs if `given` does not include it."""
    return [DurationSample(given[job])] if job in given else known_samples(paths.logs, job)


def known_samples(logs: Path, job: str) -> list[DurationSample]:
    """Return the durations of a job's newest runs from their record files, oldest first.

    Ignore damaged records.
    """
    found: list[list[DurationSample]] = []
    for number in reversed(record_files.numbers(logs, job)[-_LOOKED_AT:]):
        with suppress(Damaged):
            found += filter(None, [samples(record_files.checked(logs, RunId(job, number)))])
        if len(found) == RECENT:
            break
    return [sample for each in reversed(found) for sample in each]


def _as_it_goes(paths: Paths, host: HostSnapshot) -> HostSnapshot:
    """Return the host with the daemon's current state. Raises DaemonUnreachable or CallRefused."""
    answer = ask(paths.control, "List")
    jobs = {job.id: job for job in host.jobs}
    ask(paths.control, "Notices")  # the daemon refuses this to users who see only their own runs
    told = records.history(paths, {"states": sorted(LIVE | PENDING)})
    runs = [_run(document, jobs[document["job"]], host.limits) for document in told if document["job"] in jobs]
    newest: dict[str, int] = {}
    for run in runs:
        newest[run.id.job] = max(run.id.number, newest.get(run.id.job, 0))
    saved = [
        _saved(paths, jobs[row["id"]], row, newest.get(row["id"], 0), host.begin)
        for row in answer["jobs"]
        if row["id"] in jobs
    ]
    hold = None
    if answer["held_by"] is not None:
        hold = Hold(answer["held_by"], None if answer["held_until"] is None else _instant(answer["held_until"]))
    return HostSnapshot(
        begin=host.begin,
        jobs=host.jobs,
        limits=host.limits,
        durations=host.durations,
        saved=tuple(saved),
        runs=tuple(sorted(runs, key=lambda run: (run.queued, run.id))),
        hold=hold,
    )


def _run(document: Record, job: Job, limits: HostLimits) -> Run:
    """Return the run of an unfinished record in the same form as in the scheduler."""
    so_far = document if document["attempts"] and not is_final(document) else None
    run = changed(run_of(document), so_far=so_far)
    if run.state not in LIVE:
        run = changed(run, pid=None, started=None, since=run.queued if run.state is RunState.WAITING else 0)
        return run if so_far is None else _before_next_attempt(run, job, so_far)
    started = run.queued if run.started is None else run.started
    ends_by = None if job.timeout is None else started + job.timeout + job.kill_grace + OUTPUT_DRAIN
    return changed(run, attempt=max(1, run.attempt), started=started, claims=limits.claims_of(job), ends_by=ends_by)


def _before_next_attempt(run: Run, job: Job, so_far: Record) -> Run:
    """Return a run that waits for its next attempt, with the same time and state as in the scheduler."""
    last = so_far["attempts"][-1]
    again = another(job, run, cast("Record", {**so_far, **last})) or NextAttempt(0, failover=False)
    ended = last["ended"] if run.state is RunState.RETRYING else None
    not_before = _instant(ended) + again.delay if ended else 0
    return changed(run, attempt=run.attempt + 1, failover=again.failover, not_before=not_before)


def _saved(paths: Paths, job: Job, row: Mapping[str, Any], newest: int, begin: int) -> SavedJob:
    until, settled, started = row["paused_until"], _instant(row["settled"]) if row.get("settled") else 0, 0
    if job.max_runs is not None:
        started = ask(paths.control, "Describe", job=job.id, runs=1)["stats"]["started"]
    return SavedJob(
        job=job.id,
        rhythm=job.rhythm,
        cursor=begin - job.offset,
        last_number=newest,
        owner=job.owner,
        paused=row["paused"],
        paused_until=None if until is None else _instant(until),
        settled=settled if settled > begin - job.offset else 0,
        rate_use=_rate_use(job, row),
        skips=tuple(Skip(_instant(start) - job.offset) for start in row["skips"]),
        stats=JobStats(started=started),
    )


def _rate_use(job: Job, row: Mapping[str, Any]) -> RateUse:
    """Return the used part of a job's rate; the daemon has the definition that is simulated, or an earlier one."""
    if job.rate is None or row.get("rate_full") is None:
        return RateUse()
    return RateUse(_instant(row["rate_full"]), refill_time(job.rate))


def _instant(text: str) -> int:
    return to_instant(datetime.fromisoformat(text))


def with_files(
    paths: Paths, found: Snapshot, directory: Path, given: Mapping[str, int], default: int | None
) -> Snapshot:
    """Return the snapshot as if a directory's files were installed.

    A file replaces the installed file with its name. The snapshot's problems are errors, and warnings about jobs and
    files that are not simulated.
    """
    reading, host = read_files(paths, (directory,)), found.host
    problems = [it for it in reading.problems if it.severity == "error" or it.code in _UNPLAYED]
    new = {job.id: job for job in reading.jobs if job.id not in reading.invalid}
    names = {Path(unit.file).name for unit in units(paths, (directory,)) if isinstance(unit, Unit)}
    kept = [job for job in host.jobs if Path(job.file).name not in names]
    problems += [_twice(job, new[job.id]) for job in kept if job.id in new]
    known = {**host.durations.known}
    for name in new.keys() - known.keys():
        known[name] = _samples(paths, name, given)
    other = replace(host.with_jobs([*kept, *new.values()]), durations=Durations(known, default))
    unknown = sorted(job.id for job in other.jobs if not known[job.id])
    return found._replace(host=other, unknown=unknown, problems=problems)


_UNPLAYED = {"JQ401", "JQ402", "JQ404", "JQ503", "JQ504", "JQ505"}
"""Codes for jobs that will not run on this host, and for files that the daemon does not read or that are masked."""


def _twice(old: Job, new: Job) -> Problem:
    message = f"found {new.id}, which {old.file} has; expected an id that no other file has"
    return Problem(new.file, new.line, 0, "", message, "error", new.id, "JQ213")


def is_unreadable(problems: Iterable[Problem]) -> bool:
    """Return whether a problem prevents a file from being accepted."""
    return any(problem.severity == "error" for problem in problems)
