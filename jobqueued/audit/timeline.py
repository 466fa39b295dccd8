"""The timeline: the spans during which one definition made a job due, from the recorded changes.

An edit that keeps a job's rhythm continues the span. A new rhythm makes nothing due before the edit. A forward clock
step of up to 3 h counts as a gap, and every time in the gap is due once. A larger step is a correction, and the skipped
times are not due. After a step back, intervals are due again; fixed times are due again only after a step of more than
3 h. The scheduler uses a cursor instead; the audit checks that the timeline and the cursor agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from jobqueued.base.instants import HOUR, SECOND
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import Job, Scope
from jobqueued.model.saved import DueChange

Read = Callable[[DueChange], Iterable[Job] | None]
"""Returns the jobs that a recorded text defines, or None if this version can't read the text."""

STEP = 3 * HOUR
SLACK = 2 * SECOND
"""Period (ns) before the last commit of a daemon that died. The daemon may not have decided about due times in this
period.
"""


class DefinitionSpan(NamedTuple):
    """The span during which one definition made a job due: after `after` and up to `until`."""

    job: Job
    after: int
    until: int

    def dues(self, after: int, until: int) -> Iterator[int]:
        """Yield the span's due times after one instant and up to another."""
        due, last = self.job.next_after(max(self.after, after)), min(self.until, until)
        while due is not None and due <= last:
            yield due
            due = self.job.next_after(due)


class Down(NamedTuple):
    """A period when the daemon was down, or (with `step`) a period that a clock step skipped."""

    begin: int
    end: int
    step: bool


@dataclass(slots=True)
class _Clock:
    """A job's clock at a place in the timeline: due times later than `after` count; if `job` is None, none count.

    Due times up to `reached` are already covered.
    """

    job: Job | None = None
    after: int = 0
    reached: int = 0
    spans: list[DefinitionSpan] = field(default_factory=list)

    def close(self, until: int) -> None:
        """End the span."""
        until = max(until, self.reached)
        if self.job is not None and until > self.after:
            self.spans.append(DefinitionSpan(self.job, self.after, until))
        self.after = self.reached = max(self.after, until)

    def define(self, job: Job | None, change: DueChange) -> None:
        """Use another definition after this change."""
        old, offset = self.job, 0 if self.job is None else self.job.offset
        if job is not None and old is not None and _same(old, job):
            self.job = job
            return
        is_gap = change.until < change.since
        self.close(change.until - offset - SLACK if is_gap else change.until)
        self.job, self.after = job, max(self.after, change.since)

    def set_back(self, change: DueChange) -> None:
        """Continue after a small step back: fixed times that were due are not due again."""
        if self.job is None:
            return
        if any(trigger.starts_twice for trigger in self.job.triggers):
            self.correct(change)
        else:
            self.reached = max(self.reached, change.until - self.job.offset)

    def correct(self, change: DueChange) -> None:
        """Continue from the corrected time: later times are due, even if they were already due."""
        self.close(change.until - (self.job.offset if self.job else 0) - SLACK)
        self.after, self.reached = change.since, 0

    def is_ahead_of(self, change: DueChange) -> bool:
        """Return whether a covered due time is so far ahead of the new time that the clock must have been wrong
        before.
        """
        latest = change.since + STEP
        if self.job is None:
            return self.after > latest
        until = max(self.reached, change.until - self.job.offset)
        return (
            self.after > latest
            or next(DefinitionSpan(self.job, self.after, until).dues(latest, until), None) is not None
        )


class Timeline:
    """All due times of all jobs."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._files: dict[str, dict[str, Job]] = {}
        self._clocks: dict[str, _Clock] = {}
        self.unreadable: set[str] = set()
        """Files with a recorded text that this version can't read."""
        self.downs: list[Down] = []
        self.since = 0
        """The instant of the newest change (wall)."""

    def take(self, change: DueChange) -> None:
        """Process the next change."""
        self.since = change.since
        match change.kind:
            case "file":
                self._redefine(change)
            case "clock":
                self.downs.append(Down(min(change.until, change.since), max(change.until, change.since), step=True))
                self._set(change, corrects=abs(change.since - change.until) > STEP)
            case "start":
                self.downs.append(Down(change.until, max(change.since, change.until), step=False))
                self._set(change, corrects=False)

    def _redefine(self, change: DueChange) -> None:
        jobs = () if change.text is None else self._read(change)
        if jobs is None:
            self.unreadable.add(change.name)
        new = {job.id: job for job in jobs or ()}
        old, self._files[change.name] = self._files.get(change.name, {}), new
        for name in (*new, *(old.keys() - new.keys())):
            job = new.get(name) or next((jobs[name] for jobs in self._files.values() if name in jobs), None)
            is_own = job is not None and job.scope is Scope.HOST  # a fleet job's records are on several hosts
            due = job is not None and is_own and job.enabled and job.triggers
            self._clocks.setdefault(name, _Clock()).define(job if due else None, change)

    def _set(self, change: DueChange, *, corrects: bool) -> None:
        for clock in self._clocks.values():
            is_back = change.since < change.until
            if corrects or (is_back and clock.is_ahead_of(change)):
                clock.correct(change)
            elif is_back:
                clock.set_back(change)

    def spans(self, until: int) -> dict[str, list[DefinitionSpan]]:
        """Return a mapping of job → its spans up to an instant, for each job that was ever scheduled."""
        found = {}
        for name, clock in self._clocks.items():
            end = max(until - clock.job.offset, clock.reached) if clock.job else 0
            going_on = [DefinitionSpan(clock.job, clock.after, end)] if clock.job and end > clock.after else []
            if spans := [*clock.spans, *going_on]:
                found[name] = spans
        return found


def _same(old: Job, new: Job) -> bool:
    """Return whether two definitions have the same rhythm and `max_runs`, so that one span covers both."""
    return (old.rhythm, old.max_runs) == (new.rhythm, new.max_runs)
