"""Unsaved decisions: the next successful commit saves the newest state of each run and job."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from jobqueued.child.contract.documents import Record
from jobqueued.model.commands import (
    Command,
    ForgetJob,
    ForgetNotice,
    ForgetRun,
    SaveBoot,
    SaveFleetMark,
    SaveHold,
    SaveIncident,
    SaveJob,
    SaveNotice,
    SaveNumber,
    SavePast,
    SaveRun,
    SaveSubmission,
)
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import DueChange, Incident, Notice, SavedJob
from jobqueued.state.db import rows
from jobqueued.state.db.faults import CommitFailed, StateFault
from jobqueued.state.db.mirror import Mirror
from jobqueued.state.db.rows import PAST, hold_text
from jobqueued.state.db.store import Store

MOST_PAST = 10_000
"""Maximum number of unsaved changes by users and job files; later changes are dropped."""
MOST_STEPS = 100
"""Maximum number of separate unsaved clock steps; later steps are merged into one."""


def join_due_change(waiting: dict[tuple[str, str], DueChange], change: DueChange) -> None:
    """Add a change to the unsaved changes; for each file, keep only the instant of the first change and the current
    text.

    Due times between the first change and the current text are uncertain. The first change keeps its place among the
    clock steps, because it ends the period of the saved text.
    """
    number = str(min(len(waiting), MOST_PAST if change.kind == PAST else MOST_STEPS))
    key = change.kind, number if change.kind == PAST else change.name or number
    before = waiting.get(key)
    if before is None:
        waiting[key] = change
    elif change.kind == "file":
        waiting[key] = before._replace(digest="", timezone="", text=None)
        waiting.pop(("last", change.name), None)
        waiting["last", change.name] = change
    elif change.kind != PAST:
        waiting[key] = change._replace(until=before.until)


def _counted(record: Record) -> tuple[str, int]:
    return record["state"], record.get("count", 1)


class WriteBatch:
    """The unsaved `Save…` commands and accepted files of one turn, or of many turns while the disk is full.

    `due_anew` is a function that converts the texts of job files to the first due-time changes of a new state.db.
    """

    def __init__(
        self, store: Store, due_anew: Callable[[Mapping[str, bytes | None]], Iterable[DueChange]] = lambda _texts: ()
    ) -> None:
        self._store, self._due_anew = store, due_anew
        self.runs: dict[RunId, tuple[Run, Record | None]] = {}
        self._forgotten: set[RunId] = set()
        self._jobs: dict[str, SavedJob] = {}
        self._files: dict[str, bytes | None] = {}
        self._meta: dict[str, str | None] = {}
        self.trouble = ""
        """The reason why accepted files are not saved although all other state is, or "" if they are saved."""
        self._incidents: dict[str, Incident | None] = {}
        self._notices: dict[int, Notice | None] = {}
        self._due_changes: dict[tuple[str, str], DueChange] = {}
        self.submissions: dict[str, SaveSubmission] = {}
        """Job → submission that no commit has saved yet."""
        self._numbers: dict[str, int] = {}
        self._keys: dict[str, str] = {}
        """Job → key of its submission, for a new state.db."""
        self._is_anew = False
        self._over: set[str] = set()
        """Jobs of submissions that are over."""

    def __bool__(self) -> bool:
        told = self._incidents or self._notices or self._due_changes
        submitted = self.submissions or self._numbers or self._over
        return bool(self.runs or self._forgotten or self._jobs or self._files or self._meta or told or submitted)

    def take(self, command: Command) -> None:
        """Add a command that saves or forgets something; ignore any other command."""
        match command:
            case SaveRun(run, record):
                self.runs[run.id] = run, record
            case ForgetRun(forgotten, _):
                self.runs.pop(forgotten, None)
                self._forgotten.add(forgotten)
            case SaveJob(memory):
                self._jobs[memory.job] = memory
            case SaveSubmission(job):
                self.submissions[job] = command
                self._over.discard(job)
            case SaveNumber(share, last):
                self._numbers[share] = last
            case ForgetJob(job):
                self._jobs.pop(job, None)
                self._over.add(job)
            case SaveBoot() | SaveHold() | SaveFleetMark():
                self._meta |= _fact(command)
            case SavePast(past):
                self.take_due_changes([rows.past_change(past)])
            case SaveIncident(subject, incident):
                self._incidents[subject] = incident
            case SaveNotice(notice):
                self._notices[notice.id] = notice
            case ForgetNotice(number):
                self._notices[number] = None

    def take_files(self, files: Mapping[str, bytes | None]) -> None:
        """Add the texts of accepted files, by name; None means a deleted file."""
        self._files |= files

    def take_due_changes(self, changes: Iterable[DueChange]) -> None:
        """Add changes of due times; unsaved changes of one file are merged, which limits their number."""
        for change in changes:
            join_due_change(self._due_changes, change)

    @property
    def due_changes(self) -> list[DueChange]:
        """The unsaved changes of due times, the oldest first."""
        return list(self._due_changes.values())

    def note_untaken(self, *, some: bool) -> None:
        """Remember whether rows of records may be missing, so that the next start must check all records."""
        self._meta["untaken"] = "1" if some else None

    def note_recorded(self, runs: Iterable[RunId]) -> None:
        """Remember the runs that were taken over from records and that a cause in a run directory could make due a
        second time.
        """
        self._meta["recorded"] = json.dumps(list(map(str, runs))) if runs else None

    def drop(self, run: RunId) -> None:
        """Remove the row of a run from the batch."""
        del self.runs[run]

    @property
    def ended(self) -> dict[RunId, Record]:
        """Run → its unsaved record."""
        return {run: record for run, (_, record) in self.runs.items() if record is not None}

    def record(self, run: RunId) -> Record | None:
        """Return the record of an ended run, saved or not, or None if there is none. Raises StoreError."""
        return self.ended.get(run) or self._store.record(run)

    def history(self, job: str, limit: int) -> list[Record]:
        """Return the newest records of a job, newest first, saved or not.  Raises StoreError."""
        ended = {run.number: record for run, record in self.ended.items() if run.job == job}
        found = self._store.history(job, limit) | ended
        return [found[number] for number in sorted(found, reverse=True)][:limit]

    def states(self, job: str) -> list[str]:
        """Return the distinct final states of a job's runs, saved or not. Raises StoreError."""
        ended = [record["state"] for run, record in self.ended.items() if run.job == job]
        return list(dict.fromkeys([*ended, *self._store.states(job)]))

    def tally(self, job: str) -> tuple[int, int, int]:
        """Count the ended runs and skips of a job, saved or not.  Raises StoreError.

        Return the total, the number of successes, and the run number of the first failure or, if there is none, of the
        last run.
        """
        found = self._store.tally(job) | {run.number: record for run, record in self.ended.items() if run.job == job}
        counts = {number: it if isinstance(it, tuple) else _counted(it) for number, it in found.items()}
        failed = [number for number, (state, _) in counts.items() if state != RunState.SUCCEEDED]
        succeeded = sum(count for state, count in counts.values() if state == RunState.SUCCEEDED)
        return sum(count for _, count in counts.values()), succeeded, min(failed, default=max(counts, default=0))

    def submission_of(self, share: str, key: str) -> str | None:
        """Return the submission that a user made with this key (ended or not, saved or not), or None. Raises
        StoreError.
        """
        for it in self.submissions.values():
            if it.key == key and it.job.partition("/")[0] == share:
                return it.job
        return self._store.submission_of(share, key)

    def begin_anew(self, everything: Iterable[Command], mirror: Mirror) -> None:
        """Let the next commit replace the whole saved state, except history.

        `everything` has the scheduler's state, `mirror` the rest. The next start completes the history from the
        records.
        """
        for command in everything:
            self.take(command)
        self._files, self._keys = {**mirror.files, **self._files}, mirror.keys
        self._meta, self._is_anew = {**mirror.meta, **self._meta}, True
        self._due_changes = {}
        self.take_due_changes(self._due_anew(self._files))
        self._meta["untaken"] = "1"

    def commit(self, *, proven: bool = True) -> str:
        """Save the batch. Raises CommitFailed if this fails; the batch remains.

        If the disk has no room for the whole batch, save it without the texts of files, and return the reason if it is
        new, else "". Unless it is `proven` that commits succeed, commit even an empty batch.
        """
        if proven and not self:
            return ""
        told = ""
        rest = self._incidents, self._notices, self.submissions.values(), self._over, self._numbers
        due, keys, anew = self.due_changes, self._keys, self._is_anew
        changes = self.runs, self._jobs, self._files, self._meta, self._forgotten
        try:
            self._store.commit(*changes, *rest, due, keys, anew=anew)
            self._files, self._due_changes, self.trouble = {}, {}, ""
        except CommitFailed as error:
            if not (self._files or self._due_changes) or error.fault is not StateFault.FULL:
                raise
            self._store.commit(self.runs, self._jobs, {}, self._meta, self._forgotten, *rest, (), keys, anew=anew)
            was_told = self.trouble
            names = self._files or [kind if kind == PAST else name or kind for kind, name in self._due_changes]
            self.trouble = f"no room to save the last good version of {', '.join(names)}: {error}"
            told = "" if was_told else self.trouble
        self.runs, self._jobs, self._meta, self._forgotten = {}, {}, {}, set()
        self._incidents, self._notices, self.submissions, self._over, self._numbers = {}, {}, {}, set(), {}
        self._keys, self._is_anew = {}, False
        return told


def _fact(command: SaveBoot | SaveHold | SaveFleetMark) -> dict[str, str | None]:
    """Return the name and the value of a fact about the host; the value None deletes the fact."""
    match command:
        case SaveBoot(boot):
            return {"boot": boot}
        case SaveHold(hold):
            return {"hold": hold_text(hold)}
        case SaveFleetMark(mark):
            return {"fleet": json.dumps(mark) if mark.age else None}
