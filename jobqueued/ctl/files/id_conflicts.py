"""Conflicts between job ids: if two files use the same id, the daemon refuses the file that got the id later."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from jobqueued.base.problem import Problem
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.jobfile.reader import read_packed
from jobqueued.model.catalog import Catalog
from jobqueued.model.job import Job
from jobqueued.settings.drop_in_files import file_of_drop_ins
from jobqueued.settings.paths import Paths

Files = Mapping[str, tuple[Job, ...]]


def conflicts(paths: Paths, good: Files, bad: Iterable[str]) -> dict[str, list[Problem]]:
    """Return the conflicts that keep a `good` file from being accepted. Jobs last read from `bad` files, which can't be
    read now, stay in force.

    Only if the daemon's jobs could change the result, asks the daemon, or reads state.db while the daemon is down.
    """
    found, names = Catalog().conflicts_among(good), [*good, *bad]
    own = {name: path for path in names if (name := _own_name(paths, path))}
    if len(names) < 2 or not own or (not found and len(names) == len(good)):
        return found
    before = Catalog()
    for job in _in_force(paths, own):
        if job.id not in before:
            before.add(job)
    return before.conflicts_among(good)


def _own_name(paths: Paths, path: str) -> str:
    """Return the name of a file in the daemon's own directory, or "" for any other file."""
    directory, name = os.path.split(os.path.abspath(path))
    return name if directory == str(paths.jobs) else ""


def _in_force(paths: Paths, own: Mapping[str, str]) -> Iterator[Job]:
    """Yield the jobs in force from these files, if the daemon shows them to this user."""
    try:
        rows = ask(paths.control, "List")["jobs"]
    except CallRefused:
        return
    except DaemonUnreachable:
        yield from _left(paths, own)
        return
    for row in rows:
        directory, name = os.path.split(row["file"])
        name = file_of_drop_ins(os.path.basename(directory)) or name
        if name in own and "/" not in row["id"]:
            yield Job(id=row["id"], command="", file=own[name], origin=row["file"], line=row["line"])


def _left(paths: Paths, own: Mapping[str, str]) -> Iterator[Job]:
    """Yield these files' saved jobs, which the daemon will start with; yield none if state.db can't be read."""
    from jobqueued.state.db.faults import StoreError
    from jobqueued.state.db.opening import left

    try:
        files = left(paths.state).files
    except StoreError:
        return
    for name, path in own.items():
        yield from read_packed(files[name], path)[0] if name in files else ()
