"""Files of ended runs: their record files, and the run directories (R) that are retained until the record files
exist.
"""

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
"""Maximum number of runs whose R is retained until their record files can be written."""


class RunDirectories:
    """The run directories (R) of ended attempts. Each is removed, or is retained as proof of the end."""

    def __init__(self, batch: WriteBatch, marks: RunDirectory, logs: Path, log: Log) -> None:
        self._batch, self._marks, self._logs, self._log = batch, marks, logs, log
        self._kept: dict[RunId, list[RemoveMarks]] = {}
        """Run → R that are retained until the run's record file exists. They prove the end if state.db is lost or
        replaced by an old copy.
        """
        self._stuck: dict[RunId, dict[Name, None]] = {}
        """Run → R that could not be removed. History must retain these runs, or the next start would count them as
        live.
        """

    def spared(self, live: Collection[RunId]) -> Container[RunId]:
        """Return the runs that history must retain: live runs, and runs whose R could not be removed."""
        return {*live, *self._stuck} if self._stuck else live

    def filed(self, run: RunId) -> None:
        """Remove a run's retained R, because the run's record file exists now, or its history was deleted."""
        for command in self._kept.pop(run, ()):
            self._remove(command)

    def remove(self, command: RemoveMarks, *, is_unwritten: bool) -> None:
        """Remove an R together with the same run's retained R, or retain this R too.

        `is_unwritten`: whether the record file could not be written. Raises OSError if the record file can't be read.
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
        """Return whether history has the run, but the run's record file does not contain the end of this attempt.
        Raises OSError.
        """
        with contextlib.suppress(StoreError):
            if self._batch.record(command.run) is None:
                return False
        return not record_files.tells(self._logs, command.run, command.attempt)

    def _remove(self, command: RemoveMarks) -> None:
        """Remove an R; on success, also retry the removal of each R that could not be removed earlier."""
        name = Name(command.run, command.attempt)
        if trouble := self._removal(name):
            if name not in self._stuck.get(name.run, ()):
                again = "the daemon retries when it removes another one"
                self._log.say("trouble", text=f"cannot remove the run directory of {name}: {trouble}; {again}")
            self._stuck.setdefault(name.run, {})[name] = None
            return
        for stuck in [each for names in self._stuck.values() for each in names]:
            if stuck != name and self._removal(stuck):
                return

    def _removal(self, name: Name) -> str:
        """Remove an R; return why it can't be removed, or "" on success."""
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
    """The files of ended runs: writes record files, and removes the R of runs that have a record file.

    `housekeeping` is notified of missing files.
    """

    def __init__(self, logs: Path, directories: RunDirectories, housekeeping: Housekeeping) -> None:
        self._logs, self._directories, self._housekeeping = logs, directories, housekeeping
        self._log_directory = atomic_file.kept(str(logs))
        self._failed: set[RunId] = set()
        """The runs whose record file could not be written in this turn."""

    def begin_turn(self) -> None:
        """Clear the list of record files that could not be written in the last turn."""
        self._failed.clear()

    def write(self, record: Record) -> None:
        """Write a record file; if this fails, housekeeping writes it later."""
        run = RunId(record["job"], record["number"])
        try:
            atomic_file.restore(*self._log_directory)
            record_files.write(self._logs, record)
        except OSError as error:
            self._failed.add(run)
            self._housekeeping.miss(run, error, read_clocks())

    def remove(self, command: RemoveMarks) -> None:
        """Remove or retain an R.  Raises OSError if the record file can't be read."""
        self._directories.remove(command, is_unwritten=command.run in self._failed)

    def check(self, job: str, output: int = 0) -> None:
        """Schedule a check of a job's files, because one of the job's runs ended and left `output` (bytes), or because
        the job no longer exists.
        """
        self._housekeeping.note(job, read_clocks(), output)
