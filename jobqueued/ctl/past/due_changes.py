"""Data for an audit, from the daemon or from files: changes of due jobs, waiting runs, and records."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from jobqueued.audit.comparison import Cover, cover_of
from jobqueued.base.instants import SECOND, to_instant
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import records
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.files.job_files import settings_of
from jobqueued.jobdir import user_files
from jobqueued.jobfile.reader import read_packed
from jobqueued.model.job import Job
from jobqueued.model.run import RunId
from jobqueued.model.run_states import PENDING
from jobqueued.model.saved import DueChange
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files

SETTLED = 2 * SECOND
"""Time (ns) after which a due occurrence must have a run. A younger occurrence may not have a run yet."""
_NONSENSE = (AttributeError, LookupError, TypeError, ValueError)


class Sources(NamedTuple):
    """The data for an audit. Occurrences due after `until` (wall, ns) are not checked."""

    paths: Paths
    is_up: bool
    changes: list[DueChange]
    pending: dict[str, list[Cover]]
    until: int
    told: dict[str, list[Cover]] | None = None
    """Job → the daemon's records, if requested for all jobs at once; None if each job's records are requested
    separately.
    """

    def covers(self, job: str, since: int) -> list[Cover]:
        """Return a job's undamaged records queued since an instant, the previous record, and the job's waiting runs."""
        found = {cover.number: cover for cover in _covers(_from_files(self.paths, job), since)}
        if self.told is not None:
            found |= {cover.number: cover for cover in self.told.get(job, ())}
        elif self.is_up:
            with contextlib.suppress(CallRefused):  # the job has no record
                found |= {cover.number: cover for cover in _covers(_from_daemon(self.paths, job), since)}
        waiting = (cover for cover in self.pending.get(job, ()) if cover.number not in found)
        return [*found.values(), *waiting]


def sources(paths: Paths, *, with_all: bool = False) -> Sources:
    """Request the data from the daemon, or read state.db while the daemon is down. With `with_all`, get all records at
    once.

    Raises DaemonUnreachable.
    """
    now = time.time_ns()
    try:
        pending = _by_job(records.history(paths, {"states": sorted(PENDING)}), is_pending=True)
        told = _by_job(records.history(paths, {}), is_pending=False) if with_all else None
        return Sources(paths, True, list(_changes(paths)), pending, now - SETTLED, told)
    except DaemonUnreachable as down:
        return _left(paths, now, down)


def _left(paths: Paths, now: int, down: DaemonUnreachable) -> Sources:
    """Return the sources from state.db. Raises DaemonUnreachable if state.db can't be read."""
    from jobqueued.core.records import record
    from jobqueued.core.records.host_limits import HostLimits
    from jobqueued.state.db.faults import StoreError
    from jobqueued.state.db.opening import left

    try:
        found = left(paths.state)
    except StoreError as error:
        raise DaemonUnreachable(
            f"{down.message}\nWithout the daemon, state.db is needed, but it can't be read: {error}"
        ) from None
    pending = [record.begin(run, None, HostLimits()) for run in found.runs if run.state in PENDING]
    return Sources(
        paths, False, found.due_changes, _by_job(pending, is_pending=True), min(now - SETTLED, found.saved_at)
    )


def reader(paths: Paths) -> Callable[[DueChange], tuple[Job, ...] | None]:
    """Return a function that parses a file's former text, or returns None if this version can't read the text."""
    host = settings_of(paths)[0].locality
    seed = host.seed

    def read(change: DueChange) -> tuple[Job, ...] | None:
        text = change.text or b""
        if (file := user_files.of_state(change.name)) is not None:
            return user_files.jobs_of_text(file, text, change.timezone, seed)
        if "/" in change.name:  # the name of a cron table
            from jobqueued.crontabs.jobs import CronHost
            from jobqueued.jobdir.cron_tables import jobs_of_text

            return jobs_of_text(change.name, text, CronHost(change.timezone, seed))
        found, problems = read_packed(text, change.name, host._replace(timezone=change.timezone))
        return None if any(problem.severity == "error" for problem in problems) else found

    return read


def defined(changes: Iterable[DueChange], job: str, instant: int, paths: Paths) -> Job | None:
    """Return a job's definition at an instant (wall, ns), from the files' texts, or None if unknown."""
    read, last = reader(paths), job.rpartition("/")[2].encode()
    found: dict[str, Job] = {}
    for change in changes:
        if change.kind != "file" or change.since > instant:
            continue
        text = change.text or b""
        is_table = "/" in change.name and user_files.of_state(change.name) is None
        jobs = (read(change) or ()) if text and (is_table or last in text) else ()
        found.pop(change.name, None)
        if (it := next((each for each in jobs if each.id == job), None)) is not None:
            found[change.name] = it
    return next(reversed(found.values()), None)


def known(found: Sources) -> Sources:
    """Return the sources. Raises DaemonUnreachable if the sources contain no text of a job file."""
    if not any(change.kind == "file" for change in found.changes):
        raise DaemonUnreachable(
            "no text of a job file is recorded", "the daemon records each file at its start and when the file changes"
        )
    return found


def _changes(paths: Paths) -> Iterator[DueChange]:
    after: int | None = 0
    while after is not None:
        page = ask(paths.control, "DueChanges", after=after)
        yield from map(_change, page["changes"])
        after = page["next"]


def _change(told: Message) -> DueChange:
    text = None if told["text"] is None else base64.b64decode(told["text"])
    until, since = (to_instant(datetime.fromisoformat(told[name])) for name in ("until", "since"))
    return DueChange(told["kind"], told["name"], until, since, told["digest"], told["timezone"], text)


def _by_job(runs: Iterable[Record], *, is_pending: bool) -> dict[str, list[Cover]]:
    found: dict[str, list[Cover]] = {}
    for run in runs:
        with contextlib.suppress(*() if is_pending else _NONSENSE):
            found.setdefault(run["job"], []).append(cover_of(run, is_pending=is_pending))
    return found


def _from_daemon(paths: Paths, job: str) -> Iterator[Record]:
    return records.history(paths, {"job": job})


def _from_files(paths: Paths, job: str) -> Iterator[Record]:
    """Yield a job's records in files, newest first."""
    numbers = record_files.numbers(paths.logs, job)
    found = (record_files.read(paths.logs, RunId(job, number)) for number in reversed(numbers))
    return (document for document in found if document is not None)


def _covers(found: Iterator[Record], since: int) -> Iterator[Cover]:
    for document in found:
        try:
            cover = cover_of(document)
        except _NONSENSE:
            continue
        yield cover
        if cover.queued < since:
            return
