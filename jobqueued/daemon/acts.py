"""Acts: commits all of a turn's changes at once, then executes the turn's commands one by one, in the given order."""

from __future__ import annotations

from collections.abc import Sequence

from jobqueued.child.contract.documents import Record
from jobqueued.control.calls.lock_processes import LockProcesses
from jobqueued.control.protocol.replies import Reply
from jobqueued.daemon.run_files import RunFiles
from jobqueued.host.log import Log
from jobqueued.model import commands
from jobqueued.model.commands import Command, ForgetRun, RemoveMarks, SaveRun
from jobqueued.model.run import RunId
from jobqueued.runs.fleet_link import FleetLink
from jobqueued.runs.launcher_link import LauncherLink
from jobqueued.runs.run_directory import Name
from jobqueued.state.commits import Commits


class Acts:
    """Executes the scheduler's commands. `reply` sends a reply to a caller."""

    def __init__(
        self,
        commits: Commits,
        link: LauncherLink,
        log: Log,
        files: RunFiles,
        lock_processes: LockProcesses,
        fleet: FleetLink,
        reply: Reply,
    ) -> None:
        self._commits, self._batch, self._link, self._log, self._files = commits, commits.batch, link, log, files
        self._lock_processes, self._fleet, self._reply = lock_processes, fleet, reply
        self._taken: list[Command] = []
        """Commands to execute after the next commit."""
        self._held_back: list[RemoveMarks | commands.NoteWhole] = []
        self._unsaved: dict[RunId, Record] = {}
        """Records to write only after their commit, because a record file newer than state.db would mislead the next
        start.
        """

    def take(self, decided: Sequence[Command]) -> None:
        """Add commands to the next commit, and execute them after this commit."""
        for command in decided:
            self._batch.take(command)
        self._taken += decided

    def carry_out(self, decided: Sequence[Command]) -> list[tuple[RunId, Record]]:
        """Commit all changes, then execute the commands.

        Return each run that ended in this turn, with its record, even if the commit failed.
        """
        self.take(decided)
        decided, self._taken = self._taken, []
        ended = [(each.run.id, each.record) for each in decided if isinstance(each, SaveRun) and each.record]
        ended += [(each.run, each.record) for each in decided if isinstance(each, ForgetRun) and each.record]
        committed = self._commits.make()
        self._files.begin_turn()
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
        return ended

    def last(self) -> None:
        """Before the daemon ends, commit the remaining changes, and execute the commands that waited for a commit."""
        if self._commits.last():
            self._catch_up()

    def _ask_fleet(self, wishes: Sequence[commands.FleetCommand], committed: bool) -> None:
        """Send commands to the fleet.

        If the commit failed, disconnect from the fleet instead, because this host could not save a grant.
        """
        if not committed:
            self._fleet.lose("this host can't save its state, so it must not get new claims")
        for wish in wishes:
            self._fleet.send(wish)
        self._fleet.flush()

    def _act(self, command: Command, committed: bool) -> None:
        match command:
            case commands.Launch(run):
                self._unsaved.pop(run.id, None)  # the supervisor has the record and will write it
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
            case commands.LookAfter(job, output):
                self._files.check(job, output)
            case commands.Say(event, fields):
                self._log.say(event, **fields)
            case commands.Reply(ticket, value, error, asked):
                unsaved = {} if error or not asked else {"unsaved": None if committed else self._commits.keep(asked)}
                self._reply(ticket, value | unsaved, error)

    def _complain(self, trouble: str) -> None:
        if trouble:
            self._log.say("trouble", text=trouble)

    def _catch_up(self) -> None:
        """Execute the commands that waited for this commit."""
        held_back, self._held_back = self._held_back, []
        unsaved, self._unsaved = self._unsaved, {}
        for record in unsaved.values():
            self._files.write(record)
        for command in held_back:
            self._act(command, committed=True)

    def _remove_marks(self, command: RemoveMarks) -> None:
        try:
            self._files.remove(command)
        except OSError:  # too many open files: the record file can't be read now
            self._held_back.append(command)

    def _file_record(self, record: Record, committed: bool) -> None:
        if committed:
            self._files.write(record)
        else:
            self._unsaved[RunId(record["job"], record["number"])] = record
