"""Runs and their ids, and lock clients, which hold locks as runs do: Job → Occurrence → Run → Record.

Instants and durations are integers in nanoseconds (`base/instants`).
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """The name of a command that wants or has locks (jobqueuectl with-lock): ``:with-lock@3``."""

    number: int

    @property
    def key(self) -> str:
        """The command's key in a fleet, together with WITH_LOCK."""
        return f"c{self.number}"

    def __str__(self) -> str:
        return f"{_LOCK_CLIENT}{self.number}"

    @classmethod
    def parse(cls, text: str) -> LockClientId:
        """Invert str(). Raises ValueError."""
        number = text.removeprefix(_LOCK_CLIENT)
        if number == text or not (number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS):
            raise ValueError(f"{text!r} is not a with-lock command; one is written {_LOCK_CLIENT}3")
        return cls(int(number))


class RunId(NamedTuple):
    """A run's name for people: ``backup@142``; numbers count from 1 per job and are never reused."""

    job: str
    number: int

    def __str__(self) -> str:
        return f"{self.job}@{self.number}"

    @classmethod
    def parse(cls, text: str) -> RunId:
        """Invert str(). Raises ValueError, which quotes the wrong text."""
        job, at, number = text.rpartition("@")
        if not (at and job and number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS and int(number)):
            raise ValueError(f"{text!r} is not a run; a run is written JOB@NUMBER, for example backup@142")
        return cls(job, int(number))


Holder = RunId | LockClientId | str
"""A holder of claims, or one that waits for them; a string names a run of another host of the fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One occurrence being carried out (or skipped), with as much of its history as the scheduler needs.

    `reason` is why it is stopping, or ended as it did. `attempt` counts from 1 (0: none was ever sent); `failover`:
    that attempt is the failover; `doubted`: its R may have been removed before its start was reported; `stop_asked`: no
    other attempt may follow. `arrival` orders runs that are equal otherwise. A skip that covers several occurrences has
    `due` of the first, `last_due` and `count`. `triggered_by` has further facts about its trigger. `owner` is the job's
    when the run was made.

    It ages since `since` (wall; 0: it does not), and aged for `waited` ns before that. No attempt is made before
    `not_before`. Other runs are held back for it since `drains_since`. Its dependencies hold it back since `held`;
    `previous` is the instant before `due` in its job's rhythm. A live run holds `claims`, of which it got the units in
    `placed`, and ends by `ends_by` (None: unknown). `so_far` is the record of the attempts that have ended. `waits`:
    the start (wall) of each wait before its start, and what held it back; "": it was in the queue. A skip of a run that
    existed has `given_up`, the time of that, and `lacked`, what it did not get in the queue; if it covers several,
    those of the last that waited. All instants are wall time; a step of the clock shifts those from which durations
    count.
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

    def age(self, wall: int) -> int:
        """Return for how long (ns) it has aged."""
        return self.waited + (max(0, wall - self.since) if self.since else 0)

    def shifted(self, step: int) -> Run:
        """Return the run after a step of the wall clock: instants from which durations count move with the clock."""
        moments = {name: getattr(self, name) for name in ("since", "not_before", "held", "drains_since", "ends_by")}
        return changed(self, **{name: moment + step for name, moment in moments.items() if moment})

    @property
    def attempt_name(self) -> str:
        """The name of the live attempt's directory R: ``backup@142.2``."""
        return file_name(f"{self.id}.{self.attempt}")
