"""Submissions of which a run has failed in the last day: when they are over they are in no list of jobs any more."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from jobqueued.ctl.client import Refused, Unreachable, ask
from jobqueued.ctl.records import result
from jobqueued.ctl.terminal import command, distance
from jobqueued.instants import SECOND, to_text
from jobqueued.paths import Paths
from jobqueued.text import counted, printable

if TYPE_CHECKING:
    from jobqueued.child.documents import Record

_A_DAY = 24 * 3600 * SECOND
_STATES = ["failed", "timed_out", "oom_killed", "lost"]
_MOST_PAGES = 20
"""So many pages of 50 failures are read, of all jobs: where more have failed, submissions before them are left out."""


def lines(paths: Paths, known: Container[str] = (), names: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a line of each submission of which a run has failed, the newest first, but of `known` jobs.

    `names`: only of jobs that have one of these, or match.
    """
    found: dict[str, list[Record]] = {}
    for record in _failed(paths):
        if record["trigger"] == "submitted" and record["job"] not in known:
            found.setdefault(record["job"], []).append(record)
    for job, runs in found.items():
        if not names or any(fnmatchcase(part, name) for name in names for part in (job, job.partition("/")[2])):
            last = runs[0]
            when = distance(last["ended"] or last["queued"])
            told = f"{counted(len(runs), 'run')} of it failed, the last {when}: {last['run']} {result(last)}"
            yield printable(f"{job}: {told}; see: {command('show ' + last['run'])}")


def _failed(paths: Paths) -> Iterator[Record]:
    """Yield the records of failures, newest first; none without an answer."""
    place, since = None, to_text(time.time_ns() - _A_DAY)
    try:
        for _ in range(_MOST_PAGES):
            page = ask(paths.control, "History", states=_STATES, since=since, before=place)
            yield from page["runs"]
            if (place := page["next"]) is None:
                return
    except (Refused, Unreachable):
        return
