"""What files tell while the daemon is down: live runs from R, records, jobs from their files.

What only state.db knows (runs that wait, pauses, counters) is not told.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import socket
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import click

from jobqueued.child import unix_socket, wire
from jobqueued.child.documents import UNSTARTED
from jobqueued.control import views
from jobqueued.control.monitor import Process
from jobqueued.control.varlink import Message
from jobqueued.ctl.client import Unreachable, ask
from jobqueued.ctl.files import read_files, user_exists
from jobqueued.host.usage import usage
from jobqueued.model import LIVE, PENDING, Job, Record, RunId, RunState, to_text
from jobqueued.paths import Paths
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.state import record_files
from jobqueued.text import printable

_GREETING_SECONDS = 1.0


def say(paths: Paths, down: Unreachable, unknown: str = "") -> None:
    """Tell on stderr why files are read, what they don't tell, and what of them is hidden from this user."""
    click.echo(f"{down.message}\nThis is what the files in {_shown(paths.logs)} and {_shown(paths.run)} say.", err=True)
    if unknown:
        click.echo(f"They don't tell {unknown}.", err=True)
    for directory, what in ((paths.logs, "records"), (paths.runs, "live runs")):
        if is_hidden(directory):
            click.echo(f"Not the {what}: {_shown(directory)} is not yours to read.", err=True)


def is_hidden(directory: Path) -> bool:
    """Whether this user may not see what is in a directory."""
    try:
        os.scandir(directory).close()
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def nothing(paths: Paths, down: Unreachable, what: str) -> Unreachable:
    """The daemon is down, and its files don't tell either."""
    return Unreachable(f"{down.message}\nThere is {what} in {_shown(paths.logs)} either that could be read.")


def _shown(path: Path) -> str:
    return printable(str(path))


# runs


def live(paths: Paths) -> list[Record]:
    """The records so far of the runs that have an R and no end in it, by name."""
    return [record for record in _marked(paths) if record["state"] in LIVE]


def processes(paths: Paths) -> list[Process]:
    """Those of the live runs."""
    marks = RunDirectory(paths.runs, paths.logs)
    with contextlib.suppress(OSError):
        found = ((name, marks.started(name)) for name in marks.names() if marks.supervisor(name))
        running = RunState.RUNNING.value
        return [Process(name, running, it.pid, it.started) for name, it in found if it is not None]
    return []


def left(paths: Paths) -> list[str]:
    """The runs that have ended and left processes behind which live on."""
    with contextlib.suppress(OSError):
        return [str(name.run) for name in RunDirectory(paths.runs, paths.logs).left()]
    return []


def _marked(paths: Paths) -> list[Record]:
    """What the R's tell."""
    marks = RunDirectory(paths.runs, paths.logs)
    with contextlib.suppress(OSError):  # none since the host is up; or hidden, as `say` says
        return [record for name in marks.names() if (record := so_far(marks, name)) is not None]
    return []


def so_far(marks: RunDirectory, name: Name) -> Record | None:
    """The record so far, by R; None: it tells nothing, or that the attempt never started."""
    with marks.opened(name) as directory:
        if directory is None:
            return None
        greeting = _greeting(directory)  # before its end is looked for, which it writes before it leaves
        ended, begun = marks.record(name), marks.begun(name)
        if ended is not None:
            return None if ended["state"] == UNSTARTED else ended
        if begun is None:
            return None
        spawning = wire.read_mark(directory, wire.SPAWNING) is not None
    return _going_on(marks, name, begun, greeting, spawning=spawning)


def _going_on(marks: RunDirectory, name: Name, record: Record, greeting: str | None, *, spawning: bool) -> Record:
    """The record of an attempt without an end; `greeting`: what its supervisor says."""
    started = marks.started(name)
    if greeting is None and spawning:
        return {**record, "state": RunState.LOST.value, "reason": "its supervisor is gone"}
    if started is None:
        return {**record, "state": RunState.STARTING.value}
    _live, _, stopping = (greeting or "").partition("\nstopping ")
    return {
        **record, "state": str(RunState.STOPPING if stopping else RunState.RUNNING), "reason": stopping.strip() or None,
        "pid": started.pid, "started": to_text(started.started),
        "usage": usage(str(name), started.pid, marks.supervisor(name)),
        "output": record_files.found_output(marks.logs, name.run) or record["output"],
    }  # fmt: skip


def _greeting(directory: int) -> str | None:
    """What its supervisor says first; "" where it takes its time, None: there is none."""
    connection = unix_socket.connected(directory, wire.CONTROL)
    if connection is None:
        return None
    with contextlib.suppress(OSError), connection:
        if not select.select([connection], [], [], _GREETING_SECONDS)[0]:
            return ""
        return connection.recv(wire.NOTICE).decode(errors="replace")
    return None


def asked_record(paths: Paths, run: RunId) -> Record:
    """The record of a run, from the daemon, or from the files while it is down."""
    try:
        answer: Record = ask(paths.control, "Show", run=str(run))["record"]
    except Unreachable as down:
        found = record(paths, run)
        if found is None:
            raise nothing(paths, down, f"no record of {run}") from None
        say(paths, down)
        return found
    return answer


def record(paths: Paths, run: RunId) -> Record | None:
    """The record of a run, live or not."""
    if run.job not in record_files.jobs(paths.logs) and not any(found["run"] == str(run) for found in live(paths)):
        return None  # so that no name leads out of the directory
    return _from_marks(paths, run) or record_files.read(paths.logs, run)


def end(paths: Paths, run: RunId) -> Record | None:
    """The final record of a run; None: it goes on."""
    found = _from_marks(paths, run) or record_files.read(paths.logs, run)
    return found if found is not None and found["state"] not in LIVE | PENDING else None


def supervisor_of(paths: Paths, run: RunId) -> socket.socket | None:
    """A connection to the supervisor of a run, which can be read when the run ends or it dies; None: nobody answers."""
    marks = RunDirectory(paths.runs, paths.logs)
    for path in reversed(marks_of(paths, run)):
        with contextlib.suppress(OSError):
            if (connection := marks.follow(Name.parse(path.name))) is not None:
                return connection
    return None


def marks_of(paths: Paths, run: RunId) -> list[Path]:
    """The R's of a run that this user may see, the newest attempt's last."""
    with contextlib.suppress(OSError):
        names = (name for name in RunDirectory(paths.runs, paths.logs).names() if name.run == run)
        return [paths.runs / str(name) for name in names]
    return []


def _from_marks(paths: Paths, run: RunId) -> Record | None:
    marks = RunDirectory(paths.runs, paths.logs)
    with contextlib.suppress(OSError):
        for path in reversed(marks_of(paths, run)):
            if (found := so_far(marks, Name.parse(path.name))) is not None:
                return found
    return None


def history(paths: Paths, job: str | None = None, since: str = "") -> Iterator[Record]:
    """Runs without a record file, mostly live, then those with one, newest first by when they were queued."""
    marked = (record for record in _marked(paths) if record["state"] in LIVE or not _has_file(paths, record))
    running = sorted(marked, key=_queued, reverse=True)
    yield from (record for record in running if job in (None, record["job"]) and _queued(record) >= since)
    jobs = [name for name in record_files.jobs(paths.logs) if job in (None, name)]
    records = heapq.merge(*(_records(paths, name) for name in jobs), key=_queued, reverse=True)
    yield from takewhile(lambda record: _queued(record) >= since, records)


def _records(paths: Paths, job: str) -> Iterator[Record]:
    records = (
        record_files.read(paths.logs, RunId(job, number)) for number in reversed(record_files.numbers(paths.logs, job))
    )
    return (record for record in records if record is not None)


def _has_file(paths: Paths, record: Record) -> bool:
    return record_files.read(paths.logs, RunId.parse(record["run"])) is not None


def _queued(record: Record) -> str:
    return str(record["queued"])


# jobs


def jobs(paths: Paths) -> list[Job]:
    """The jobs of the job files, by id, as far as they are accepted."""
    return sorted(read_files(paths, (paths.jobs,)).jobs, key=lambda job: job.id)


def job_row(paths: Paths, job: Job, running: list[Record], now: int) -> Message:
    """The interface's type Job, with null for what files don't tell; `running` are the live runs of all jobs."""
    newest = next((record for record in _records(paths, job.id) if record.get("started")), None)
    live = [record for record in running if record["job"] == job.id]
    invalid = f"no user {job.user!r} on this host" if job.user and not user_exists(job.user) else None
    starts = job.next_starts(now, 1) if job.enabled and not invalid else []
    ended = None if newest is None else str(newest["state"])
    over = views.is_over(job, next(iter(starts), None), had_some=newest is not None)
    return views.job_row(job, views.Standing(
        running=len(live), invalid=invalid, is_over=over, last_state=ended,
        last_run=None if newest is None else newest["started"],
        next=to_text(starts[0]) if starts else None,
    ))  # fmt: skip
