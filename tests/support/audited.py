"""A faked world that keeps the history of what was due as the daemon does, and can be audited by it."""

from __future__ import annotations

from typing import Any

from jobqueued.audit.comparison import Comparison, Cover, JobComparison, cover_of
from jobqueued.audit.timeline import Timeline
from jobqueued.base.instants import to_text
from jobqueued.model import events
from jobqueued.model.commands import Command, Save
from jobqueued.model.job import Job
from jobqueued.model.run import Run
from jobqueued.model.run_states import PENDING
from jobqueued.model.saved import DueChange
from jobqueued.state.due_history import DueHistory
from jobqueued.state.write_batch import join_due_change
from tests.support.world import World


class AuditedWorld(World):
    """`due_changes` survive a crash, as far as they were committed."""

    def __init__(self, *jobs: Job, **options: Any) -> None:
        self.due_changes: list[DueChange] = []
        self._texts: list[tuple[Job, ...]] = []
        self._files: dict[str, bytes] = {}
        self._saved_at = 0
        super().__init__(*jobs, **options)

    def restore(self) -> None:
        """What no commit holds is gone."""
        self._waiting: dict[tuple[str, str], DueChange] = {}
        newest = {c.name: (c.digest, c.timezone) for c in self.due_changes if c.kind == "file"}
        self._history = DueHistory(lambda: "UTC", newest, self._files, self._saved_at)
        self._read: dict[str, bytes] = {}
        super().restore()

    def happen(self, *happened: events.Event, admit: bool = True, die_after: int | None = None) -> None:
        """One turn; what it changes goes with its commit."""
        for event in happened:
            if isinstance(event, events.JobsRead):
                self._read[event.file] = self._text(event.jobs)
        self._history.take_files(dict(self._read))
        for change in self._history.after(happened, self.now.wall):
            join_due_change(self._waiting, change)
        super().happen(*happened, admit=admit, die_after=die_after)

    def _text(self, jobs: tuple[Job, ...]) -> bytes:
        if jobs not in self._texts:
            self._texts.append(jobs)
        return str(self._texts.index(jobs)).encode()

    def _commit(self, commands: list[Command]) -> bool:
        committed = super()._commit(commands)
        if committed:
            if self._waiting or any(isinstance(command, Save) for command in commands):
                self._saved_at = self.now.wall
            self.due_changes += self._waiting.values()
            self._files |= self._read
            self._waiting = {}
        return committed

    def audit(self, covers: dict[str, list[Cover]] | None = None) -> list[JobComparison]:
        """Compare what was due with what there is, or with these."""
        while (wake := self.scheduler.next_wakeup(self.now)) is not None and wake <= self.now.wall:
            self.happen(events.Woke())
        timeline = Timeline(lambda change: self._texts[int(change.text or b"0")])
        for change in [*self.due_changes, *self._waiting.values()]:
            timeline.take(change)
        covers = self.covers() if covers is None else covers
        return [
            Comparison(name, spans, covers.get(name, []), 1 << 62, timeline.downs).verdict(0, self.now.wall)
            for name, spans in timeline.spans(self.now.wall).items()
        ]

    def covers(self) -> dict[str, list[Cover]]:
        """All that there is of runs, as records tell it."""
        found: dict[str, list[Cover]] = {}
        for run, _ in self.rows.values():
            found.setdefault(run.id.job, []).append(cover_of(_told(run), is_pending=run.state in PENDING))
        return found


def _told(run: Run) -> dict[str, Any]:
    return {
        "number": run.id.number, "key": run.key, "state": run.state.value, "due": to_text(run.due),
        "queued": to_text(run.queued), "last_due": run.last_due and to_text(run.last_due), "count": run.count,
    }  # fmt: skip
