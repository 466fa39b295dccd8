"""state.db: the queue, cursors, counters and history, in SQLite (WAL, synchronous=FULL, one commit in each turn of the
loop).

Only the daemon uses the file.  A file that can't be read is set aside, never deleted.  The next start restores history
from the records (takeover.py), and the daemon logs the losses.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet.etcd.values import parsed
from jobqueued.model.commands import SaveSubmission
from jobqueued.model.fleet import FleetMark
from jobqueued.model.run import Run, RunId
from jobqueued.model.saved import DueChange, Hold, Incident, Notice, SavedJob
from jobqueued.state.db import due_bounds, opening, rows
from jobqueued.state.db.ballast import Ballast
from jobqueued.state.db.faults import CommitFailed, StateFault, StoreError, failure
from jobqueued.state.db.formats import CLEAR, ENDED
from jobqueued.state.db.mirror import Keys, Mirror, keys_in
from jobqueued.state.db.own_writes import OwnWrites

_ALL_ENDED = f"""
SELECT queued, job, number, state FROM run WHERE {ENDED} AND (queued, job, number) < (?, ?, ?) AND queued >= ?
ORDER BY queued DESC, job DESC, number DESC
"""
_ENDED_OF_JOB = f"""
SELECT queued, job, number, state FROM run WHERE {ENDED} AND job = ? AND number < ? ORDER BY number DESC
"""
_LOOKS, _LOOKS_AT_ROWS = 5000, 500
"""Maximum number of runs that one call of `ended` checks: in the index, or in the rows themselves. Either takes about 3
ms.
"""


class HistoryMark(NamedTuple):
    """A place in history; older records come after it."""

    queued: int
    job: str
    number: int


NEWEST = HistoryMark(2**63 - 1, "", 0)


class Page(NamedTuple):
    """A page of records, newest first, and the place after them; the place is None for the last page."""

    records: list[Record]
    end: HistoryMark | None


class Mended(NamedTuple):
    """The result of `Store.mend` if state.db must get the whole state from memory.

    `mirror` has the data that the scheduler does not have. `is_new`: whether state.db has no history yet.
    """

    mirror: Mirror
    is_new: bool


class Store:
    """One open state.db in `directory`.

    `lost`: a message about a broken state.db that was set aside or ignored, or None. `is_new`: whether state.db was
    empty at the start. `failure`: why state.db can't be written until `mend` reopens it, or None.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "state.db"
        self._ballast = Ballast(directory)
        self.lost: str | None = None
        self.failure: CommitFailed | None = None
        opened = self._opened()
        self._db, self.is_new, self._kept = opened.db, opened.is_new, opened.kept
        self._own, self._is_doubted = OwnWrites(self._path), False
        self._has_committed, self._undropped, self._is_named = not self.is_new, 1.0, False
        kept = opened.kept
        self._mirror = Mirror({}, {}, Keys()) if kept is None else Mirror(kept.meta, kept.files, kept.keys)
        self._ballast.lay()

    def _opened(self) -> opening.OpenState:
        """Open state.db for writing or, if this fails, for reading. Raises StoreError if the file can't be read
        either.
        """
        try:
            opened = self._to_write(at_start=True)
            if opened.damage:
                self.failure = CommitFailed(opened.damage, StateFault.BROKEN)
            return opened
        except CommitFailed as failed:
            self.failure = failed
        try:
            if self.failure.fault not in (StateFault.FULL, StateFault.READ_ONLY, StateFault.FAILING, StateFault.DENIED):
                raise self.failure
            opened = opening.to_read(self._path, at_start=True)
        except CommitFailed as failed:
            raise StoreError(f"{self._path}: {failed}; {failed.fault.remedy}") from None
        if opened.broken:
            self.lost = f"{self._path} is corrupt ({opened.broken})"
        return opened

    def _to_write(self, *, at_start: bool) -> opening.OpenState:
        """Open state.db for writing. Set a broken file aside and, if the disk is full, free the ballast.

        Raises CommitFailed.
        """
        for _ in range(3):
            try:
                return opening.to_write(self._path, at_start=at_start)
            except opening.SetAside as aside:
                self.lost = str(aside)
            except CommitFailed as failed:
                if failed.fault is not StateFault.FULL or not self._ballast.give_up():
                    raise
        raise CommitFailed("jobqueued can't read back what it writes there", StateFault.FAILING)

    def of_fleet(self) -> tuple[str, FleetMark]:
        """Return this state's unique ID ("" before its first commit) and the fleet's last saved mark."""
        meta = dict(self.query("SELECT name, value FROM meta WHERE name IN ('id', 'fleet')"))
        return meta.get("id", ""), parsed(FleetMark, meta.get("fleet", "[]")) or FleetMark()

    def mend(self) -> Mended | None:
        """Reopen state.db after a failure; return None if the file still has all commits. Raises CommitFailed if this
        fails.
        """
        if self.failure is None:
            return None
        try:
            if self.failure.fault is StateFault.FOREIGN and (flaw := opening.damage_by_others(self._db, self._path)):
                self.failure = CommitFailed(flaw, StateFault.BROKEN)
            if self.failure.fault is StateFault.BROKEN:
                what = "was removed or replaced" if self._own.is_another() else f"is corrupt ({self.failure})"
                self.lost = opening.set_aside(self._path, what)
            self._db.close()
            opened = self._to_write(at_start=False)
            self._db, self._is_named = opened.db, False
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # write pages that a failed fsync left unwritten
            self._own = OwnWrites(self._path)
        except (CommitFailed, StoreError, OSError, sqlite3.Error) as error:
            self.failure = failure(error, self._path.parent)
            self._db.close()
            with contextlib.suppress(CommitFailed, StoreError, OSError):  # if this fails too, nothing can be read
                self._db = opening.to_read(self._path, at_start=False).db
            raise self.failure.with_traceback(None) from None
        is_doubted, self.failure, self._is_doubted = self._is_doubted, None, False
        is_new = opened.is_new and self._has_committed
        return Mended(self._mirror, is_new) if is_new or is_doubted else None

    def load(self) -> tuple[list[SavedJob], list[Run]]:
        """Return the saved state of all jobs, all unfinished runs, and each job's newest run if this run is a skip."""
        with self._reading():
            kept, self._kept = self._kept or rows.read(self._db), None
        return kept.jobs, kept.runs

    def has_seen_boot(self, boot_id: str) -> bool:
        """Return whether an earlier daemon recovered all live runs and started `@reboot` jobs since the last boot."""
        with self._reading():
            return rows.read_meta(self._db).get("boot") == boot_id

    def hold(self) -> Hold | None:
        """Return the host's hold, or None."""
        with self._reading():
            return rows.hold_in(rows.read_meta(self._db))

    def files(self) -> dict[str, bytes]:
        """Return the last accepted texts of job files, by name.  Raises StoreError."""
        with self._reading():
            return rows.read_files(self._db)

    def notices(self) -> tuple[list[Incident], list[Notice]]:
        """Return the open incidents, and the notices that wait to be sent.  Raises StoreError."""
        with self._reading():
            return rows.read_notices(self._db)

    def due_changes(self, after: int, limit: int) -> list[tuple[int, DueChange]]:
        """Return at most `limit` changes of due times whose IDs are above `after`, oldest first, each with its ID.
        Raises StoreError.
        """
        with self._reading():
            found = self._db.execute(rows.DUE_CHANGES, (after, limit)).fetchall()
            return [(number, rows.due_change_in(row)) for number, *row in found]

    def states(self, job: str) -> list[str]:
        """Return the distinct final states of a job's runs. Raises StoreError."""
        query = f"SELECT DISTINCT state FROM run WHERE job = ? AND {ENDED}"
        with self._reading():
            return [state for (state,) in self._db.execute(query, (job,))]

    def tally(self, job: str) -> dict[int, tuple[str, int]]:
        """Return run number → (final state, number of occurrences) for a job's ended runs. Raises StoreError."""
        query = f"SELECT number, state, count FROM run WHERE job = ? AND {ENDED}"
        with self._reading():
            return {number: (state, count) for number, state, count in self._db.execute(query, (job,))}

    def submissions(self) -> tuple[list[SaveSubmission], dict[str, int]]:
        """Return the unfinished submissions, and each user's last number.  Raises StoreError."""
        with self._reading():
            return rows.read_submissions(self._db)

    def submission_of(self, share: str, key: str) -> str | None:
        """Return the submission, unfinished or ended, that a user made with this key, or None if none is saved."""
        with self._reading():
            found = self._db.execute("SELECT job FROM asked WHERE share = ? AND key = ?", (share, key)).fetchone()
        return None if found is None else str(found[0])

    def commit(
        self,
        runs: Mapping[RunId, tuple[Run, Record | None]],
        jobs: Mapping[str, SavedJob],
        files: Mapping[str, bytes | None] | None = None,
        meta: Mapping[str, str | None] | None = None,
        forgotten: Iterable[RunId] = (),
        incidents: Mapping[str, Incident | None] | None = None,
        notices: Mapping[int, Notice | None] | None = None,
        submissions: Iterable[SaveSubmission] = (),
        over: Iterable[str] = (),
        numbers: Mapping[str, int] | None = None,
        due_changes: Iterable[DueChange] = (),
        keys: Mapping[str, str] | None = None,
        *,
        anew: bool = False,
    ) -> None:
        """Save all changes, or nothing.  Raises CommitFailed.  If the disk is full, free the ballast and retry.

        None deletes a file, an incident, a notice or a value of `meta`. Names in `meta` are, for example, "boot" (the
        last boot with a complete recovery), "hold", and "untaken" (whether records may have no rows). For submissions
        that are `over`, only the keys remain, until their history is deleted. `keys`: the keys of earlier submissions.
        `anew`: whether to delete the old state first, except history.
        """
        due, new = list(due_changes), list(submissions)
        keys = {**(keys or {}), **keys_in(runs.values()), **{it.job: it.key for it in new if it.key}}
        self._undropped += sum(map(due_bounds.weight, due))
        drops = self._undropped >= 1
        changes: list[tuple[str, Sequence[tuple[object, ...]]]] = [
            *((statement, [()]) for statement in CLEAR if anew),
            ("DELETE FROM run WHERE job = ? AND number = ? AND record IS NULL", list(forgotten)),
            (rows.PUT_RUN, [rows.run_row(run, record) for run, record in runs.values()]),
            (rows.PUT_JOB, [rows.job_row(memory) for memory in jobs.values()]),
            *rows.of_submissions(new, list(over), numbers or {}, keys),
            *_changed("file", "name", files),
            *_changed("meta", "name", meta),
            *_changed("incident", "subject", incidents, rows.incident_text),
            *_changed("notice", "id", notices, rows.notice_text),
            (rows.PUT_DUE_CHANGE, due),
            ("INSERT OR IGNORE INTO meta VALUES ('id', lower(hex(randomblob(8))))", [] if self._is_named else [()]),
            ("INSERT OR REPLACE INTO meta VALUES ('saved', ?)", [(str(time.time_ns()),)]),
        ]
        self._write(changes, drops=drops)
        self._undropped = 0.0 if drops else self._undropped
        self._mirror.follow(meta or {}, files or {}, keys)
        if not self._is_named:
            self._is_named = True
            self._mirror.follow({"id": self.of_fleet()[0]}, {}, {})

    def _write(self, changes: Sequence[tuple[str, Sequence[tuple[object, ...]]]], *, drops: bool = False) -> None:
        """Make one transaction; with `drops`, also limit the history of due times. Raises CommitFailed.

        After an error, SQLite's results may be wrong, so the next transaction needs `mend`, which reopens the file.
        """
        if (failing := self._failing()) is not None:
            raise failing.with_traceback(None)
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for statement, values in changes:
                    if values:
                        self._db.executemany(statement, values)
                if drops:
                    gone = due_bounds.too_many(self._db.execute(due_bounds.SIZES))
                    self._db.executemany(due_bounds.DROP, gone)
        except sqlite3.Error as error:
            failed = failure(error, self._path.parent)
        else:
            self._has_committed, self._kept = True, None
            return
        finally:
            self._own.note()
        if failed.fault is StateFault.FULL and self._ballast.give_up():
            self._write(changes, drops=drops)
            return
        if failed.fault not in (StateFault.FULL, StateFault.BUG):
            self.failure = failed
        raise failed

    def _failing(self) -> CommitFailed | None:
        """Return the failure that prevents a commit, including writes by other programs, or None."""
        if self.failure is None:
            self.failure = self._own.trouble()
            self._is_doubted |= self.failure is not None and self.failure.fault is StateFault.FOREIGN
        return self.failure

    def record(self, run: RunId) -> Record | None:
        """Return the record of an ended run, or None.  Raises StoreError."""
        found = self._read("job = ? AND number = ? AND record IS NOT NULL", *run)
        return found.get(run.number)

    def history(self, job: str, limit: int) -> dict[int, Record]:
        """Return a job's newest records by run number, newest first. Raises StoreError."""
        return self._read("job = ? AND record IS NOT NULL ORDER BY number DESC LIMIT ?", job, limit)

    def ended(
        self,
        before: HistoryMark,
        since: int,
        limit: int,
        wanted: Callable[[HistoryMark, str], bool],
        job: str | None = None,
    ) -> Page:
        """Return a page of the newest records before a place, for runs where `wanted(mark, state)` is true. Raises
        StoreError.
        """
        values: tuple[object, ...]
        query, values, looks = _ALL_ENDED, (*before, since), _LOOKS
        if job is not None:
            query, values, looks = _ENDED_OF_JOB, (job, before.number or 2**63 - 1), _LOOKS_AT_ROWS
        found: list[Record] = []
        with self._reading():
            passed = self._db.execute(query, values)
            for looked, (queued, name, number, state) in enumerate(passed, 1):
                mark = HistoryMark(queued, name, number)
                if (
                    queued >= since
                    and wanted(mark, state)
                    and (document := self.record(RunId(name, number))) is not None
                ):
                    found.append(document)
                if len(found) >= limit or looked >= looks:
                    passed.close()
                    return Page(found, mark)
        return Page(found, None)

    def jobs(self) -> list[str]:
        """Return all saved job IDs.  Raises StoreError."""
        with self._reading():
            return [sys.intern(job) for (job,) in self._db.execute("SELECT job FROM job ORDER BY job")]

    def _read(self, which: str, *values: object) -> dict[int, Record]:
        """Return run number → record for the runs that a condition selects, without damaged records. Raises
        StoreError.
        """
        with self._reading():
            query = f"SELECT job, number, CAST(record AS BLOB) FROM run WHERE {which}"
            found = self._db.execute(query, values).fetchall()
        return {row[1]: record for row in found if (record := rows.record_in(*row)) is not None}

    def forget(self, runs: Iterable[RunId]) -> None:
        """Delete the rows of these runs, which retention removed; keep rows of unfinished runs. Raises CommitFailed."""
        self._write([("DELETE FROM run WHERE job = ? AND number = ? AND record IS NOT NULL", list(runs))])

    def forget_keys(self, jobs: Iterable[str]) -> None:
        """Delete the keys of submissions that have no run and will get none. Raises CommitFailed."""
        unless = "NOT EXISTS (SELECT 1 FROM run WHERE job = asked.job) AND job NOT IN (SELECT job FROM submission)"
        asked = f"SELECT 1 FROM asked WHERE job = ? AND {unless}"
        try:
            gone = [job for job in jobs if self.query(asked, (job,))]
        except StoreError as error:
            raise failure(error, self._path.parent) from None
        self._write([("DELETE FROM asked WHERE job = ?", [(job,) for job in gone])])
        self._mirror.forget_keys(gone)

    def query(self, query: str, values: Iterable[object] = ()) -> list[Any]:
        """Return the rows that a query finds.  Raises StoreError."""
        with self._reading():
            return self._db.execute(query, tuple(values)).fetchall()

    def given_up(self) -> list[str]:
        """Return the names of set-aside databases that were removed to make room, since the last call."""
        given, self._ballast.removed = self._ballast.removed, []
        return given

    def tidy(self) -> None:
        """Move the write-ahead log into the database, and re-create the ballast. Call this when nothing else is due.

        A failure loses nothing, and the next commit raises CommitFailed.
        """
        if self._failing() is None:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._db.execute("PRAGMA shrink_memory")  # free cached pages
            self._own.note_tidied()
            self._ballast.lay()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Convert SQLite's errors, and errors about impossible rows, to StoreError.

        After an error that damage may have caused, the next commit mends the file.
        """
        try:
            yield
        except (sqlite3.Error, *rows.NONSENSE) as error:
            if self.failure is not None and isinstance(
                error, sqlite3.ProgrammingError
            ):  # `mend` could not open the file
                text = f"{self._path} can't be opened: {self.failure}; {self.failure.fault.remedy}"
                raise StoreError(text) from None
            if self.failure is None and isinstance(error, sqlite3.DatabaseError):
                found = failure(error, self._path.parent)
                self.failure = found if found.fault in (StateFault.BROKEN, StateFault.FAILING) else None
            raise StoreError(f"{self._path}: {error}") from None

    def close(self) -> None:
        """Close the database, without leaving a write-ahead log."""
        self._db.close()


def _changed(
    table: str, key: str, changes: Mapping[Any, Any] | None, text: Callable[[Any], object] = lambda value: value
) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    """Yield the statements that apply `changes` to a table of keys and values; None deletes a key."""
    if not changes:
        return
    found = changes.items()
    yield f"DELETE FROM {table} WHERE {key} = ?", [(name,) for name, value in found if value is None]
    put: list[tuple[object, ...]] = [(name, text(value)) for name, value in found if value is not None]
    yield f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", put
