"""Submissions with a run that failed in the last day. Ended submissions are not in the list of jobs."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from jobqueued.base.instants import SECOND, to_text
from jobqueued.base.text import counted, printable
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.base.records import result
from jobqueued.ctl.base.terminal import command, distance
from jobqueued.settings.paths import Paths

if TYPE_CHECKING:
    from jobqueued.child.contract.documents import Record

_A_DAY = 24 * 3600 * SECOND
_STATES = ["failed", "timed_out", "oom_killed", "lost"]
_MOST_PAGES = 20
"""Maximum number of pages to read, each with 50 failures of any jobs. Older failures are omitted."""


def find(paths: Paths, known: Container[str] = (), names: tuple[str, ...] = ()) -> list[Message]:
    """Return each submission with a failed run as `job`, the number of its `failed` runs and the `last` one's record,
    newest first; omit `known` jobs.

    `names` contains names or globs of the jobs to include; () includes all jobs.
    """
    found: dict[str, list[Record]] = {}
    for record in _failed(paths):
        if record["trigger"] == "submitted" and record["job"] not in known:
            found.setdefault(record["job"], []).append(record)
    return [
        {"job": job, "failed": len(runs), "last": runs[0]}
        for job, runs in found.items()
        if not names or any(fnmatchcase(part, name) for name in names for part in (job, job.partition("/")[2]))
    ]


def problems(found: list[Message]) -> list[str]:
    """Return the problem that these submissions add to those of `Status`, or [] if there are none."""
    return [f"{counted(len(found), 'submission')} failed in the last 24 hours"] if found else []


def line(one: Message) -> str:
    """Describe a submission that `find` returned, with the command that shows its last failed run."""
    last = one["last"]
    when = distance(last["ended"] or last["queued"])
    told = f"{counted(one['failed'], 'run')} failed, the last {when}: {last['run']} {result(last)}"
    return printable(f"{one['job']}: {told}; see: {command('show ' + last['run'])}")


def _failed(paths: Paths) -> Iterator[Record]:
    """Yield the records of failures, newest first; stop if the daemon does not reply."""
    place, since = None, to_text(time.time_ns() - _A_DAY)
    try:
        for _ in range(_MOST_PAGES):
            page = ask(paths.control, "History", states=_STATES, since=since, before=place)
            yield from page["runs"]
            if (place := page["next"]) is None:
                return
    except (CallRefused, DaemonUnreachable):
        return
