"""Open state.db, for writing or only for reading. A file that can't be trusted is set aside as a whole, never deleted.

To write, the daemon locks the file for itself (`locking_mode=EXCLUSIVE`) before SQLite reads the write-ahead log.
SQLite then keeps the log's index in its own memory. If the index were in a mapped file, a full or read-only file system
would cause a SIGBUS.

A start does not read history, which is a hundred times as large as the rest: reading 470 MB from a disk takes 8 s.
After an unclean end, which leaves the log behind, SQLite checks the whole file if it is not larger than 1 GiB. Other
damage to history is found only when a user asks for a lost record, or when a commit needs the damaged part. The daemon
then writes a new file from memory, which has everything except history, so no waiting run is lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.run import Run
from jobqueued.model.saved import DueChange
from jobqueued.state.db import ballast, rows
from jobqueued.state.db.faults import CommitFailed, StateFault, StoreError, failure, of_code
from jobqueued.state.db.formats import VERSION, bring_up, format_on_disk, refuse_newer, version_of

KEPT = 3
"""Maximum number of set-aside databases to keep (the newest), because each may be as large as state.db."""
CHECKED = 1 << 30
"""Maximum size (bytes) of a file to check as a whole, because a start may take at most 90 s, even with a slow disk."""
LEAST = 512
"""Size of the smallest database (bytes)."""
LONG = 4096
"""Number of frames in the log at which SQLite moves them into the database."""
LONGEST_WAIT = 5.0
"""Time (s) that a start waits for another program that has the file open."""

_KINDS = {stat.S_IFREG: "", stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
_HEADER, _WRITE_VERSION, _WAL_MODE = 19, 18, b"\2"
"""Number of bytes of the header to read, the offset of the write version in the header, and the write version of WAL
mode. SQLite can't write to files with a higher write version.
"""
_NONSENSE = (None, sqlite3.SQLITE_ERROR)
"""Error codes that mean damage: Python's error about text that is not UTF-8 (None), and SQLite's error about missing
tables.
"""


class OpenState(NamedTuple):
    """An open state.db.

    `is_new`: whether no commit was ever made. `kept`: the state that was read from the file. `broken`: why the file
    can't be read, or "". `damage`: an error that SQLite found in a part that a start does not need, or "".
    """

    db: sqlite3.Connection
    is_new: bool
    kept: rows.SavedState | None = None
    broken: str = ""
    damage: str = ""


class SetAside(Exception):
    """A file could not be trusted and was set aside; the message contains the reason and the new name."""


def to_write(path: Path, *, at_start: bool) -> OpenState:
    """Open state.db, or create it if it is missing.  Raises CommitFailed, SetAside or StoreError."""
    if what := _is_no_file(path):
        raise SetAside(set_aside(path, what))
    log = path.with_name(f"{path.name}-wal")
    size = _size(path)
    if 0 < size < LEAST or (not size and _size(log)):  # otherwise SQLite would re-create the file and delete the log
        raise SetAside(set_aside(path, f"was cut to {size} bytes"))
    checked = at_start and log.exists() and size <= CHECKED
    refuse_newer(format_on_disk(path), path)
    with _connected(path, path.as_uri(), LONGEST_WAIT if at_start else 0.0, aside=True) as db:
        version = _version(db, path)
        _keep_to_ourselves(path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {LONG}")
        bring_up(db, version)
        kept = _read(db)
        db.execute("PRAGMA busy_timeout = 0")  # only a start may wait for a lock, never the loop
        return OpenState(db, _is_new(db), kept, damage=_damage(db) if checked else "")


def to_read(path: Path, *, at_start: bool) -> OpenState:
    """Open state.db without changing the file, because nothing can be written.

    If the file is missing or broken, open an empty database in memory instead. Raises CommitFailed or StoreError.
    """
    if what := _is_no_file(path):
        return OpenState(_blank(), is_new=True, broken=what)
    if not _size(path):
        return OpenState(_blank(), is_new=True)
    how = "mode=ro&vfs=unix-none" if _size(path.with_name(f"{path.name}-wal")) else "immutable=1"
    try:
        with _connected(path, f"{path.as_uri()}?{how}", 0.0, aside=False) as db:
            if (version := _version(db, path)) < VERSION:
                remedy = f"make {path.parent} writable"
                raise StoreError(f"{path} has format {version}, which a start must convert to {VERSION}; {remedy}")
            return OpenState(db, _is_new(db), _read(db) if at_start else None)
    except CommitFailed as failed:
        if failed.fault is not StateFault.BROKEN:
            raise
        return OpenState(_blank(), is_new=True, broken=str(failed))


class Left(NamedTuple):
    """The part of state.db that programs read while no daemon runs.

    `saved_at`: when (wall) the last commit was made. `files`: job file → last accepted text.
    """

    due_changes: list[DueChange]
    runs: list[Run]
    saved_at: int
    files: dict[str, bytes]


def left(directory: Path) -> Left:
    """Read the state.db of a stopped daemon without changing it.  Raises StoreError."""
    path = directory / "state.db"
    try:
        opened = to_read(path, at_start=True)
        if opened.kept is None:
            raise StoreError(opened.broken or f"{path} is missing")
        with contextlib.closing(opened.db) as db:
            changes = [rows.due_change_in(row[1:]) for row in db.execute(rows.DUE_CHANGES, (0, -1))]
            saved_at = int(rows.read_meta(db).get("saved", "0"))
            return Left(changes, opened.kept.runs, saved_at, rows.read_files(db))
    except (CommitFailed, OSError, sqlite3.Error, *rows.NONSENSE) as error:
        raise StoreError(f"{path}: {error}") from None


def _is_no_file(path: Path) -> str:
    """Describe a directory, device or other non-file found in place of state.db or one of its files; return "" if none
    is found.
    """
    for part in (path.with_name(path.name + ending) for ending in ballast.PARTS):
        try:
            kind = stat.S_IFMT(part.stat().st_mode)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP):
                raise failure(error, path.parent) from None
            found = "a broken link" if part.is_symlink() else ""
        else:
            found = _KINDS.get(kind, "a device")
        if found:
            return f"is {found}" if part == path else f"has {found} as {part.name}"
    return ""


def _version(db: sqlite3.Connection, path: Path) -> int:
    """Return the format of a database, or 0 if the database is empty.

    Raises StoreError if the format is newer than VERSION, or CommitFailed if the database is not jobqueued's.
    """
    version = version_of(db, path)
    if not version and db.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise CommitFailed("its tables are not jobqueued's tables", StateFault.BROKEN)
    with open(path, "rb") as file:
        if file.read(_HEADER)[_WRITE_VERSION:] > _WAL_MODE:
            raise CommitFailed("its header marks it as read-only", StateFault.BROKEN)
    if version and (mine := _own_id(path)) and mine != _id_in(db):
        raise CommitFailed("its write-ahead log belongs to another state.db", StateFault.BROKEN)
    return version


def _own_id(path: Path) -> str | None:
    """Return the state's unique ID from the database file without its log, or None if no log exists or the file is
    unreadable.
    """
    if _size(path.with_name(f"{path.name}-wal")):
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as db,
        ):
            return _id_in(db)
    return None


def _id_in(db: sqlite3.Connection) -> str | None:
    found = db.execute("SELECT value FROM meta WHERE name = 'id'").fetchone()
    return None if found is None else str(found[0])


def set_aside(path: Path, what: str) -> str:
    """Rename state.db and all files that belong to it; return a description for people. Raises CommitFailed if this
    fails.
    """
    try:
        found = ballast.set_aside(path)
        number = int(found[-1].name.rpartition("-")[2]) if found else 0
        aside = path.with_name(f"{path.name}.broken-{number + 1}")
        moved = f", moved to {aside.name}" if os.path.lexists(path) else ""
        for part in ballast.PARTS:
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + part).rename(f"{aside}{part}")
        too_many = found[: 1 - KEPT]
        for old in too_many:
            ballast.remove(old)
    except OSError as error:
        raise failure(error, path.parent) from None
    removed = ", ".join(old.name for old in too_many)
    return f"{path} {what}{moved}" + (f", {removed} removed" if removed else "")


@contextlib.contextmanager
def _connected(path: Path, uri: str, longest_wait: float, *, aside: bool) -> Iterator[sqlite3.Connection]:
    """Yield an exclusive connection. On an error, close the connection and raise CommitFailed, or SetAside if the file
    is broken and `aside` is true.
    """
    with contextlib.ExitStack() as closing:
        try:
            db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=longest_wait)
            closing.callback(db.close)
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            yield db
            closing.pop_all()
        except (CommitFailed, sqlite3.Error, *rows.NONSENSE) as error:
            failed = _verdict(error, path.parent)
            if not aside or failed.fault is not StateFault.BROKEN:
                raise failed from None
            words = set_aside(path, f"is corrupt ({failed})")  # before closing, because that deletes the log
            raise SetAside(words) from None


def _keep_to_ourselves(path: Path) -> None:
    """Let only the daemon read state.db, because it contains the texts of job files, with secrets. Its log gets the
    same mode.
    """
    with contextlib.suppress(OSError):  # on a read-only file system, the mode can't be changed
        path.chmod(0o600)


def _verdict(error: Exception, directory: Path) -> CommitFailed:
    is_nonsense = isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) in _NONSENSE
    if is_nonsense or isinstance(error, rows.NONSENSE):
        return CommitFailed(f"{type(error).__name__}: {error}", StateFault.BROKEN)
    return failure(error, directory)


def _read(db: sqlite3.Connection) -> rows.SavedState:
    """Read everything that a start needs."""
    for table in ("meta", "job", "file", "asked", "number"):
        if flaw := _flaw(db, f"quick_check({table})"):
            raise CommitFailed(flaw, StateFault.BROKEN)
    return rows.read(db)


def _damage(db: sqlite3.Connection) -> str:
    """Describe the damage to any part of the file, or return "" if none is found. A temporarily unreadable disk does
    not count as damage.
    """
    try:
        return _flaw(db, "integrity_check(1)")
    except (CommitFailed, sqlite3.Error):
        return ""


def damage_by_others(db: sqlite3.Connection, path: Path) -> str:
    """Describe the damage to an open file or its log after another program wrote to one of them.

    "" means that there is no damage, or that the file is too large to check.
    """
    db.execute("PRAGMA shrink_memory")  # drop pages that were read before
    return _damage(db) if _size(path) <= CHECKED else ""


def _flaw(db: sqlite3.Connection, check: str) -> str:
    """Return the first error that SQLite's `check` finds in the file, or "". Raises sqlite3.Error if the file can't be
    read.
    """
    try:
        found = str(db.execute(f"PRAGMA {check}").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if of_code(error.sqlite_errorcode) is not StateFault.BROKEN:
            raise
        found = str(error)
    code = re.search(r"error code=(\d+)", found)
    if code is not None and of_code(int(code[1])) is not StateFault.BROKEN:
        raise CommitFailed(found, StateFault.FAILING)
    return "" if found == "ok" else found.replace("\n", ": ")


def _is_new(db: sqlite3.Connection) -> bool:
    """Return whether no commit was ever made."""
    return db.execute("SELECT 1 FROM meta UNION ALL SELECT 1 FROM job LIMIT 1").fetchone() is None


def _blank() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    bring_up(db, 0)
    return db


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
