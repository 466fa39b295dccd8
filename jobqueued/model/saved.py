"""State that survives restarts besides definitions and runs: the progress of each job id, and the hold of the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobqueued.base.replace import changed
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import FAILURES, RunState
from jobqueued.model.users import Owner


@dataclass(frozen=True, slots=True)
class JobStats:
    """Counters of one job over its whole life; they survive edits, removal and restarts."""

    started: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    last_run: int | None = None
    last_state: RunState | None = None
    usual: int | None = None
    """Mean duration of its successful runs (ns), in which the newest counts for a quarter.

    It is the usual time of runs below a second; core/records/usual.py has that of longer ones.
    """
    failing_since: int | None = None
    """The start (wall) of the first of the failed runs in a row, or None. Runs that a user stopped do not count."""
    failing_run: int | None = None
    failing_reason: str | None = None
    """Number and reason of the last of the runs that failed in a row."""
    by_failover: bool = False
    """Whether the last run succeeded only by its failover."""

    @property
    def fails_since(self) -> int | None:
        """The instant of `failing_since`, also if an older version, which did not save that, counted the last run."""
        is_older = self.failing_since is None and self.last_state in FAILURES - {RunState.KILLED}
        return self.last_run if is_older else self.failing_since


OUTCOMES = 10
"""Maximum outcomes restored from the records, in addition to the last success."""


class Outcome(NamedTuple):
    """The outcome of an occurrence, for the jobs that depend on its job; `ended` on the wall."""

    run: int
    due: int
    ended: int
    state: str


class Skip(NamedTuple):
    """A due time of the clock that a user wants a job to skip, and that user; None: not recorded."""

    due: int
    asked_by: str | None = None


class Expected(NamedTuple):
    """The expectation that a job succeeds at least each `within` ns.

    It has not succeeded `since` an instant (wall); people were notified at `told` (wall; 0: not yet). `wishes` are the
    fields of its definition that decide who is notified.
    """

    within: int
    since: int
    wishes: dict[str, Any]
    told: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedJob:
    """The saved part of a job id besides its definition: the progress of its clock, and the used numbers.

    `cursor`: every clock occurrence at or before it is covered by a record. It is valid for `rhythm` only. `settled`:
    until this instant, times that the clock shows again after it was set back are due again only by a trigger that
    starts twice; 0: by any. `previous`: the last due time before the rhythm changed, until the new rhythm makes the job
    due. `outcomes`: those that dependent jobs use or may use. `satisfied`: the dependencies that succeeded since it was
    due last, if they make it due, and `ends`: their runs. `appeared`: files of its `on: {path: …}` that came until this
    instant no longer count. `skips`: due times of its clock to skip, in the order of the requests. `took` and `delays`:
    durations of its newest successful runs, and their waits before the start (core/records/usual.py). `late`: the
    numbers of its unfinished runs that were reported late. `owner`: its last owner. `agreed`: the definition that the
    fleet already knows; `offered`: the last published one, while the result is unknown (core/jobs/agreement.py).
    `shared_pause`: the pause of all hosts that pauses it (core/jobs/pauses.py).
    """

    job: str
    rhythm: str = ""
    cursor: int = 0
    previous: int = 0
    era: int = 0
    last_number: int = 0
    paused: bool = False
    paused_until: int | None = None
    skips: tuple[Skip, ...] = ()
    appeared: int = 0
    outcomes: tuple[Outcome, ...] = ()
    satisfied: tuple[str, ...] = ()
    ends: tuple[RunId, ...] = ()
    took: str = ""
    delays: str = ""
    late: tuple[int, ...] = ()
    expected: Expected | None = None
    owner: Owner | None = None
    agreed: str = ""
    offered: str = ""
    shared_pause: str = ""
    settled: int = 0
    stats: JobStats = JobStats()

    def of(self, owner: Owner | None) -> SavedJob:
        """Return this state for a job of `owner`; a new owner gets only what prevents reuse of numbers and keys."""
        if self.owner in (None, owner):
            return changed(self, owner=owner)
        return SavedJob(job=self.job, era=self.era + 1, last_number=self.last_number, owner=owner)

    def outcomes_with(self, run: Run, ended: int) -> tuple[Outcome, ...]:
        """Return the newest outcomes, and the last success, including that of a run.

        The next end of a run drops those that no job needs.
        """
        due = run.due if run.last_due is None else run.last_due
        others = [known for known in self.outcomes if known.run != run.id.number]
        found = [*others, Outcome(run.id.number, due, ended, run.state.value)]
        found.sort(key=lambda one: (one.due, one.run))
        successes = [known for known in found if known.state == RunState.SUCCEEDED]
        last = max(successes, key=lambda one: one.ended, default=None)
        return tuple(known for known in found if known in found[-OUTCOMES:] or known is last)

    @property
    def skipped(self) -> tuple[int, ...]:
        """The due times to skip."""
        return tuple(it.due for it in self.skips) if self.skips else ()

    @property
    def skippers(self) -> tuple[str | None, ...]:
        """The user who asked for each skip; () if none is recorded."""
        askers = tuple(it.asked_by for it in self.skips) if self.skips else ()
        return askers if any(askers) else ()

    @property
    def is_noteworthy(self) -> bool:
        """True if a user may have to act: the job is paused, late, overdue, was only skipped, its last run failed, or
        the clock was set back.
        """
        was_skipped = bool(self.stats.skipped and not self.stats.started)
        lasts = self.paused or self.is_overdue or bool(self.late) or self.settled > 0
        return lasts or self.stats.fails_since is not None or was_skipped

    @property
    def is_overdue(self) -> bool:
        """True if it was reported that the job has not succeeded for too long."""
        return self.overdue_since is not None

    @property
    def overdue_since(self) -> int | None:
        """The instant (wall) since which the job has not succeeded, or None if it is not overdue."""
        return self.expected.since if self.expected is not None and self.expected.told else None

    def next_due(self, job: Job, after: int) -> int | None:
        """Return the first due time of the job's clock after an instant that is not settled, or None."""
        return job.next_after(after, self.settled)

    def starts(self, job: Job, count: int) -> list[int]:
        """Return the job's next starts by the clock, after its pause and without skipped ones: at most `count`."""
        if not job.enabled or (self.paused and self.paused_until is None):
            return []
        since = max(self.cursor + job.offset, self.paused_until or 0)
        found = job.next_starts(since, count + len(self.skips), self.settled)
        return [start for start in found if start - job.offset not in self.skipped][:count]


class Hold(NamedTuple):
    """No new run starts on this host until a user releases it, until an instant (wall), or, if `boot` is set, until the
    host has another boot. After that the hold `below` is in force.
    """

    asked_by: str
    until: int | None = None
    boot: str | None = None
    below: Hold | None = None

    def lasts(self, wall: int) -> bool:
        """Return whether the hold's time is not over."""
        return self.until is None or self.until > wall


class Incident(NamedTuple):
    """A problem since an instant (wall): how often it was seen, its first run, and when each target was last notified.

    `elsewhere`: another host of the fleet notified people; that host also reports its end.
    """

    subject: str
    kind: str
    since: int
    times: int = 1
    first_run: str = ""
    told: tuple[tuple[str, int], ...] = ()
    elsewhere: bool = False


class Past(NamedTuple):
    """A change that people, or job files, made to a job, or to the host (`job` ""), at an instant (wall).

    `what` is the new status: paused, resumed, held, released, or for a definition enabled, disabled, gone; `before`:
    the old one of these three. `by`: the user; `until`: the latest end.
    """

    at: int
    job: str
    what: str
    before: str = ""
    by: str = ""
    until: int | None = None


class DueChange(NamedTuple):
    """A change of what the clock makes due: the old state ended at `until`, the new one begins at `since`.

    `kind` "file": the job file of this name has this text (None: it was deleted), and `timezone` for jobs that name
    none; for a table of cron the text is followed by the scripts of `expand`. "start": the daemon was down in between.
    "clock": the clock was set from the one to the other. "past": a `Past` of the job `name`, in `timezone` as JSON.
    """

    kind: str
    name: str
    until: int
    since: int
    digest: str = ""
    timezone: str = ""
    text: bytes | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice that waits to be sent to a target: `about` is its content (docs/notices.md).

    `more`: number of later notices for which there was no room. `error`: why the last of `tries` failed.
    """

    id: int
    target: str
    created: int
    about: dict[str, Any]
    more: int = 0
    tries: int = 0
    error: str = ""
