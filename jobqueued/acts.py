"""Acts: one commit of everything to save, then the commands one by one in the order given."""

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
"""Maximum runs whose R is kept until their record file can be written."""


class Acts:
    """Carries out commands.

    Calls `ended` for each run whose end is committed or can't be committed now, `unwritten` for each record file that
    can't be written, and `look_after` for each job that left its file and never ran.
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
        """Commands to carry out with the next commit."""
        self._held_back: list[RemoveMarks | commands.NoteWhole] = []
        self._unsaved: dict[RunId, Record] = {}
        """Records to write after their commit: a record file ahead of state.db would mislead the next start."""
        self._failed: set[RunId] = set()
        """The runs whose record file could not be written in this turn."""
        self._kept: dict[RunId, list[RemoveMarks]] = {}
        """R's that stay until their record file exists: they prove the end if state.db is lost or put back."""
        self._stuck: dict[RunId, dict[Name, None]] = {}
        """R's that could not be removed. History keeps their runs, or the next start would count them as live."""

    def take(self, decided: Sequence[Command]) -> None:
        """Add commands to the next commit, and carry them out after it."""
        for command in decided:
            self._batch.take(command)
        self._taken += decided

    def carry_out(self, decided: Sequence[Command]) -> None:
        """Commit first, then carry out the commands."""
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
        """Commit what is left before the daemon ends, and carry out the commands that waited for a commit."""
        if self._commits.last():
            self._catch_up()

    def _ask_fleet(self, wishes: Sequence[commands.FleetCommand], committed: bool) -> None:
        """Send the fleet's commands. If this host can't save a grant, disconnect from the fleet first."""
        if not committed:
            self._fleet.lose("this host can't save what it would be granted")
        for wish in wishes:
            self._fleet.send(wish)
        self._fleet.flush()

    def spared(self, live: Collection[RunId]) -> Container[RunId]:
        """Return the runs that history must keep: live runs, and runs whose R could not be removed."""
        return {*live, *self._stuck} if self._stuck else live

    def filed(self, run: RunId) -> None:
        """Remove a run's R's: its record file exists now, or its history was deleted."""
        for command in self._kept.pop(run, ()):
            self._remove(command)

    def _act(self, command: Command, committed: bool) -> None:
        match command:
            case commands.Launch(run):
                self._unsaved.pop(run.id, None)  # its supervisor has that record, and writes it from now on
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
        """Carry out what waited for this commit."""
        held_back, self._held_back = self._held_back, []
        unsaved, self._unsaved = self._unsaved, {}
        for record in unsaved.values():
            self._file_record(record, committed=True)
        for command in held_back:
            self._act(command, committed=True)

    def _remove_marks(self, command: RemoveMarks) -> None:
        """Remove an R together with the kept R's of its run; or keep it."""
        run = command.run
        if not command.again:
            try:
                is_kept = run in self._failed or (command.known and self._is_untold(command))
            except OSError:  # too many open files: unknown for now
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
