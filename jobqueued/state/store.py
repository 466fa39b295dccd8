"""state.db: the queue, cursors, counters and history, in SQLite (WAL, synchronous=FULL, one commit a loop turn).

It is the scheduler's alone.  A file that can't be read is set aside, never deleted; what the records still tell
(history's numbers, so that none is used twice) is taken from them, and what is gone is said.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from jobqueued.model import LIVE, PENDING, Claim, Record, Run, RunId, RunState
from jobqueued.queue.placement import Placed
from jobqueued.saved import Hold, JobStats, Outcome, SavedJob

VERSION = 4
BALLAST = 4 << 20

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

_ENDED = f"state NOT IN {tuple(str(state) for state in RunState if state in LIVE | PENDING)}"
"""To the letter the condition of the index `history`, of older files too: else SQLite does not use that."""

_STEPS = {
    1: """
ALTER TABLE job ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
CREATE TABLE file (name TEXT PRIMARY KEY, text BLOB NOT NULL) WITHOUT ROWID;
""",
    2: f"CREATE INDEX history ON run (queued, job, number, state) WHERE {_ENDED};",
    3: f"""
ALTER TABLE run ADD COLUMN more TEXT NOT NULL DEFAULT '{{}}';
ALTER TABLE job ADD COLUMN more TEXT NOT NULL DEFAULT '{{}}';
DROP INDEX history;
CREATE INDEX history ON run (queued, job, number, state) WHERE {_ENDED};
""",
}
"""What each format needs to become the next."""

_RUN_FIELDS = (
    "key", "due", "queued", "arrival", "trigger", "asked_by", "state", "reason", "attempt", "pid", "started",
    "failures", "last_due", "count",
)  # fmt: skip
_MORE_OF_RUN = (
    "not_before", "failover", "stop_asked", "since", "waited", "held", "drains_since",
    "previous", "claims", "placed", "ends_by",
    "so_far",
)  # fmt: skip
"""What few runs have, and none once it has ended: in one JSON object, without what is as in any other."""
_RUN_COLUMNS = f"job, number, more, {', '.join(_RUN_FIELDS)}"
_PUT_RUN = f"INSERT OR REPLACE INTO run ({_RUN_COLUMNS}, record) VALUES ({', '.join('?' * (len(_RUN_FIELDS) + 4))})"
_MORE_OF_JOB = ("paused_until", "previous", "skips", "appeared", "outcomes", "satisfied")
_JOB_COLUMNS = "job, rhythm, cursor, era, last_number, paused, stats, more"
_PUT_JOB = f"INSERT OR REPLACE INTO job ({_JOB_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


_ALL_ENDED = f"""
SELECT queued, job, number, state FROM run WHERE {_ENDED} AND (queued, job, number) < (?, ?, ?) AND queued >= ?
ORDER BY queued DESC, job DESC, number DESC
"""
_ENDED_OF_JOB = f"""
SELECT queued, job, number, state FROM run WHERE {_ENDED} AND job = ? AND number < ? ORDER BY number DESC
"""
_LOOKS, _LOOKS_AT_ROWS = 5000, 500
"""How many runs one call passes over at most: some 3 ms in the index, and as long in the rows themselves."""


class Mark(NamedTuple):
    """A place in history: what is older comes after it."""

    queued: int
    job: str
    number: int


NEWEST = Mark(2**63 - 1, "", 0)


class Page(NamedTuple):
    """Some records, newest first, and the place behind them; None: there are no more."""

    records: list[Record]
    end: Mark | None


class StoreError(Exception):
    """The state can't be used; the message says why and what to do."""


class CommitFailed(Exception):
    """Nothing of this commit was kept; the message is SQLite's."""


class Store:
    """One open state.db in `directory`.  `lost` says, in a sentence, what a broken one took with it; None: nothing."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "state.db"
        self._ballast = directory / "ballast"
        self.lost: str | None = None
        self.is_new = False
        self._db = self._opened()
        with contextlib.suppress(OSError):
            self._lay_ballast()

    def _opened(self) -> sqlite3.Connection:
        """The database, once all that a start needs of it could be read."""
        try:
            db = sqlite3.connect(self._path, isolation_level=None)
            self.is_new |= _prepared(db, self._path)
            _load(db)
            return db
        except sqlite3.OperationalError as error:
            if not self._ballast.exists():
                raise StoreError(f"{self._path}: {error}") from None
            self._ballast.unlink()  # a full disk
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
        return self._opened()

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = next(p for i in range(1, 1000) if not (p := self._path.with_name(f"state.db.broken-{i}")).exists())
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(f"state.db{suffix}").rename(f"{aside}{suffix}")
        self.lost = f"{self._path} is corrupt ({error}), moved to {aside.name}; its waiting runs are lost"

    def _lay_ballast(self) -> None:
        """Space to give up when the disk is full, so that the ends of live runs can still be committed."""
        with open(self._ballast, "ab") as file:
            if file.tell() < BALLAST:
                os.posix_fallocate(file.fileno(), 0, BALLAST)

    def load(self) -> tuple[list[SavedJob], list[Run]]:
        """Every job's memory, and the runs that go on: those without an end, and each job's newest if it is a skip."""
        return _load(self._db)

    def knows_boot(self, boot_id: str) -> bool:
        """Tell whether this state was used, and all that was live recovered, in this boot of the host already."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'boot'").fetchone()
        return row is not None and row[0] == boot_id

    def hold(self) -> Hold | None:
        """The hold of the host."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'hold'").fetchone()
        return None if row is None else _hold(json.loads(row[0]))

    def files(self) -> dict[str, bytes]:
        """The texts of the job files that were accepted last, by name."""
        return dict(self._db.execute("SELECT name, text FROM file ORDER BY name"))

    def commit(
        self, runs: Mapping[RunId, tuple[Run, Record | None]], jobs: Mapping[str, SavedJob],
        files: Mapping[str, bytes | None] | None = None, meta: Mapping[str, str | None] | None = None,
    ) -> None:  # fmt: skip
        """Make all of it durable, or none: CommitFailed.  A full disk costs the ballast first.

        A file of None is gone, and so is a value of `meta`: "boot", before which all that was live is recovered, or
        "hold".
        """
        changes: list[tuple[str, Sequence[tuple[object, ...]]]] = [
            (_PUT_RUN, [_run_row(run, record) for run, record in runs.values()]),
            (_PUT_JOB, [_job_row(memory) for memory in jobs.values()]),
            ("DELETE FROM file WHERE name = ?", [(name,) for name, text in (files or {}).items() if text is None]),
            ("INSERT OR REPLACE INTO file VALUES (?, ?)", [row for row in (files or {}).items() if row[1] is not None]),
            ("DELETE FROM meta WHERE name = ?", [(name,) for name, value in (meta or {}).items() if value is None]),
            ("INSERT OR REPLACE INTO meta VALUES (?, ?)", [row for row in (meta or {}).items() if row[1] is not None]),
        ]
        try:
            self._write(changes)
        except sqlite3.Error as error:
            if not self._ballast.exists():
                raise CommitFailed(str(error)) from None
            self._ballast.unlink()
            self.commit(runs, jobs, files, meta)

    def _write(self, changes: Iterable[tuple[str, Sequence[tuple[object, ...]]]]) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for statement, rows in changes:
                self._db.executemany(statement, rows)

    def record(self, run: RunId) -> Record | None:
        """The whole record of an ended run; StoreError."""
        rows = self._read("SELECT record FROM run WHERE job = ? AND number = ? AND record IS NOT NULL", run)
        return rows[0] if rows else None

    def history(self, job: str, limit: int) -> list[Record]:
        """The newest records of a job, newest first; StoreError."""
        query = "SELECT record FROM run WHERE job = ? AND record IS NOT NULL ORDER BY number DESC LIMIT ?"
        return self._read(query, (job, limit))

    def ended(
        self, before: Mark, since: int, limit: int, wanted: Callable[[Mark, str], bool], job: str | None = None
    ) -> Page:
        """The newest records before a place whose run (its mark and state) is `wanted`; StoreError."""
        values: tuple[object, ...]
        query, values, looks = _ALL_ENDED, (*before, since), _LOOKS
        if job is not None:
            query, values, looks = _ENDED_OF_JOB, (job, before.number or 2**63 - 1), _LOOKS_AT_ROWS
        found: list[Record] = []
        try:
            rows = self._db.execute(query, values)
            for looked, (queued, name, number, state) in enumerate(rows, 1):
                mark = Mark(queued, name, number)
                if (
                    queued >= since
                    and wanted(mark, state)
                    and (document := self.record(RunId(name, number))) is not None
                ):
                    found.append(document)
                if len(found) >= limit or looked >= looks:
                    rows.close()
                    return Page(found, mark)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from None
        return Page(found, None)

    def jobs(self) -> list[str]:
        """Every job id that is remembered."""
        return [job for (job,) in self._db.execute("SELECT job FROM job ORDER BY job")]

    def of_the_scheduler(self, job: str) -> list[Record]:
        """The records of a job that no supervisor wrote; StoreError."""
        return self._read("SELECT record FROM run WHERE job = ? AND state IN ('skipped', 'lost')", (job,))

    def _read(self, query: str, values: tuple[object, ...]) -> list[Record]:
        try:
            return [json.loads(text) for (text,) in self._db.execute(query, values)]
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from None

    def forget(self, job: str, numbers: Iterable[int]) -> None:
        """Drop records that retention has removed, never a run without its end: CommitFailed."""
        query = "DELETE FROM run WHERE job = ? AND number = ? AND record IS NOT NULL"
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(query, [(job, number) for number in numbers])
        except sqlite3.Error as error:
            raise CommitFailed(str(error)) from None

    def tidy(self) -> None:
        """Move the write-ahead log into the database: for a moment in which nothing is due."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Leave a database without a write-ahead log."""
        self._db.close()


def _prepared(db: sqlite3.Connection, path: Path) -> bool:
    """Bring the database to our format; whether it was empty."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer jobqueued (format {version}); this one supports up to {VERSION}"
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 16384")
    steps = [_STEPS[number] for number in range(max(version, 1), VERSION)]
    if version < VERSION:
        script = "".join(steps if version else [_SCHEMA, *steps])
        db.executescript(f"BEGIN; {script} PRAGMA user_version = {VERSION}; COMMIT;")
    return bool(version == 0)


def _load(db: sqlite3.Connection) -> tuple[list[SavedJob], list[Run]]:
    memories = [_memory(*row) for row in db.execute(f"SELECT {_JOB_COLUMNS} FROM job")]
    unfinished = db.execute(f"SELECT {_RUN_COLUMNS} FROM run WHERE record IS NULL")
    newest = "(job, number) IN (SELECT job, last_number FROM job)"
    skips = db.execute(f"SELECT {_RUN_COLUMNS} FROM run WHERE state = 'skipped' AND {newest}")
    return memories, [_run(*row) for rows in (unfinished, skips) for row in rows]


def _run_row(run: Run, record: Record | None) -> tuple[object, ...]:
    if record is not None:
        return (*run.id, "{}", *_run_fields(run), json.dumps(record, separators=(",", ":")))
    return (*run.id, _more(_MORE_OF_RUN, _more_of_run(run), _COMMON_RUN), *_run_fields(run), None)


def _more(names: tuple[str, ...], values: tuple[Any, ...], common: tuple[Any, ...]) -> str:
    """The rare fields of a row, as JSON."""
    if values == common:
        return "{}"
    rare = {name: value for name, value, usual in zip(names, values, common, strict=True) if value != usual}
    return json.dumps(rare, separators=(",", ":"))


_run_fields, _more_of_run, _more_of_job = attrgetter(*_RUN_FIELDS), attrgetter(*_MORE_OF_RUN), attrgetter(*_MORE_OF_JOB)
_COMMON_RUN = _more_of_run(Run(id=RunId("", 1), key="", due=0, queued=0, arrival=0))
_COMMON_JOB = _more_of_job(SavedJob(job=""))


def _run(job: str, number: int, more: str, *rest: Any) -> Run:
    fields = dict(zip(_RUN_FIELDS, rest, strict=True)) | json.loads(more)
    claims, placed = claims_from(fields.pop("claims", ())), placed_from(fields.pop("placed", ()))
    fields["state"] = RunState(fields["state"])
    return Run(id=RunId(job, number), claims=claims, placed=placed, **fields)


def hold_text(hold: Hold | None) -> str | None:
    """The text that `commit` takes for "hold"."""
    return None if hold is None else json.dumps(_plain_hold(hold))


def _plain_hold(hold: Hold) -> dict[str, Any]:
    return {**hold._asdict(), "below": None if hold.below is None else _plain_hold(hold.below)}


def _hold(plain: dict[str, Any]) -> Hold:
    below = plain.get("below")
    return Hold(**{**plain, "below": None if below is None else _hold(below)})


def claims_from(plain: Iterable[Any]) -> tuple[Claim, ...]:
    """Claims as JSON has them."""
    return tuple(Claim(*claim) for claim in plain)


def placed_from(plain: Iterable[Any]) -> Placed:
    """The units that a run was given, as JSON has them."""
    return tuple((name, tuple(numbers)) for name, numbers in plain)


_stats_fields = attrgetter(*JobStats.__slots__)


def _job_row(memory: SavedJob) -> tuple[object, ...]:
    stats = json.dumps(dict(zip(JobStats.__slots__, _stats_fields(memory.stats), strict=True)), separators=(",", ":"))
    more = _more(_MORE_OF_JOB, _more_of_job(memory), _COMMON_JOB)
    return memory.job, memory.rhythm, memory.cursor, memory.era, memory.last_number, int(memory.paused), stats, more


def _memory(
    job: str, rhythm: str, cursor: int, era: int, last_number: int, paused: int, stats: str, more: str
) -> SavedJob:
    rare = json.loads(more)
    return SavedJob(
        job=job, rhythm=rhythm, cursor=cursor, era=era, last_number=last_number, paused=bool(paused),
        stats=JobStats(**json.loads(stats)), paused_until=rare.get("paused_until"),
        skips=tuple(rare.get("skips", ())), appeared=rare.get("appeared", 0),
        outcomes=tuple(Outcome(*outcome) for outcome in rare.get("outcomes", ())),
        satisfied=tuple(rare.get("satisfied", ())), previous=rare.get("previous", 0),
    )  # fmt: skip
