"""One decision: the state that it changes, its instant, and its commands."""

from __future__ import annotations

from typing import Any

from jobqueued.child.contract.reasons import Reason
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.model.commands import Command, Reply, Say, WriteRecord
from jobqueued.model.job import Job, Now


class Turn:
    """The first argument of the scheduler's functions: they change the turn's `state` and add commands to the turn."""

    __slots__ = ("_commands", "now", "state")

    def __init__(self, state: SchedulerState, now: Now) -> None:
        self.state, self.now = state, now
        self._commands: list[Command] = []

    def do(self, command: Command) -> None:
        """Add a command; the daemon executes commands in this order, after the commit."""
        self._commands.append(command)

    def say(self, event: str, removed: Job | None = None, /, **fields: Any) -> None:
        """Log a line. `event` is one of `messages.VOCABULARY`; for `removed`, see Say."""
        self._commands.append(Say(event, fields, removed))

    def reply(self, ticket: int, asked: str, **value: Any) -> None:
        """Reply to the caller with this ticket; `asked` is described in Reply."""
        self._commands.append(Reply(ticket, value, asked=asked))

    def refuse(self, ticket: int, error: str, **value: Any) -> None:
        """Reply to the caller with an error of the interface."""
        self._commands.append(Reply(ticket, value, error))

    def finish(self) -> list[Command]:
        """Return all commands of the turn: commands that save changes come first, and commands that give claims back to
        the fleet last.
        """
        given_back = self.state.fleet.take_given_back() if self.state.fleet.given_back else ()
        return [*self.state.take_saves(), *_briefly(self._commands), *given_back]


def _briefly(commands: list[Command]) -> list[Command]:
    """Merge the log lines of consecutive skips of one job for one reason into one line, and keep only the last record
    of a skip that several occurrences joined.
    """
    found: list[Command | None] = []
    line: Say | None = None
    place = 0
    records: dict[tuple[str, int], int] = {}
    for command in commands:
        if isinstance(command, Say):
            if line is not None and _continues(line, command):
                found[place] = None
                line = _both(line, command)
            else:
                line = command
            place = len(found)
            found.append(line)
            continue
        if isinstance(command, WriteRecord) and command.record["state"] == "skipped":
            skip = command.record["job"], command.record["number"]
            if skip in records:
                found[records[skip]] = None
            records[skip] = len(found)
        found.append(command)
    return [command for command in found if command is not None]


def _continues(line: Say, it: Say) -> bool:
    if not line.event == it.event == "run_skipped":
        return False
    reason: Reason = line.fields["reason"]
    return line.fields["job"] == it.fields["job"] and reason.is_same(it.fields["reason"])


def _both(line: Say, it: Say) -> Say:
    begun = {name: line.fields[name] for name in ("first_run", "first")}
    return Say(it.event, {**it.fields, **begun, "times": line.fields["times"] + it.fields["times"]})
