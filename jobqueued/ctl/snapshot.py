"""The host as it is now, for what is foreseen of it: its job files, how long its runs took, what is live and waits."""

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

from jobqueued.child import atomic_file
from jobqueued.child.tuples import NamedTuple
from jobqueued.copies import changed
from jobqueued.core.host_limits import HostLimits
from jobqueued.core.recollection import Damaged, is_final, run_of
from jobqueued.core.retries import Again, another
from jobqueued.core.usual import RECENT
from jobqueued.ctl import records
from jobqueued.ctl.client import Refused, Unreachable, ask
from jobqueued.ctl.job_files import read_files, settings_of
from jobqueued.ctl.job_units import Unit, units
from jobqueued.ctl.offline import is_hidden
from jobqueued.foresight.apart import groups
from jobqueued.foresight.durations import Chance, Durations, Sample, samples
from jobqueued.foresight.futures import Host
from jobqueued.host.capacity import host_has
from jobqueued.jobdir import user_files
from jobqueued.model import LIVE, PENDING, Job, Record, Run, RunId, RunState, to_instant
from jobqueued.paths import Paths
from jobqueued.problem import Problem
from jobqueued.queue.admission import OUTPUT_DRAIN
from jobqueued.queue.locks import claims_of
from jobqueued.saved import Hold, JobStats, SavedJob, Skip
from jobqueued.settings import limits_of, machine_id
from jobqueued.state import record_files
from jobqueued.text import printable

_LOOKED_AT = 500
"""So many of the newest records of a job are looked at for runs that tell how long they take; others are skips."""


class Snapshot(NamedTuple):
    """The host; the jobs of which no record tells how long they take; why live and waiting runs are not known, and why
    records are not ("": they are).
    """

    host: Host
    unknown: list[str]
    without: str
    unread: str
    problems: list[Problem]


def snapshot(
    paths: Paths, given: Mapping[str, int], default: int | None, only: Collection[str] | None = None
) -> Snapshot:  # fmt: skip
    """Read files and records, and ask the daemon what is live and waits.

    `given`: how long (ns) the runs of some jobs take, `default` those of jobs without a record.  `only`: of all jobs
    those alone, and what has to do with them.
    """
    begin = time.time_ns()
    jobs, limits, problems = host_of_files(paths)
    if only is not None:
        near = (group for group in groups(jobs, limits) if any(job.id in only for job in group))
        jobs = tuple(job for group in near for job in group)
    known = {job.id: _samples(paths, job.id, given) for job in jobs}
    host = Host(begin=begin, jobs=jobs, limits=limits, durations=Durations(known, default))
    unknown = sorted(job.id for job in jobs if not known[job.id])
    without = ""
    try:
        host = _as_it_goes(paths, host)
    except Unreachable as down:
        without = down.seen
    except Refused as refused:
        without = refused.message
    return Snapshot(host, unknown, without, unread(paths), problems)


def unread(paths: Paths) -> str:
    """The reason why records can't be read, and the remedy; "": they can."""
    if not is_hidden(paths.logs):
        return ""
    return f"{printable(str(paths.logs))} can't be read: permission denied; run this as root"


def require_records(paths: Paths) -> None:
    """Raise Refused if records can't be read."""
    if why := unread(paths):
        raise Refused(why)


def host_of_files(paths: Paths) -> tuple[tuple[Job, ...], HostLimits, list[Problem]]:
    """The jobs and limits of a host by its files, and what is wrong with these."""
    reading, (config, _) = read_files(paths), settings_of(paths)
    jobs = (*(job for job in reading.jobs if job.id not in reading.invalid), *_of_users(paths, config.zone))
    return jobs, limits_of(config, "", *host_has()), reading.problems


def _of_users(paths: Paths, timezone: str) -> list[Job]:
    """The jobs that users have handed in, as far as who asks may read them."""
    found: list[Job] = []
    with suppress(OSError):
        for name in sorted(os.listdir(paths.state / user_files.DIRECTORY)):
            if (file := user_files.UserFile.parse(name)) is not None:
                text = atomic_file.content(str(paths.state / user_files.DIRECTORY / name))
                found += user_files.jobs_of_text(file, text, timezone, machine_id()) or ()
    return found


def chance(seed: int, number: int) -> Chance:
    """The chance of one draw, by its number."""
    return lambda name: random.Random(f"{seed}/{number}/{name}").random


def _samples(paths: Paths, job: str, given: Mapping[str, int]) -> list[Sample]:
    """The time that is given for the runs of a job, or what its newest ones have taken."""
    return [Sample(given[job])] if job in given else known_samples(paths.logs, job)


def known_samples(logs: Path, job: str) -> list[Sample]:
    """The attempts of the newest runs of a job, as their record files have them, the oldest first."""
    found: list[list[Sample]] = []
    for number in reversed(record_files.numbers(logs, job)[-_LOOKED_AT:]):
        with suppress(Damaged):
            found += filter(None, [samples(record_files.checked(logs, RunId(job, number)))])
        if len(found) == RECENT:
            break
    return [sample for each in reversed(found) for sample in each]


def _as_it_goes(paths: Paths, host: Host) -> Host:
    """The host with what the daemon knows of now; Unreachable, Refused."""
    answer = ask(paths.control, "List")
    jobs = {job.id: job for job in host.jobs}
    ask(paths.control, "Notices")  # refused to who is told of own runs only
    slots = host.limits.max_running is not None
    told = records.history(paths, {"states": sorted(LIVE | PENDING)})
    runs = [_run(document, jobs[document["job"]], slots=slots) for document in told if document["job"] in jobs]
    newest: dict[str, int] = {}
    for run in runs:
        newest[run.id.job] = max(run.id.number, newest.get(run.id.job, 0))
    saved = [
        _saved(paths, jobs[row["id"]], row, newest.get(row["id"], 0), host.begin)
        for row in answer["jobs"] if row["id"] in jobs
    ]  # fmt: skip
    hold = None
    if answer["held_by"] is not None:
        hold = Hold(answer["held_by"], None if answer["held_until"] is None else _instant(answer["held_until"]))
    return Host(
        begin=host.begin, jobs=host.jobs, limits=host.limits, durations=host.durations, saved=tuple(saved),
        runs=tuple(sorted(runs, key=lambda run: (run.queued, run.id))), hold=hold,
    )  # fmt: skip


def _run(document: Record, job: Job, *, slots: bool) -> Run:
    """The run that a record so far tells of, as the scheduler has it."""
    so_far = document if document["attempts"] and not is_final(document) else None
    run = changed(run_of(document), so_far=so_far)
    if run.state is RunState.RETRYING and so_far is not None:
        return _retrying(run, job, so_far)
    if run.state not in LIVE:
        return changed(run, pid=None, started=None, since=run.queued if run.state is RunState.WAITING else 0)
    started = run.queued if run.started is None else run.started
    ends_by = None if job.timeout is None else started + job.timeout + job.kill_grace + OUTPUT_DRAIN
    return changed(
        run, attempt=max(1, run.attempt), started=started, claims=claims_of(job, slots=slots), ends_by=ends_by
    )


def _retrying(run: Run, job: Job, so_far: Record) -> Run:
    """A run that waits for its next attempt, which comes when and as the scheduler has decided."""
    last = so_far["attempts"][-1]
    again = another(job, run, cast("Record", {**so_far, **last})) or Again(0, failover=False)
    not_before = _instant(last["ended"]) + again.delay if last["ended"] else 0
    return changed(run, pid=None, started=None, attempt=run.attempt + 1, failover=again.failover, not_before=not_before)


def _saved(paths: Paths, job: Job, row: Mapping[str, Any], newest: int, begin: int) -> SavedJob:
    until, settled, started = row["paused_until"], _instant(row["settled"]) if row.get("settled") else 0, 0
    if job.max_runs is not None:
        started = ask(paths.control, "Describe", job=job.id, runs=1)["stats"]["started"]
    return SavedJob(
        job=job.id, rhythm=job.rhythm, cursor=begin - job.offset, last_number=newest, owner=job.owner,
        paused=row["paused"], paused_until=None if until is None else _instant(until),
        settled=settled if settled > begin - job.offset else 0,
        skips=tuple(Skip(_instant(start) - job.offset) for start in row["skips"]), stats=JobStats(started=started),
    )  # fmt: skip


def _instant(text: str) -> int:
    return to_instant(datetime.fromisoformat(text))


def with_files(
    paths: Paths, found: Snapshot, directory: Path, given: Mapping[str, int], default: int | None
) -> Snapshot:  # fmt: skip
    """The snapshot with the files of a directory installed: each in the place of the one of its name, or beside others.

    Its problems: errors, and what of the directory is not played.
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
"""The codes of jobs that will not run on this host, and of files that are not read, or masked."""


def _twice(old: Job, new: Job) -> Problem:
    message = f"found {new.id}, which {old.file} has; accepted: an id that no other file has"
    return Problem(new.file, new.line, 0, "", message, "error", new.id, "JQ213")


def is_unreadable(problems: Iterable[Problem]) -> bool:
    """Tell whether some of them keep a file from being accepted."""
    return any(problem.severity == "error" for problem in problems)
