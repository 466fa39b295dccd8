"""Formats of state.db: its tables, and the steps from older to newer formats.

Each step upgrades one format to the next, and is never changed later. Each format has a fixture that a version with
this format wrote (tests/fixtures/state). An upgrade runs all its steps in one transaction, so the file has either its
old format or the current one. No step leads back to an older format.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from pathlib import Path

from jobqueued.model.run_states import LIVE, PENDING, RunState
from jobqueued.state.db.faults import StoreError

VERSION = 7

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE job (
    job TEXT PRIMARY KEY, rhythm TEXT NOT NULL, cursor INTEGER NOT NULL, era INTEGER NOT NULL,
    last_number INTEGER NOT NULL, stats TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE run (
    job TEXT NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, due INTEGER NOT NULL, queued INTEGER NOT NULL,
    arrival INTEGER NOT NULL, trigger TEXT NOT NULL, asked_by TEXT, state TEXT NOT NULL, reason TEXT,
    attempt INTEGER NOT NULL, pid INTEGER, started INTEGER, failures INTEGER NOT NULL, last_due INTEGER,
    count INTEGER NOT NULL, record TEXT, PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE INDEX unfinished ON run (job, number) WHERE record IS NULL;
"""

ENDED = f"state NOT IN {tuple(str(state) for state in RunState if state in LIVE | PENDING)}"
"""SQL condition for the row of an ended run. The index `history` must have the same condition, even in older files;
otherwise SQLite does not use the index.
"""

_STEPS = {
    1: """
ALTER TABLE job ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
CREATE TABLE file (name TEXT PRIMARY KEY, text BLOB NOT NULL) WITHOUT ROWID;
""",
    2: f"CREATE INDEX history ON run (queued, job, number, state) WHERE {ENDED};",
    3: f"""
ALTER TABLE run ADD COLUMN more TEXT NOT NULL DEFAULT '{{}}';
ALTER TABLE job ADD COLUMN more TEXT NOT NULL DEFAULT '{{}}';
DROP INDEX history;
CREATE INDEX history ON run (queued, job, number, state) WHERE {ENDED};
""",
    4: """
CREATE TABLE incident (subject TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE notice (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
""",
    5: """
CREATE TABLE due_change (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, until INTEGER NOT NULL, since INTEGER NOT NULL,
    digest TEXT NOT NULL, timezone TEXT NOT NULL, text BLOB
);
""",
    6: """
CREATE TABLE submission (job TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE asked (share TEXT NOT NULL, key TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (share, key)) WITHOUT ROWID;
CREATE INDEX asked_job ON asked (job);
CREATE TABLE number (share TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
""",
}
"""Format → statements that upgrade this format to the next one."""

CLEAR = tuple(
    f"DELETE FROM {table}"
    for table in (
        "meta",
        "job",
        "run WHERE record IS NULL",
        "file",
        "incident",
        "notice",
        "submission",
        "asked",
        "number",
    )
)
"""Statements that delete everything except history."""

_BACK = (
    "install that version again, or continue without this file: mkdir {directory}/format-{version} &&"
    " mv {path}* {directory}/format-{version}/ (history, counters and run numbers return from"
    " the records; waiting runs,"
    " pauses, the hold and notices are lost)"
)


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """Return the format of a database, or 0 if the database is empty. Raises StoreError if the format is newer than
    VERSION.
    """
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    refuse_newer(version, path)
    return version


def refuse_newer(version: int, path: Path) -> None:
    """Raise StoreError, with the remedy, if the format of a database is newer than VERSION."""
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer jobqueued (format {version}); this one supports up to {VERSION};"
            f" {_BACK.format(directory=path.parent, path=path, version=version)}"
        )


def format_on_disk(path: Path) -> int:
    """Return the format of a database from the bytes of its files, or 0 if it has none or can't be read.

    The function does not use SQLite, because SQLite would move the log into the file on closing, and so change another
    version's file. The last committed copy of page 1 in the log counts. https://sqlite.org/fileformat2.html has the
    offsets.
    """
    version = 0
    with contextlib.suppress(OSError):
        version = _first(path)
    with contextlib.suppress(OSError, struct.error), open(path.with_name(f"{path.name}-wal"), "rb") as log:
        page_size, salts = struct.unpack(">8xI4x8s8x", log.read(32))
        new = version
        while page_size >= 512 and len(head := log.read(24)) == 24:
            page, pages_after, salt = struct.unpack(">II8s8x", head)
            if salt != salts:
                break
            if page == 1:
                new = _user_version(log.read(_HEADER))
                log.seek(page_size - _HEADER, os.SEEK_CUR)
            else:
                log.seek(page_size, os.SEEK_CUR)
            version = new if pages_after else version
    return version


_HEADER = 100


def _first(path: Path) -> int:
    with open(path, "rb") as file:
        return _user_version(file.read(_HEADER))


def _user_version(header: bytes) -> int:
    return int(struct.unpack_from(">I", header, 60)[0]) if header.startswith(b"SQLite format 3\0") else 0


def bring_up(db: sqlite3.Connection, version: int) -> None:
    """Upgrade a database from this format to VERSION."""
    steps = [_STEPS[number] for number in range(max(version, 1), VERSION)]
    if version < VERSION:
        script = "".join(steps if version else [_SCHEMA, *steps])
        db.executescript(f"BEGIN; {script} PRAGMA user_version = {VERSION}; COMMIT;")
