"""A host that tells: what is said goes in, what its receivers got comes out; it may die at any moment."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from jobqueued.base.instants import MINUTE, SECOND, to_text
from jobqueued.model.commands import Command, ForgetNotice, SaveIncident, SaveNotice, Say
from jobqueued.model.job import Job
from jobqueued.model.notify import Notify, NotifyRule
from jobqueued.model.saved import Incident, Notice
from jobqueued.notices.notices import Notices
from jobqueued.notices.outbox import Message
from jobqueued.state.db.rows import notice_text

BEGIN = 1_782_900_000 * SECOND
OPS = NotifyRule(Notify(email=("ops@example.org",)))


def record(
    job: str, number: int, exit_code: int = 0, state: str = "", reason: str | None = None, output: str = ""
) -> dict[str, Any]:
    """The record of a run that took a second."""
    state = state or ("failed" if exit_code else "succeeded")
    return {
        "job": job, "run": f"{job}@{number}", "number": number, "state": state, "exit_code": exit_code, "signal": None,
        "reason": reason or (f"exit code {exit_code}" if exit_code else None), "started": to_text(BEGIN),
        "ended": to_text(BEGIN + SECOND), "user": None, "command": "true", "attempts": [],
        "output": {"tail": output, "file": None, "bytes": len(output)},
    }  # fmt: skip


class Told:
    """`answer` is what each message is answered; `saved` what a commit holds."""

    def __init__(self, rules: Sequence[NotifyRule] = (OPS,), jobs: Sequence[Job] = ()) -> None:
        self.rules, self.jobs = rules, {job.id: job for job in jobs}
        self.wall = BEGIN
        self.answer = "sent"
        self.incidents: dict[str, Incident] = {}
        self.saved: dict[int, Notice] = {}
        self.got: list[Message] = []
        self.said: list[Say] = []
        self._numbers = Counter[str]()
        self.restart()

    def restart(self) -> None:
        """A new daemon takes over what was saved."""
        self.notices = Notices("db1", self.rules, lambda: "UTC", self.jobs.get)
        self.notices.restore(self.incidents.values(), self.saved.values())

    def commit(self, commands: Sequence[Command]) -> None:
        """Keep what is to be kept."""
        for command in commands:
            match command:
                case SaveIncident(subject, None):
                    self.incidents.pop(subject, None)
                case SaveIncident(subject, incident):
                    self.incidents[subject] = incident
                case SaveNotice(notice):
                    self.saved[notice.id] = Notice(**json.loads(notice_text(notice)))
                case ForgetNotice(number):
                    del self.saved[number]
                case Say():
                    self.said.append(command)

    def say(self, event: str, **fields: Any) -> None:
        """Something is said, and its turn is committed."""
        self.commit(self.notices.about([Say(event, fields)], self.wall))

    def ends(self, job: str, exit_code: int = 0, **fields: Any) -> None:
        """A run ends."""
        self._numbers[job] += 1
        self.say("run_ended", record=record(job, self._numbers[job], exit_code, **fields))

    def lose(self) -> None:
        """Whoever sends is gone."""
        for number in [*self.notices.outbox._sending]:
            self.commit(self.notices.outbox.answered(number, "later 0 its sender exited", self.wall))

    def send(self) -> list[Message]:
        """Send what is due, and give the answers."""
        sent = []
        while messages := list(self.notices.outbox.take(self.wall)):
            for message in messages:
                sent.append(message)
                if self.answer == "sent":
                    self.got.append(message)
                self.commit(self.notices.outbox.answered(message.number, self.answer, self.wall))
        return sent

    def wait(self, duration: int) -> None:
        """Let time pass, and send when there is something to send."""
        until = self.wall + duration
        while (at := self.notices.outbox.next_at(self.wall)) is not None and at <= until:
            self.wall = max(self.wall, at)
            if not self.send():
                self.wall += MINUTE
        self.wall = max(self.wall, until)

    @property
    def events(self) -> list[str]:
        """What was told, in a word each."""
        return [message.about["event"] for message in self.got]

    @property
    def summaries(self) -> list[str]:
        """What was told, in a sentence each."""
        return [message.about["summary"] for message in self.got]
