"""Acts: one commit of all that is to be kept, then command by command in the order given."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Container, Sequence
from pathlib import Path
from typing import Any

from jobqueued import commands
from jobqueued.child import atomic_file
from jobqueued.commands import Command, ForgetRun, RemoveMarks, SaveRun
from jobqueued.control.lock_processes import LockProcesses
from jobqueued.host.log import Log
from jobqueued.model import Record, RunId
from jobqueued.runs.fleet_link import FleetLink
from jobqueued.runs.launcher_link import LauncherLink
from jobqueued.runs.run_directory import Name
from jobqueued.state import record_files
from jobqueued.state.commits import Commits
from jobqueued.state.faults import StoreError
from jobqueued.state.write_batch import WriteBatch

Answer = Callable[[int, dict[str, Any], str | None], None]
MOST_KEPT = 256
"""So many runs at most keep their R until their record file can be written."""


class Acts:
    """Carries commands out.

    `ended` is told of each run whose end is committed, or can't be now, `unwritten` of each record file that can't be
    written, and `look_after` of each job that has left its file and never ran.
    """

    def __init__(
        self, batch: WriteBatch, commits: Commits, link: LauncherLink, log: Log, logs: Path,
        lock_processes: LockProcesses, answer: Answer, ended: Callable[[RunId, Record], None],
        unwritten: Callable[[RunId, OSError], None], look_after: Callable[[str], None], fleet: FleetLink,
    ) -> None:  # fmt: skip
        self._batch, self._commits, self._link, self._log, self._logs = batch, commits, link, log, logs
        self._lock_processes, self._answer, self._fleet = lock_processes, answer, fleet
        self._ended, self._unwritten, self._look_after = ended, unwritten, look_after
        self._log_directory = atomic_file.kept(str(logs))
        self._taken: list[Command] = []
        """What is to be done with the next commit."""
        self._held_back: list[RemoveMarks | commands.NoteWhole] = []
        self._unsaved: dict[RunId, Record] = {}
        """Records that are written once they are committed: else the next start would go on behind them."""
        self._failed: set[RunId] = set()
        """The runs whose record file could not be written in this turn."""
        self._kept: dict[RunId, list[RemoveMarks]] = {}
        """R's that stay as long as no record file is there: if state.db is lost or falls back, they tell the end."""
        self._stuck: dict[RunId, dict[Name, None]] = {}
        """R's that could not be removed.  History has to know their runs: the next start would take them for live."""

    def take(self, decided: Sequence[Command]) -> None:
        """Have all of it committed, and done, together with what is carried out next."""
        for command in decided:
            self._batch.take(command)
        self._taken += decided

    def carry_out(self, decided: Sequence[Command]) -> None:
        """Commit first, then act."""
        self.take(decided)
        decided, self._taken = self._taken, []
        ended = [(each.run.id, each.record) for each in decided if isinstance(each, SaveRun) and each.record]
        ended += [(each.run, each.record) for each in decided if isinstance(each, ForgetRun) and each.record]
        committed = self._commits.make()
        self._failed.clear()
        if committed:
            self._catch_up()
        for _run, record in ended:
            if record.get("record_error"):
                self._file_record(record, committed)
        for command in decided:
            self._act(command, committed)
        self._link.flush()
        if wishes := [each for each in decided if isinstance(each, commands.FleetCommand)]:
            self._ask_fleet(wishes, committed)
        for run, record in ended:
            self._ended(run, record)

    def last(self) -> None:
        """Commit what is left before the end, and do what had to wait for that."""
        if self._commits.last():
            self._catch_up()

    def _ask_fleet(self, wishes: Sequence[commands.FleetCommand], committed: bool) -> None:
        """Tell the fleet; a host that can't save what it is granted leaves that to others."""
        if not committed:
            self._fleet.lose("this host can't save what it would be granted")
        for wish in wishes:
            self._fleet.send(wish)
        self._fleet.flush()

    def spared(self, live: Collection[RunId]) -> Container[RunId]:
        """The runs of which history may let nothing go: those that live, and those whose R could not be removed."""
        return {*live, *self._stuck} if self._stuck else live

    def filed(self, run: RunId) -> None:
        """The record file of a run is there now, or its history is let go."""
        for command in self._kept.pop(run, ()):
            self._remove(command)

    def _act(self, command: Command, committed: bool) -> None:
        match command:
            case commands.Launch(run):
                self._unsaved.pop(run.id, None)  # from now on its supervisor is the writer, and has that record
                self._link.launch(command)
            case commands.Stop(run, attempt, reason):
                self._complain(self._link.stop(Name(run, attempt), reason))
            case commands.LookUp(account):
                self._link.look_up(account)
            case commands.NoteWhole():
                self._link.marks.emptying.settle() if committed else self._held_back.append(command)
            case RemoveMarks():
                self._remove_marks(command) if committed or command.again else self._held_back.append(command)
            case commands.WriteRecord(record):
                self._file_record(record, committed)
            case commands.MarkLockHolder():
                self._complain(self._lock_processes.mark(command))
            case commands.ForgetLockClient(client):
                self._lock_processes.forget(client)
            case commands.LookAfter(job):
                self._look_after(job)
            case commands.Say(event, fields):
                self._log.say(event, **fields)
            case commands.Reply(ticket, value, error, asked):
                unsaved = {} if error or not asked else {"unsaved": None if committed else self._commits.keep(asked)}
                self._answer(ticket, value | unsaved, error)

    def _complain(self, trouble: str) -> None:
        if trouble:
            self._log.say("trouble", text=trouble)

    def _catch_up(self) -> None:
        """Do what had to wait for this commit."""
        held_back, self._held_back = self._held_back, []
        unsaved, self._unsaved = self._unsaved, {}
        for record in unsaved.values():
            self._file_record(record, committed=True)
        for command in held_back:
            self._act(command, committed=True)

    def _remove_marks(self, command: RemoveMarks) -> None:
        """Remove an R, and those that the run has kept so far; or keep it."""
        run = command.run
        if not command.again:
            try:
                is_kept = run in self._failed or (command.known and self._is_untold(command))
            except OSError:  # too many open files: nobody can tell now
                self._held_back.append(command)
                return
            if is_kept:
                self._kept.setdefault(run, []).append(command)
                if len(self._kept) > MOST_KEPT:
                    self.filed(next(iter(self._kept)))
                return
            self.filed(run)
        self._remove(command)

    def _is_untold(self, command: RemoveMarks) -> bool:
        """Tell whether history has the run, and no record file has the end of this attempt; OSError."""
        with contextlib.suppress(StoreError):
            if self._batch.record(command.run) is None:
                return False
        return not record_files.tells(self._logs, command.run, command.attempt)

    def _remove(self, command: RemoveMarks) -> None:
        """Remove an R; where that is possible again, those that could not be removed, too."""
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
        """Remove an R; why that can't be, "": it is gone."""
        try:
            self._link.marks.remove(name)
        except OSError as error:
            return str(error.strerror)
        left = self._stuck.get(name.run, {})
        left.pop(name, None)
        if not left:
            self._stuck.pop(name.run, None)
        return ""

    def _file_record(self, record: Record, committed: bool) -> None:
        run = RunId(record["job"], record["number"])
        if not committed:
            self._unsaved[run] = record
            return
        try:
            atomic_file.restore(*self._log_directory)
            record_files.write(self._logs, record)
        except OSError as error:
            self._failed.add(run)
            self._unwritten(run, error)
