"""State beside definitions and runs that survives restarts: where each job id stands, and the hold of the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobqueued.child.tuples import NamedTuple
from jobqueued.copies import changed
from jobqueued.model import FAILURES, Job, Run, RunId, RunState
from jobqueued.users import Owner


@dataclass(frozen=True, slots=True)
class JobStats:
    """Counters of one job over its whole life; they outlive edits, removal and restarts (the seed's JobStats)."""

    started: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    last_run: int | None = None
    last_state: RunState | None = None
    usual: int | None = None
    """The mean of how long its runs took that succeeded (ns), in which the newest counts for a quarter; what is usual
    below a second (core/usual.py).
    """
    failing_since: int | None = None
    """When the first of the runs that have failed in a row started; None: none fails.  One that was ended deliberately
    is in no row.
    """
    failing_run: int | None = None
    failing_reason: str | None = None
    """Number and reason of the last of these runs."""
    by_failover: bool = False
    """Whether the last run has succeeded by its failover only."""

    @property
    def fails_since(self) -> int | None:
        """As `failing_since`, also where an older version, which did not note that, has counted the last run."""
        is_older = self.failing_since is None and self.last_state in FAILURES - {RunState.KILLED}
        return self.last_run if is_older else self.failing_since


OUTCOMES = 10
"""So many outcomes come back from the records, beside the last success."""


class Outcome(NamedTuple):
    """The outcome of an occurrence, for the jobs that depend on its job; `ended` on the wall."""

    run: int
    due: int
    ended: int
    state: str


class Skip(NamedTuple):
    """The due time of its clock that a person wants a job to skip, and who that is; None: nobody has kept that."""

    due: int
    asked_by: str | None = None


class Expected(NamedTuple):
    """The wish that a job succeeds at least each `within` ns: it has not `since` an instant (wall), which was `told` at
    another (0: it was not).  `wishes` are the fields of its definition by which it is known who is told.
    """

    within: int
    since: int
    wishes: dict[str, Any]
    told: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedJob:
    """The saved part of a job id beside its definition: where its clock stands and which numbers are used.

    `cursor`: every clock occurrence at or before it is covered by a record.  It holds for `rhythm` only.
    `settled`: up to then times that the clock shows again, as it was set back, are due once more only by a trigger that
    starts twice; 0: by any.
    `previous`: the one that was the last before its rhythm was changed, until it is due by the new one.  `outcomes`:
    those by which jobs that depend on it go, or may one day.  `satisfied`: the dependencies that have succeeded since
    it was due last, where they make it due, and `ends`: by which runs.  `appeared`: files of its `on: {path: …}` that
    came until then count for nothing any more.
    `skips`: what of its clock is to be skipped, in the order in which that was asked for.  `took` and `delays`: how
    long the newest of its runs took, if they have succeeded, and waited to start (core/usual.py).  `late`: the numbers
    of its unfinished runs of which it was told that they are late.  `owner`: whose it was last.
    `agreed`: the definition that is no news for its fleet; `offered`: the one that was published last, if it is not
    known what came of that (core/agreement.py).  `shared_pause`: the pause of all hosts by which it is paused
    (core/pauses.py).
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
        """The same for a job of this owner: of another's only what keeps numbers and keys from being used again."""
        if self.owner in (None, owner):
            return changed(self, owner=owner)
        return SavedJob(job=self.job, era=self.era + 1, last_number=self.last_number, owner=owner)

    def outcomes_with(self, run: Run, ended: int) -> tuple[Outcome, ...]:
        """The newest outcomes, and the last success, with that of a run; the next end in life keeps those that somebody
        goes by.
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
        """The due times that are to be skipped."""
        return tuple(it.due for it in self.skips) if self.skips else ()

    @property
    def skippers(self) -> tuple[str | None, ...]:
        """Of each of them who asked for that; () if that is known of none."""
        askers = tuple(it.asked_by for it in self.skips) if self.skips else ()
        return askers if any(askers) else ()

    @property
    def is_noteworthy(self) -> bool:
        """True if a person may have to do something: it is paused, its last run has failed, or it was only skipped; a
        run of it is late, it has not succeeded for too long, or the clock was set back.
        """
        was_skipped = bool(self.stats.skipped and not self.stats.started)
        lasts = self.paused or self.is_overdue or bool(self.late) or self.settled > 0
        return lasts or self.stats.fails_since is not None or was_skipped

    @property
    def is_overdue(self) -> bool:
        """True if it was told that it has not succeeded for too long."""
        return self.overdue_since is not None

    @property
    def overdue_since(self) -> int | None:
        """Since when (wall) it has not succeeded; None: for too long that is not."""
        return self.expected.since if self.expected is not None and self.expected.told else None

    def next_due(self, job: Job, after: int) -> int | None:
        """The first due time of the job's clock after an instant that is not settled; None: there is none."""
        return job.next_after(after, self.settled)

    def starts(self, job: Job, count: int) -> list[int]:
        """The next starts of the job by the clock, past its pause and without those to be skipped: at most `count`."""
        if not job.enabled or (self.paused and self.paused_until is None):
            return []
        since = max(self.cursor + job.offset, self.paused_until or 0)
        found = job.next_starts(since, count + len(self.skips), self.settled)
        return [start for start in found if start - job.offset not in self.skipped][:count]


class Hold(NamedTuple):
    """Nothing new starts on this host, until a person releases it, or until an instant (wall), or, where `boot` is set,
    until another boot of the host than that one.  Then the host is held by `below`.
    """

    asked_by: str
    until: int | None = None
    boot: str | None = None
    below: Hold | None = None

    def lasts(self, wall: int) -> bool:
        """Tell whether its time is not over."""
        return self.until is None or self.until > wall


class Incident(NamedTuple):
    """A trouble since an instant (wall): how often it was seen, the first run of it, and when each target of
    notices was told last; `elsewhere`: by another host of the fleet, which tells of its end, too.
    """

    subject: str
    kind: str
    since: int
    times: int = 1
    first_run: str = ""
    told: tuple[tuple[str, int], ...] = ()
    elsewhere: bool = False


class Past(NamedTuple):
    """A change that people, or job files, have made to a job, or to the host (`job` ""), at an instant (wall).

    `what` it is since then: paused, resumed, held, released, or of a definition enabled, disabled, gone; `before`: what
    it was, of these three.  `by` whom, and `until` when at most.
    """

    at: int
    job: str
    what: str
    before: str = ""
    by: str = ""
    until: int | None = None


class DueChange(NamedTuple):
    """A change of what the clock makes due: what there was before held `until` one instant, this holds `since` another.

    `kind` "file": the job file of this name has this text (None: it is gone), `timezone` where a job names none; one of
    cron's tables, with the scripts of `expand` behind its text.
    "start": the daemon was down in between.  "clock": the clock was set from the one to the other.
    "past": a `Past` of the job `name`, in `timezone` as JSON.
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
    """A notice that waits to be sent to a target: `about` is what its receiver is told (docs/notices.md).

    `more` are later ones for which there was no room.  `error`: why it could not be sent at the last of `tries`.
    """

    id: int
    target: str
    created: int
    about: dict[str, Any]
    more: int = 0
    tries: int = 0
    error: str = ""
