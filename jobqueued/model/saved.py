"""State that survives restarts, in addition to definitions and runs: the progress of jobs, holds, incidents and
notices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobqueued.base.replace import changed
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import Job, RateUse
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
    """Moving average of the durations (ns) of the job's successful runs; the newest run has a weight of one quarter.

    This average is the usual duration of runs that take less than a second; for longer runs, see core/records/usual.py.
    """
    failing_since: int | None = None
    """The start (wall) of the first failed run in the current series of failures, or None if the job is not failing.
    Runs that a user stopped do not count.
    """
    failing_run: int | None = None
    failing_reason: str | None = None
    """The number (`failing_run`) and the reason of the last failed run in the current series of failures."""
    by_failover: bool = False
    """Whether the last run succeeded only by its failover."""

    @property
    def fails_since(self) -> int | None:
        """The instant `failing_since`. If an earlier version did not save this instant, the start of the last run if
        that run failed, else None.
        """
        is_older = self.failing_since is None and self.last_state in FAILURES - {RunState.KILLED}
        return self.last_run if is_older else self.failing_since


OUTCOMES = 10
"""Maximum number of outcomes to restore from the records, in addition to the last success."""


class Outcome(NamedTuple):
    """The outcome of an occurrence, for the jobs that depend on its job; `due` and `ended` are wall times."""

    run: int
    due: int
    ended: int
    state: str


class Skip(NamedTuple):
    """A scheduled due time that a user wants to skip, and the user, or None if the user was not recorded."""

    due: int
    asked_by: str | None = None


class Expected(NamedTuple):
    """The expectation that a job succeeds at least once every `within` ns.

    `since`: the instant (wall) since which the job has not succeeded. `told`: when (wall) people were notified, or 0.
    `wishes`: the fields of the definition that select the receivers.
    """

    within: int
    since: int
    wishes: dict[str, Any]
    told: int = 0


_UNUSED = RateUse()


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedJob:
    """The saved state of a job ID in addition to its definition, such as the progress of its clock and its run numbers.

    `cursor`: the due time up to which records cover all scheduled occurrences; it is valid only for `rhythm`.
    `settled`: after the clock was set back, only triggers that may start twice are due up to this instant; 0 means that
    there is no such instant. `previous`: the last due time before a change of the rhythm, until the new rhythm makes
    the job due. `skips`: scheduled due times to skip, in the order of the requests. `appeared`: files of
    `on: {path: …}` that appeared up to this instant no longer trigger the job.

    `outcomes`: outcomes that dependent jobs may use. `satisfied`: for a job that its dependencies make due, the
    dependencies that succeeded since it was last due; `ends`: the runs that succeeded. `took` and `delays`: durations
    of the newest successful runs, and waits before starts (core/records/usual.py). `late`: numbers of unfinished runs
    that were reported as late.

    `owner`: the job's last owner. `agreed`: the last definition on which the fleet and this host agreed; `offered`: the
    last published definition while the outcome is unknown (core/jobs/agreement.py).  `shared_pause`: the fleet's pause
    that pauses the job (core/jobs/pauses.py). `to_return`: keys of skipped occurrences that this host must return
    to the fleet if it claimed them (core/fleet/to_return.py). `rate_use`: the used part of the job's `rate`
    (queue/rates.py).
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
    to_return: tuple[str, ...] = ()
    rate_use: RateUse = _UNUSED
    stats: JobStats = JobStats()

    def of(self, owner: Owner | None) -> SavedJob:
        """Return this state for a job of `owner`. A new owner gets only the values that prevent the reuse of numbers
        and keys.
        """
        if self.owner in (None, owner):
            return changed(self, owner=owner)
        return SavedJob(
            job=self.job, era=self.era + 1, last_number=self.last_number, owner=owner, to_return=self.to_return
        )

    def outcomes_with(self, run: Run, ended: int) -> tuple[Outcome, ...]:
        """Add the outcome of a run; return the newest outcomes and the last success.

        Outcomes that no job needs are dropped when the next run ends.
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
        """The users who requested the skips, one for each skip, or () if no user was recorded."""
        askers = tuple(it.asked_by for it in self.skips) if self.skips else ()
        return askers if any(askers) else ()

    @property
    def is_noteworthy(self) -> bool:
        """True if a user may have to act.

        A user may have to act if the job is paused, late, overdue or failing, if it was only ever skipped, or if the
        clock was set back.
        """
        was_skipped = bool(self.stats.skipped and not self.stats.started)
        lasts = self.paused or self.is_overdue or bool(self.late) or self.settled > 0
        return lasts or self.stats.fails_since is not None or was_skipped

    @property
    def is_overdue(self) -> bool:
        """True if the job was reported as overdue, because it had not succeeded for too long."""
        return self.overdue_since is not None

    @property
    def overdue_since(self) -> int | None:
        """The instant (wall) since which an overdue job has not succeeded, or None if the job is not overdue."""
        return self.expected.since if self.expected is not None and self.expected.told else None

    def next_due(self, job: Job, after: int) -> int | None:
        """Return the job's first scheduled due time after an instant, except settled due times, or None if none
        follows.
        """
        return job.next_after(after, self.settled)

    def starts(self, job: Job, count: int) -> list[int]:
        """Return at most `count` next scheduled starts of the job, after its pause and without starts that a user
        skips.
        """
        if not job.enabled or (self.paused and self.paused_until is None):
            return []
        since = max(self.cursor + job.offset, (self.paused_until or 0) - 1)
        found = job.next_starts(since, count + len(self.skips), self.settled)
        return [start for start in found if start - job.offset not in self.skipped][:count]


class Hold(NamedTuple):
    """The host's hold: no new run starts while the hold is in force.

    The hold lasts until a user releases it, until an instant (wall), or, if `boot` is set, until the next boot.
    Afterwards the earlier hold `below`, if any, comes back into force.
    """

    asked_by: str
    until: int | None = None
    boot: str | None = None
    below: Hold | None = None

    def lasts(self, wall: int) -> bool:
        """Return whether the hold is still in force at an instant (wall)."""
        return self.until is None or self.until > wall


class Incident(NamedTuple):
    """An open problem: when (wall) it began, how often it occurred, its first run, and when each target was last
    notified.

    `elsewhere`: whether another host of the fleet notified people; that host also reports the problem's end.
    """

    subject: str
    kind: str
    since: int
    times: int = 1
    first_run: str = ""
    told: tuple[tuple[str, int], ...] = ()
    elsewhere: bool = False


class Past(NamedTuple):
    """A change of a job, or of the host if `job` is "", by a user or a job file at an instant (wall).

    `what` is the new status: paused, resumed, held or released; or for a definition: enabled, disabled or gone.
    `before`: the earlier status of a definition. `by`: the user. `until`: when a pause or hold ends at the latest.
    """

    at: int
    job: str
    what: str
    before: str = ""
    by: str = ""
    until: int | None = None


class DueChange(NamedTuple):
    """A change that affects due times: the old state ended at `until`, and the new state began at `since`.

    For the kind "file", `text` is the new text of the job file `name`, or None if the file was deleted, and `timezone`
    is the default timezone of its jobs; the scripts of `expand` follow the text of a cron table. For the kind "start",
    the daemon was down from `until` to `since`. For the kind "clock", the clock was set from `until` to `since`. For
    the kind "past", `timezone` is a `Past` of the job `name`, as JSON.
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
    """A notice that waits to be sent to a target; `about` is the content (docs/notices.md).

    `more`: number of later notices that were dropped for lack of room. `tries`: number of failed attempts to send it;
    `error`: why the last attempt to send it failed. `settings`: the settings of the target when the notice was made.
    """

    id: int
    target: str
    created: int
    about: dict[str, Any]
    more: int = 0
    tries: int = 0
    error: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
