"""What only state.db knew when it was cut or damaged: a copy is read before."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jobqueued.state.db.formats import ENDED

Rows = list[tuple[str, int, str, int, int | None, int]]


class Told(NamedTuple):
    """What a record file tells of a run: its last attempt, and how many occurrences it covers."""

    attempt: int
    count: int


class Dues(NamedTuple):
    """The due times of a run, the first and the last of so many (ns, wall)."""

    first: int
    last: int
    count: int


class Known(NamedTuple):
    """What it knew."""

    runs: frozenset[str]
    """Those whose end no record file told, or not all that it covers."""
    keys: frozenset[tuple[str, str]]
    """By what these were due, with their job."""
    dues: dict[str, list[Dues]]
    """When they were due, by job."""
    cursors: dict[str, int]
    """The last due time of a job of which something tells."""
    submissions: frozenset[str]
    """Those that were not over."""
    asked: frozenset[str]
    """Those that were asked for by a key."""
    notices: list[tuple[str, str, int]]
    """The target of what waited to be told, the run it is about, and how many more it counts."""


def read(state: Path, files: Mapping[str, Told]) -> Known | None:
    """Read state.db, which nobody uses, beside what record files tell of runs; None: it can't be read."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        for part in state.parent.glob(f"{state.name}*"):
            if part.name in (state.name, f"{state.name}-wal"):
                shutil.copy(part, directory)
        with contextlib.closing(sqlite3.connect(Path(directory) / state.name)) as db:
            try:
                return _read(db, files)
            except (sqlite3.Error, ValueError, LookupError, TypeError):
                return None


_FIELDS = "SELECT job, number, key, due, last_due, count FROM run WHERE"


def _read(db: sqlite3.Connection, files: Mapping[str, Told]) -> Known:
    rows: Rows = db.execute(f"{_FIELDS} record IS NULL").fetchall()
    for job, number, state in _ended(db):
        told = files.get(f"{job}@{number}")
        if told is None or state == "skipped":  # which may have come to cover more
            found = db.execute(f"{_FIELDS} job = ? AND number = ?", (job, number)).fetchall()
            rows += [row for row in found if told is None or told.count < row[-1]]
    dues = defaultdict[str, list[Dues]](list)
    for job, _number, _key, due, last_due, count in rows:
        dues[job].append(Dues(due, last_due or due, count))
    waiting = [json.loads(value) for (value,) in db.execute("SELECT value FROM notice")]
    return Known(
        runs=frozenset(f"{job}@{number}" for job, number, *_ in rows),
        keys=frozenset((job, key) for job, _number, key, *_ in rows),
        dues=dict(dues),
        cursors=dict(db.execute("SELECT job, cursor FROM job")),
        submissions=frozenset(job for (job,) in db.execute("SELECT job FROM submission")),
        asked=frozenset(job for (job,) in db.execute("SELECT job FROM asked")),
        notices=[(one["target"], one["about"].get("run") or "", one.get("more", 0)) for one in waiting],
    )


def _ended(db: sqlite3.Connection) -> Iterator[tuple[str, int, str]]:
    """The runs that have ended, with their states, the newest first, as far as the index can be read."""
    with contextlib.suppress(sqlite3.Error):
        yield from db.execute(f"SELECT job, number, state FROM run WHERE {ENDED} ORDER BY queued DESC")
