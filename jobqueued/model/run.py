"""Runs and their IDs, and lock clients, which hold locks like runs: Job → Occurrence → Run → Record.

Instants and durations are integers in nanoseconds (`base/instants`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobqueued.base.filenames import file_name
from jobqueued.base.replace import changed
from jobqueued.child.contract.documents import Record, TriggeredBy
from jobqueued.child.contract.reasons import Reason
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import MAX_DIGITS, Claim
from jobqueued.model.run_states import RunState
from jobqueued.model.users import Owner

WITH_LOCK = ":with-lock"
_LOCK_CLIENT = f"{WITH_LOCK}@"


class LockClientId(NamedTuple):
    """The name of a command that awaits or holds locks (jobqueuectl with-lock): ``:with-lock@3``."""

    number: int

    @property
    def key(self) -> str:
        """The command's key in the fleet, used with WITH_LOCK as the job."""
        return f"c{self.number}"

    def __str__(self) -> str:
        return f"{_LOCK_CLIENT}{self.number}"

    @classmethod
    def parse(cls, text: str) -> LockClientId:
        """Return the ID whose str() is `text`. Raises ValueError if `text` is not such an ID."""
        number = text.removeprefix(_LOCK_CLIENT)
        if number == text or not (number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS):
            raise ValueError(f"{text!r} is not a with-lock command; expected a name such as {_LOCK_CLIENT}3")
        return cls(int(number))


class RunId(NamedTuple):
    """A run's name for people: ``backup@142``. A job's runs are numbered from 1, and numbers are never reused."""

    job: str
    number: int

    def __str__(self) -> str:
        return f"{self.job}@{self.number}"

    @classmethod
    def parse(cls, text: str) -> RunId:
        """Return the ID whose str() is `text`. Raises ValueError, with `text` in its message, if `text` is not a run's
        ID.
        """
        job, at, number = text.rpartition("@")
        if not (at and job and number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS and int(number)):
            raise ValueError(f"{text!r} is not a run; expected JOB@NUMBER, for example backup@142")
        return cls(job, int(number))


Holder = RunId | LockClientId | str
"""A run or client that holds or awaits claims; a string is the name of a run on another host of the fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One occurrence that is executed or skipped, with the part of its history that the scheduler needs.

    `reason`: why the run is stopping, or why it ended in its state. `attempt`: number of the attempt, from 1, or 0 if
    no attempt was ever sent. `failover`: whether this attempt is the failover. `doubted`: whether its R may have been
    removed before its start was reported. `stop_asked`: whether no other attempt may follow. `arrival`: the order of
    runs that are otherwise equal. In a skip of several occurrences, `due` is the first due time and `last_due` the
    last; `count` is their number. `triggered_by`: details of the trigger. `owner`: the job's owner when the run was
    created.

    `since`: the start of the run's ageing, or 0 if it does not age; `waited`: its age (ns) before `since`.
    `not_before`: earliest start of the next attempt. `drains_since`: since when other runs are held back for this run.
    `held`: since when dependencies hold the run back. `previous`: the due time before `due` in the job's rhythm.

    A live run holds `claims`, with the numbered units in `placed`, and ends by `ends_by` (None if unknown). `so_far`:
    the record of its ended attempts. `wishes`: the settings for notices and pings of the newest attempt's job, in case
    the job is removed before the run ends (core/records/wishes.py). `waits`: for each wait before the run's start, when
    the wait began, and the obstacle, or "" for the queue. If a run that had waited was skipped, `given_up` is the end
    of the wait, and `lacked` has the resources that were missing in the queue; in a skip of several runs, both describe
    the last run that waited.
    All instants are wall times; a step of the clock shifts the instants from which durations are measured.
    """

    id: RunId
    key: str
    due: int
    queued: int
    arrival: int
    trigger: str = "schedule"
    asked_by: str | None = None
    triggered_by: TriggeredBy | None = None
    state: RunState = RunState.DUE
    reason: Reason | None = None
    attempt: int = 0
    pid: int | None = None
    started: int | None = None
    not_before: int = 0
    failures: int = 0
    failover: bool = False
    stop_asked: bool = False
    since: int = 0
    waited: int = 0
    held: int = 0
    drains_since: int = 0
    previous: int = 0
    claims: tuple[Claim, ...] = ()
    placed: tuple[tuple[str, tuple[int, ...]], ...] = ()
    ends_by: int | None = None
    so_far: Record | None = None
    last_due: int | None = None
    count: int = 1
    owner: Owner | None = None
    waits: tuple[tuple[int, str], ...] = ()
    given_up: int | None = None
    lacked: tuple[str, ...] = ()
    doubted: bool = False
    wishes: dict[str, Any] | None = None

    def age(self, wall: int) -> int:
        """Return the run's age (ns) in the queue."""
        return self.waited + (max(0, wall - self.since) if self.since else 0)

    def shifted(self, step: int) -> Run:
        """Return the run after a step of the wall clock; the instants from which durations are measured move with the
        clock.
        """
        moments = {name: getattr(self, name) for name in ("since", "not_before", "held", "drains_since", "ends_by")}
        return changed(self, **{name: moment + step for name, moment in moments.items() if moment})

    @property
    def attempt_name(self) -> str:
        """The name of the live attempt's directory R: ``backup@142.2``."""
        return file_name(f"{self.id}.{self.attempt}")
