"""state.db of the simulated host: SQLite in memory, where a commit is all or nothing, and lasts once it returns."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from jobqueued.state.db import formats, opening, rows
from jobqueued.state.db.faults import CommitFailed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulation.system import System

Rows = list[tuple[object, ...]]
_CODES = {28: (sqlite3.SQLITE_FULL, "SQLITE_FULL"), 30: (sqlite3.SQLITE_READONLY, "SQLITE_READONLY")}
_FAILING = (sqlite3.SQLITE_IOERR, "SQLITE_IOERR")


class Database:
    """What the disk has.  `committed` hears of each commit which runs it has put."""

    def __init__(self, system: System, committed: Callable[[Rows], None]) -> None:
        self.system, self.committed = system, committed
        self.db = self._new()

    @staticmethod
    def _new() -> sqlite3.Connection:
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        formats.bring_up(db, 0)
        return db

    def to_write(self, path: Path, *, at_start: bool) -> opening.OpenState:
        """As opening.to_write."""
        self.system.kernel.enter("open")
        fake = self.system.fake
        if not fake.path.exists(str(path)):
            try:
                fake.close(fake.open(str(path), 0o101, 0o600))
            except OSError as error:
                raise CommitFailed(str(error.strerror), opening.StateFault.FULL) from None
        is_new = self.db.execute("SELECT 1 FROM meta UNION ALL SELECT 1 FROM job LIMIT 1").fetchone() is None
        return opening.OpenState(Connection(self), is_new, rows.read(self.db))  # type: ignore[arg-type]

    def to_read(self, path: Path, *, at_start: bool) -> opening.OpenState:
        """As opening.to_read."""
        return opening.OpenState(Connection(self), False, rows.read(self.db))  # type: ignore[arg-type]


class Connection:
    """The scheduler's connection."""

    def __init__(self, database: Database) -> None:
        self._database, self._db = database, database.db
        self._put: Rows = []

    def execute(self, statement: str, values: Iterable[object] = ()) -> Any:
        """As sqlite3.Connection.execute."""
        if statement.startswith("BEGIN"):
            self._enter("begin")
            self._put = []
        elif statement.startswith("PRAGMA"):
            return None
        return self._db.execute(statement, tuple(values))

    def executemany(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        """As sqlite3.Connection.executemany."""
        if values:
            self._db.executemany(statement, values)
            if statement is rows.PUT_RUN:
                self._put += values

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        """Commit, or roll back; death comes before it, or after it."""
        if not self._db.in_transaction:
            return
        if kind is not None:
            self._db.rollback()
            return
        try:
            self._enter("commit")
        except BaseException:
            self._db.rollback()
            raise
        self._db.commit()
        self._database.committed(self._put)
        self._database.system.kernel.enter("committed")

    def _enter(self, call: str) -> None:
        system = self._database.system
        trouble = system.files.disk.trouble
        try:
            system.kernel.enter(call)
        except OSError as error:
            trouble = error.errno or 5
        if trouble:
            code, name = _CODES.get(trouble, _FAILING)
            failed = sqlite3.OperationalError("disk trouble")
            failed.sqlite_errorcode, failed.sqlite_errorname = code, name
            raise failed

    def close(self) -> None:
        """Nothing is lost by it."""
