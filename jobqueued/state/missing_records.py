"""Records in state.db whose file is missing or older; the daemon writes each file as soon as the disk has room.

Until the file is written, damage to state.db could destroy the record. Therefore writing these files comes before all
other housekeeping, and at a start the newest runs come first.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from jobqueued.base.instants import MINUTE
from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.documents import Record
from jobqueued.core.records.recollection import is_ahead
from jobqueued.core.records.record_checks import Damaged
from jobqueued.host.log import Log
from jobqueued.model.run import RunId
from jobqueued.state import record_files
from jobqueued.state.db.faults import StoreError
from jobqueued.state.db.store import Store
from jobqueued.state.ends import AT_ONCE, HistoryEnd, newest
from jobqueued.state.record_files import Files

_UNSYNCED = 10 * MINUTE
"""Time (ns) for which a written file may exist only in memory. This is usually 30 s, but longer with a slow disk or on
a laptop.
"""
_NEVER = 1 << 63
MOST = 10_000
"""Maximum number of runs to remember. If there are more, housekeeping checks all runs of the job."""


class MissingRecords:
    """Runs whose record files must be rewritten, and the log lines about these runs.

    `filed` is called with each run whose record was written.
    """

    def __init__(self, store: Store, logs: Path, log: Log, filed: Callable[[RunId], None]) -> None:
        self._store, self._logs, self._log, self._filed = store, logs, log, filed
        self._log_directory = atomic_file.kept(str(logs))
        self._unsure_since = _NEVER
        """Record files that changed after this instant (wall, ns) may be incomplete."""
        self._runs, self._again = OrderedDict[RunId, None](), dict[RunId, None]()
        """Runs whose records must be written, in order of arrival, and runs whose records could not be written."""
        self._written = 0
        """Number of records that were written since the error was logged."""
        self.has_no_room = False
        """True after a record could not be written; no other record is then written until the next retry."""
        self.trouble = ""
        """The error that was logged, or "" if all records could be written."""

    def begin(self, went_down: int | None) -> None:
        """At the start, remember when (wall) the host went down; None means that it did not."""
        self._unsure_since = _NEVER if went_down is None else went_down - _UNSYNCED

    def __bool__(self) -> bool:
        """Return whether any records are missing."""
        return bool(self._runs or self._again)

    def note(self, run: RunId) -> bool:
        """Remember a run; return False if too many are remembered."""
        if len(self._runs) + len(self._again) >= MOST:
            return False
        self._again[run] = None
        return True

    def find(self) -> Iterator[int]:
        """Remember the newest runs without a record file; after each batch, yield the number of checked runs."""
        runs = list[RunId]()
        with contextlib.suppress(StoreError):
            runs = newest(self._store)
        for place in range(0, len(runs), AT_ONCE):
            for run in runs[place : place + AT_ONCE]:
                with contextlib.suppress(OSError):
                    if not record_files.files(self._logs, run).record:
                        self._runs[run] = None
            yield AT_ONCE

    def write_some(self, live: Callable[[], Container[RunId]]) -> int:
        """Write some missing records, but not of live runs, while the disk has room; return the number of checked
        records.
        """
        looked, spared = 0, live() if self._runs else ()
        while self._runs and not self.has_no_room and looked < AT_ONCE:
            run, _ = self._runs.popitem(last=False)
            looked += 1
            try:
                is_written = run not in spared and self.write(run, record_files.files(self._logs, run))
            except OSError:
                is_written = False
            if not is_written:
                self._again[run] = None
        return looked

    def try_again(self) -> None:
        """Allow a retry of the records that could not be written."""
        self._runs |= self._again
        self._again.clear()
        self.has_no_room = False

    def may_differ(self, end: HistoryEnd, files: Files) -> bool:
        """Return whether a run's record file may be missing, older than its row, or incomplete."""
        return end.by_scheduler or files.modified >= self._unsure_since

    def write(self, run: RunId, files: Files) -> bool:
        """Write a run's record file if it is missing or older than its row.

        Return False if the write must be retried.
        """
        if self.has_no_room:
            return False
        try:
            record = self._store.record(run)
            if record is None or (files.record and not self._is_older(record)):
                return True
            atomic_file.restore(*self._log_directory)
            record_files.write(self._logs, record)
        except StoreError:
            return False
        except OSError as error:
            self.has_no_room = True
            self.say(run, error)
            return False
        self._written += 1
        self._filed(run)
        return True

    def _is_older(self, record: Record) -> bool:
        """Return whether a run's record file differs from this record (from state.db) without being newer. Raises
        OSError.
        """
        try:
            found = record_files.checked(self._logs, RunId(record["job"], record["number"]))
        except Damaged:
            return True
        return found != record and not is_ahead(found, record)

    def say(self, run: RunId, error: OSError) -> None:
        """Log that a record could not be written, unless an earlier failure is already logged."""
        if not self.trouble:
            rest = "state.db keeps new records until they can be written"
            self.trouble, self._written = f"cannot write the record of {run}: {error.strerror}; {rest}", 0
            self._log.say("trouble", text=self.trouble)

    def recover(self) -> None:
        """If a failure was logged, log that no record is missing any longer."""
        if self.trouble:
            text = f"{self._written} missing records were written"
            text = {0: "no record is missing now", 1: "the missing record was written"}.get(self._written, text)
            self._log.say("recovered", text=f"{self._logs}: {text}")
            self.trouble = ""
