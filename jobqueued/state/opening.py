"""Opening of state.db, to write or only to read; a file that can't be believed is set aside whole, never deleted.

To write it is locked for us alone (`locking_mode=EXCLUSIVE`) before its write-ahead log is looked at: so SQLite keeps
the log's index in its own memory, and not in a mapped file, where a full or read-only file system is a SIGBUS.

A start reads all that it needs, every time.  History is a hundred times as much, and not read: 470 MB take 8 s from a
disk.  After an unclean end, which leaves the log behind, SQLite checks the whole file, up to 1 GiB; otherwise damage to
history shows when somebody asks for it, and costs that record, or when a commit meets it.  Then, as memory has all that
matters, a new file is written from there, so nothing that waits is lost.
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

from jobqueued.child.tuples import NamedTuple
from jobqueued.model import Run
from jobqueued.saved import DueChange
from jobqueued.state import ballast, rows
from jobqueued.state.faults import CommitFailed, Fault, StoreError, failure, of_code
from jobqueued.state.formats import VERSION, bring_up, format_on_disk, refuse_newer, version_of

KEPT = 3
"""So many of the files that were set aside are kept, the newest: each may be as big as state.db."""
CHECKED = 1 << 30
"""A file of more bytes is not checked as a whole: a start has 90 s, also from a slow disk."""
LEAST = 512
"""The bytes of the smallest database."""
LONG = 4096
"""The frames of the log from which on SQLite moves them into the database."""
PATIENCE = 5.0
"""The seconds for which another program may have the file open while we start."""

_KINDS = {stat.S_IFREG: "", stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
_HEADER, _WRITE_VERSION, _WAL_MODE = 19, 18, b"\2"
"""A place at the end of a part of the header, and the highest value there of a file that SQLite writes to."""
_NONSENSE = (None, sqlite3.SQLITE_ERROR)
"""The codes of what SQLite, or Python, says about tables that are not there, or a text that is none."""


class Opened(NamedTuple):
    """An open state.db.

    `is_new`: it holds nothing yet.  `kept` is what was read of it.  `broken` is why what was there can't be read;
    `damage` what SQLite has found in a part of it that no start needs; "": nothing.
    """

    db: sqlite3.Connection
    is_new: bool
    kept: rows.Kept | None = None
    broken: str = ""
    damage: str = ""


class SetAside(Exception):
    """The file could not be believed, and is there no more; the message says why, and where it is."""


def to_write(path: Path, *, at_start: bool) -> Opened:
    """Open it, or begin it if it is not there; CommitFailed, SetAside."""
    if what := _is_no_file(path):
        raise SetAside(set_aside(path, what))
    log = path.with_name(f"{path.name}-wal")
    size = _size(path)
    if 0 < size < LEAST or (not size and _size(log)):  # SQLite would begin anew, and delete the log
        raise SetAside(set_aside(path, f"is cut to {size} bytes"))
    checked = at_start and log.exists() and size <= CHECKED
    refuse_newer(format_on_disk(path), path)
    with _connected(path, path.as_uri(), PATIENCE if at_start else 0.0, aside=True) as db:
        version = _version(db, path)
        _keep_to_ourselves(path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {LONG}")
        bring_up(db, version)
        kept = _read(db)
        db.execute("PRAGMA busy_timeout = 0")  # patience is for the start: the loop never waits
        return Opened(db, _is_new(db), kept, damage=_damage(db) if checked else "")


def to_read(path: Path, *, at_start: bool) -> Opened:
    """Open it as it is, where nothing can be written; in its stead an empty one in memory, if there is none, or it is
    broken.  CommitFailed, StoreError.
    """
    if what := _is_no_file(path):
        return Opened(_blank(), is_new=True, broken=what)
    if not _size(path):
        return Opened(_blank(), is_new=True)
    how = "mode=ro&vfs=unix-none" if _size(path.with_name(f"{path.name}-wal")) else "immutable=1"
    try:
        with _connected(path, f"{path.as_uri()}?{how}", 0.0, aside=False) as db:
            if (version := _version(db, path)) < VERSION:
                remedy = f"make {path.parent} writable for a start"
                raise StoreError(f"{path} is of format {version}, which has to be brought to {VERSION}; {remedy}")
            return Opened(db, _is_new(db), _read(db) if at_start else None)
    except CommitFailed as failed:
        if failed.fault is not Fault.BROKEN:
            raise
        return Opened(_blank(), is_new=True, broken=str(failed))


class Left(NamedTuple):
    """The part of a state.db that is read while no daemon is there: `saved_at` is the last commit (wall).

    `files` are the texts of the job files that were accepted last, by name.
    """

    due_changes: list[DueChange]
    runs: list[Run]
    saved_at: int
    files: dict[str, bytes]


def left(directory: Path) -> Left:
    """Read what a daemon that is down has left, and change nothing; StoreError."""
    path = directory / "state.db"
    try:
        opened = to_read(path, at_start=True)
        if opened.kept is None:
            raise StoreError(opened.broken or f"{path} is not there")
        with contextlib.closing(opened.db) as db:
            changes = [rows.due_change_in(row[1:]) for row in db.execute(rows.DUE_CHANGES, (0, -1))]
            saved_at = int(rows.read_meta(db).get("saved", "0"))
            return Left(changes, opened.kept.runs, saved_at, rows.read_files(db))
    except (CommitFailed, OSError, sqlite3.Error, *rows.NONSENSE) as error:
        raise StoreError(f"{path}: {error}") from None


def _is_no_file(path: Path) -> str:
    """Words for what there is instead of it, or of what belongs to it, where that is no file; "": nothing."""
    for part in (path.with_name(path.name + ending) for ending in ballast.PARTS):
        try:
            kind = stat.S_IFMT(part.stat().st_mode)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP):
                raise failure(error, path.parent) from None
            found = "a link to nothing" if part.is_symlink() else ""
        else:
            found = _KINDS.get(kind, "a device")
        if found:
            return f"is {found}" if part == path else f"has {found} as {part.name}"
    return ""


def _version(db: sqlite3.Connection, path: Path) -> int:
    """The format of a database; 0: it is empty.  StoreError: it is newer than ours; CommitFailed: it is not ours."""
    version = version_of(db, path)
    if not version and db.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise CommitFailed("it has tables, and no format of jobqueued's", Fault.BROKEN)
    with open(path, "rb") as file:
        if file.read(_HEADER)[_WRITE_VERSION:] > _WAL_MODE:
            raise CommitFailed("its header says that it can only be read", Fault.BROKEN)
    if version and (mine := _own_id(path)) and mine != _id_in(db):
        raise CommitFailed("its write-ahead log belongs to another state.db", Fault.BROKEN)
    return version


def _own_id(path: Path) -> str | None:
    """The name that the file gives itself, whatever its log says; None: it has no log, or nothing can be told."""
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
    """Rename it and all that belongs to it, as it is so; the words for people.  CommitFailed."""
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
def _connected(path: Path, uri: str, patience: float, *, aside: bool) -> Iterator[sqlite3.Connection]:
    """A connection for us alone, which is closed, with a verdict, if something is wrong with the file."""
    with contextlib.ExitStack() as closing:
        try:
            db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=patience)
            closing.callback(db.close)
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            yield db
            closing.pop_all()
        except (CommitFailed, sqlite3.Error, *rows.NONSENSE) as error:
            failed = _verdict(error, path.parent)
            if not aside or failed.fault is not Fault.BROKEN:
                raise failed from None
            words = set_aside(path, f"is corrupt ({failed})")  # before the close, which would delete the log
            raise SetAside(words) from None


def _keep_to_ourselves(path: Path) -> None:
    """It holds the texts of job files, with all their secrets; its write-ahead log gets the same mode."""
    with contextlib.suppress(OSError):  # nothing can be written there: it is as it was made
        path.chmod(0o600)


def _verdict(error: Exception, directory: Path) -> CommitFailed:
    is_nonsense = isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) in _NONSENSE
    if is_nonsense or isinstance(error, rows.NONSENSE):
        return CommitFailed(f"{type(error).__name__}: {error}", Fault.BROKEN)
    return failure(error, directory)


def _read(db: sqlite3.Connection) -> rows.Kept:
    """Read all that a start needs."""
    for table in ("meta", "job", "file", "asked", "number"):
        if flaw := _flaw(db, f"quick_check({table})"):
            raise CommitFailed(flaw, Fault.BROKEN)
    return rows.read(db)


def _damage(db: sqlite3.Connection) -> str:
    """The damage to any part of it; a disk that can't be read now is no damage to the file."""
    try:
        return _flaw(db, "integrity_check(1)")
    except (CommitFailed, sqlite3.Error):
        return ""


def damage_by_others(db: sqlite3.Connection, path: Path) -> str:
    """The damage to an open file, or its log, that another program has written to; "": none, or it is too large."""
    db.execute("PRAGMA shrink_memory")  # pages as they were before
    return _damage(db) if _size(path) <= CHECKED else ""


def _flaw(db: sqlite3.Connection, check: str) -> str:
    """The first thing that a check finds wrong with the file, "" if nothing; an error where it can't be read."""
    try:
        found = str(db.execute(f"PRAGMA {check}").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if of_code(error.sqlite_errorcode) is not Fault.BROKEN:
            raise
        found = str(error)
    code = re.search(r"error code=(\d+)", found)
    if code is not None and of_code(int(code[1])) is not Fault.BROKEN:
        raise CommitFailed(found, Fault.FAILING)
    return "" if found == "ok" else found.replace("\n", ": ")


def _is_new(db: sqlite3.Connection) -> bool:
    """Tell whether no commit was ever made."""
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
