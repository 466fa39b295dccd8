"""Answers while the daemon is down, from job files, records, and the run directories (R).

These files do not contain waiting runs, pauses or counters.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import socket
from collections.abc import Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobqueued.base.instants import to_text
from jobqueued.base.text import printable
from jobqueued.child.contract import unix_socket, wire
from jobqueued.child.contract.documents import UNSTARTED, Record
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.client import DaemonUnreachable, ask
from jobqueued.ctl.base.terminal import moment
from jobqueued.model.job import Job
from jobqueued.model.run import RunId
from jobqueued.model.run_states import LIVE, PENDING, RunState
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files

if TYPE_CHECKING:  # reading a record does not need these
    from jobqueued.control.calls.monitor import RunProcess
    from jobqueued.model.saved import JobStats
    from jobqueued.runs.run_directory import Name, RunDirectory

_GREETING_SECONDS = 1.0
_COUNTED = 20
"""Maximum number of records to read for a job's row in the list."""


def explain(paths: Paths, down: DaemonUnreachable, unknown: str = "") -> None:
    """Print on stderr why this program reads files, how old the saved state is, and which facts are missing."""
    click.echo(f"{down.message}\nReading the files in {_shown(paths.logs)} and {_shown(paths.run)} instead.", err=True)
    if saved := _last_saved(paths):
        click.echo(f"The daemon last saved its state at {moment(to_text(saved))}.", err=True)
    if unknown:
        click.echo(f"They do not show {unknown}.", err=True)
    hidden = [it for it in ((paths.logs, "records"), (paths.runs, "live runs")) if is_hidden(it[0])]
    for directory, content in hidden:
        click.echo(f"The {content} are missing: no permission to read {_shown(directory)}.", err=True)
    if hidden:
        click.echo("When the daemon runs again, it shows you the records and live runs of your own jobs.", err=True)


def _last_saved(paths: Paths) -> int:
    """Return the instant when state.db was last written, or 0 if this user can't see the file."""
    last = 0
    for name in ("state.db", "state.db-wal"):
        with contextlib.suppress(OSError):
            last = max(last, (paths.state / name).stat().st_mtime_ns)
    return last


def is_hidden(directory: Path) -> bool:
    """Return whether this user is not allowed to list a directory."""
    try:
        os.scandir(directory).close()
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def require_record(paths: Paths, down: DaemonUnreachable, job: str | None) -> None:
    """Raise DaemonUnreachable unless a readable record of the job exists. `job` None means any job."""
    if next(history(paths, job), None) is None:
        raise no_record(paths, down, job)


def no_record(paths: Paths, down: DaemonUnreachable, name: str | None) -> DaemonUnreachable:
    """Return the error for a job or run without a record while the daemon is down."""
    record = f"record of {printable(name)}" if name else "record"
    own = "; when the daemon runs again, it shows you the records of your own jobs"
    hidden = own if is_hidden(paths.logs) else ""
    return DaemonUnreachable(f"{down.message}\nNo {record} can be read from {_shown(paths.logs)} either{hidden}.")


def _shown(path: Path) -> str:
    return printable(str(path))


# the runs


def live(paths: Paths) -> list[Record]:
    """Return the current records of the live runs, which have an R without an end."""
    return [record for record in _records_in_directories(paths) if record["state"] in LIVE]


def processes(paths: Paths) -> list[RunProcess]:
    """Return the main processes of the live runs."""
    from jobqueued.control.calls.monitor import RunProcess

    directories = _directories(paths)
    with contextlib.suppress(OSError):
        found = ((name, directories.started(name)) for name in directories.names() if directories.supervisor(name))
        running = RunState.RUNNING.value
        return [RunProcess(name, running, it.pid, it.started) for name, it in found if it is not None]
    return []


def left_behind(paths: Paths) -> list[str] | None:
    """Return the names of ended runs that left processes behind, or None if they are unknown."""
    try:
        return [str(name.run) for name in _directories(paths).left()]
    except FileNotFoundError:
        return []
    except OSError:
        return None


def _directories(paths: Paths) -> RunDirectory:
    from jobqueued.runs.run_directory import RunDirectory

    return RunDirectory(paths.runs, paths.logs)


def _records_in_directories(paths: Paths) -> list[Record]:
    directories = _directories(paths)
    with contextlib.suppress(OSError):  # no run since boot, or no permission, which `explain` prints
        return [record for name in directories.names() if (record := record_so_far(directories, name)) is not None]
    return []


def record_so_far(directories: RunDirectory, name: Name) -> Record | None:
    """Return an attempt's current record from R, or None if R has no record or the attempt never started."""
    with directories.opened(name) as directory:
        if directory is None:
            return None
        greeting = _greeting(directory)  # read this first: a supervisor writes R/ended before it exits
        ended, begun = directories.record(name), directories.begun(name)
        if ended is not None:
            return None if ended["state"] == UNSTARTED else ended
        if begun is None:
            return None
        spawning = wire.may_have_started(directory)
    return _going_on(directories, name, begun, greeting, spawning=spawning)


def _going_on(directories: RunDirectory, name: Name, record: Record, greeting: str | None, *, spawning: bool) -> Record:
    """Return the record of an unfinished attempt. `greeting` is the supervisor's first message, or None."""
    from jobqueued.host.usage import usage

    started = directories.started(name)
    if greeting is None and spawning:
        return {**record, "state": RunState.LOST.value, "reason": "its supervisor is gone"}
    if started is None:
        return {**record, "state": RunState.STARTING.value, "ended": None}
    if (telemetry := directories.telemetry(name)) is not None:
        record["telemetry"] = telemetry
    if (there := directories.slurm(name)) is not None:
        record["slurm"] = there
    _live, _, stopping = (greeting or "").partition("\nstopping ")
    return {
        **record,
        "state": str(RunState.STOPPING if stopping else RunState.RUNNING),
        "reason": stopping.strip() or None,
        "pid": started.pid,
        "started": to_text(started.started),
        "ended": None,  # the record may have the previous attempt's end
        "usage": usage(str(name), started.pid, directories.supervisor(name)),
        "output": record_files.found_output(directories.logs, name.run) or record["output"],
    }


def _greeting(directory: int) -> str | None:
    """Return a supervisor's first message, "" if it is slow, or None if there is no supervisor."""
    try:
        connection = unix_socket.connected(directory, wire.CONTROL)
    except BlockingIOError:  # too many connections wait for the supervisor
        return ""
    if connection is None:
        return None
    with contextlib.suppress(OSError), connection:
        if not select.select([connection], [], [], _GREETING_SECONDS)[0]:
            return ""
        return connection.recv(wire.NOTICE).decode(errors="replace")
    return None


def find_record(paths: Paths, run: RunId) -> Record:
    """Return a run's record. If the daemon is down, read files. Raises CallRefused or DaemonUnreachable."""
    try:
        answer: Record = ask(paths.control, "Show", run=str(run))["record"]
    except DaemonUnreachable as down:
        found = _record(paths, run)
        if found is None:
            raise no_record(paths, down, str(run)) from None
        explain(paths, down)
        return found
    return answer


def _record(paths: Paths, run: RunId) -> Record | None:
    if run.job not in record_files.jobs(paths.logs) and not any(found["run"] == str(run) for found in live(paths)):
        return None  # a name must not reach outside the directory
    return _latest_record(paths, run)


def final_record(paths: Paths, run: RunId) -> Record | None:
    """Return the final record of a run, or None if it has not ended."""
    found = _latest_record(paths, run)
    return found if found is not None and found["state"] not in LIVE | PENDING else None


def supervisor_of(paths: Paths, run: RunId) -> socket.socket | None:
    """Connect to a run's supervisor, or return None.

    The connection becomes readable when the run or the supervisor ends.
    """
    for name in reversed(_attempts(paths, run)):
        with contextlib.suppress(OSError):
            if (connection := _directories(paths).follow(name)) is not None:
                return connection
    return None


def run_directories(paths: Paths, run: RunId) -> list[Path]:
    """Return the run's directories (R) that this user can see, newest attempt last."""
    return [paths.runs / str(name) for name in _attempts(paths, run)]


def _attempts(paths: Paths, run: RunId) -> list[Name]:
    with contextlib.suppress(OSError):
        return [name for name in _directories(paths).names() if name.run == run]
    return []


def _latest_record(paths: Paths, run: RunId) -> Record | None:
    """Return the record in the newest R that has a record, else the record in the record file, or None."""
    with contextlib.suppress(OSError):
        for name in reversed(_attempts(paths, run)):
            if (found := record_so_far(_directories(paths), name)) is not None:
                return found
    return _filed(paths, run)


def _filed(paths: Paths, run: RunId) -> Record | None:
    """Return the record in a run's record file, or None if the file is missing or damaged."""
    from jobqueued.core.records.record_checks import Damaged

    with contextlib.suppress(Damaged):
        return record_files.checked(paths.logs, run)
    return None


def history(paths: Paths, job: str | None = None, since: str = "") -> Iterator[Record]:
    """Yield the runs without a record file (mostly live runs), then all other runs; each group newest first."""
    found = _records_in_directories(paths)
    fileless = (record for record in found if record["state"] in LIVE or not _has_file(paths, record))
    running = sorted(fileless, key=_queued, reverse=True)
    yield from (record for record in running if job in (None, record["job"]) and _queued(record) >= since)
    jobs = [name for name in record_files.jobs(paths.logs) if job in (None, name)]
    records = heapq.merge(*(_records(paths, name) for name in jobs), key=_queued, reverse=True)
    yield from takewhile(lambda record: _queued(record) >= since, records)


def _records(paths: Paths, job: str) -> Iterator[Record]:
    records = (_filed(paths, RunId(job, number)) for number in reversed(record_files.numbers(paths.logs, job)))
    return (record for record in records if record is not None)


def _has_file(paths: Paths, record: Record) -> bool:
    return _filed(paths, RunId.parse(record["run"])) is not None


def _queued(record: Record) -> str:
    return str(record["queued"])


# the jobs


def jobs(paths: Paths) -> list[tuple[Job, str | None]]:
    """Return the accepted jobs of all files, sorted by id, each with the reason if it is invalid here, or None."""
    from jobqueued.ctl.files.job_files import read_files

    found = read_files(paths)
    return [(job, found.invalid.get(job.id)) for job in sorted(found.jobs, key=lambda job: job.id)]


def job_row(paths: Paths, job: Job, invalid: str | None, running: list[Record], now: int) -> Message:
    """Return a job's row as the interface's type Job, with null for unknown fields.

    `running` contains the live runs of all jobs.
    """
    from jobqueued.control.views import views
    from jobqueued.core.explain.attention import is_over

    stats = _stats(paths, job.id)
    had_some = next(_records(paths, job.id), None) is not None
    live = [record for record in running if record["job"] == job.id]
    starts = job.next_starts(now, 1) if job.enabled and not invalid else []
    over = is_over(job, next(iter(starts), None), had_some=had_some)
    return views.job_row(
        job,
        views.JobCondition(
            running=len(live),
            invalid=invalid,
            is_over=over,
            has_missed=stats.last_state is None,
            last_state=stats.last_state,
            last_failover=stats.by_failover,
            last_run=None if stats.last_run is None else to_text(stats.last_run),
            failing_since=None if stats.failing_since is None else to_text(stats.failing_since),
            next=to_text(starts[0]) if starts else None,
        ),
    )


def _stats(paths: Paths, job: str) -> JobStats:
    """Return counters with the facts in the newest records: the last result, and whether the job fails."""
    from jobqueued.core.records import recollection
    from jobqueued.model.saved import JobStats

    ended = (record for record in _records(paths, job) if record["started"] and recollection.is_final(record))
    stats = JobStats()
    for record in sorted(islice(ended, _COUNTED), key=lambda record: str(record["ended"] or record["started"])):
        stats = recollection.counted(stats, recollection.run_of(record), 0, record)
    return stats
