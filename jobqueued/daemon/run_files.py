"""Files of runs that ended: their record files, and the run directories (R) that stay until these exist."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Container
from pathlib import Path

from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.documents import Record
from jobqueued.daemon.loop import read_clocks
from jobqueued.host.log import Log
from jobqueued.model.commands import RemoveMarks
from jobqueued.model.run import RunId
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.state import record_files
from jobqueued.state.db.faults import StoreError
from jobqueued.state.housekeeping import Housekeeping
from jobqueued.state.write_batch import WriteBatch

MOST_KEPT = 256
"""Maximum runs whose R is kept until their record file can be written."""


class RunDirectories:
    """The R's of attempts that ended: each is removed, or kept as a proof of the end."""

    def __init__(self, batch: WriteBatch, marks: RunDirectory, logs: Path, log: Log) -> None:
        self._batch, self._marks, self._logs, self._log = batch, marks, logs, log
        self._kept: dict[RunId, list[RemoveMarks]] = {}
        """R's that stay until their record file exists: they prove the end if state.db is lost or put back."""
        self._stuck: dict[RunId, dict[Name, None]] = {}
        """R's that could not be removed. History keeps their runs, or the next start would count them as live."""

    def spared(self, live: Collection[RunId]) -> Container[RunId]:
        """Return the runs that history must keep: live runs, and runs whose R could not be removed."""
        return {*live, *self._stuck} if self._stuck else live

    def filed(self, run: RunId) -> None:
        """Remove a run's R's: its record file exists now, or its history was deleted."""
        for command in self._kept.pop(run, ()):
            self._remove(command)

    def remove(self, command: RemoveMarks, *, is_unwritten: bool) -> None:
        """Remove an R together with the kept R's of its run; or keep it.

        `is_unwritten`: the record file could not be written. Raises OSError if the record file can't be read.
        """
        run = command.run
        if not command.again:
            if is_unwritten or (command.known and self._is_untold(command)):
                self._kept.setdefault(run, []).append(command)
                if len(self._kept) > MOST_KEPT:
                    self.filed(next(iter(self._kept)))
                return
            self.filed(run)
        self._remove(command)

    def _is_untold(self, command: RemoveMarks) -> bool:
        """Return whether history has the run, but no record file has the end of this attempt. Raises OSError."""
        with contextlib.suppress(StoreError):
            if self._batch.record(command.run) is None:
                return False
        return not record_files.tells(self._logs, command.run, command.attempt)

    def _remove(self, command: RemoveMarks) -> None:
        """Remove an R; if that works, also retry those that could not be removed."""
        name = Name(command.run, command.attempt)
        if trouble := self._removal(name):
            if name not in self._stuck.get(name.run, ()):
                again = "it is tried again when others are removed"
                self._log.say("trouble", text=f"cannot remove the run directory of {name}: {trouble}; {again}")
            self._stuck.setdefault(name.run, {})[name] = None
            return
        for stuck in [each for names in self._stuck.values() for each in names]:
            if stuck != name and self._removal(stuck):
                return

    def _removal(self, name: Name) -> str:
        """Remove an R; return why it can't be removed, or "" if it was."""
        try:
            self._marks.remove(name)
        except OSError as error:
            return str(error.strerror)
        left = self._stuck.get(name.run, {})
        left.pop(name, None)
        if not left:
            self._stuck.pop(name.run, None)
        return ""


class RunFiles:
    """Writes record files, and removes the R's of runs that have one. `housekeeping` hears of files that it misses."""

    def __init__(self, logs: Path, directories: RunDirectories, housekeeping: Housekeeping) -> None:
        self._logs, self._directories, self._housekeeping = logs, directories, housekeeping
        self._log_directory = atomic_file.kept(str(logs))
        self._failed: set[RunId] = set()
        """The runs whose record file could not be written in this turn."""

    def begin_turn(self) -> None:
        """Forget which record files could not be written in the last turn."""
        self._failed.clear()

    def write(self, record: Record) -> None:
        """Write a record file; one that can't be written now is written later."""
        run = RunId(record["job"], record["number"])
        try:
            atomic_file.restore(*self._log_directory)
            record_files.write(self._logs, record)
        except OSError as error:
            self._failed.add(run)
            self._housekeeping.miss(run, error, read_clocks())

    def remove(self, command: RemoveMarks) -> None:
        """Remove or keep an R. Raises OSError if the record file can't be read."""
        self._directories.remove(command, is_unwritten=command.run in self._failed)

    def check(self, job: str) -> None:
        """Let the files of a job be checked: one of its runs ended, or it does not exist any more."""
        self._housekeeping.note(job, read_clocks())
