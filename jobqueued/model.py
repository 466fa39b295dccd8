"""The nouns, in the order in which data flows: Job → Occurrence → Run → Record.

Instants are integers, nanoseconds since 1970 UTC, so that comparisons are exact and cheap; durations are nanoseconds
too.  In JSON (records, control socket) instants are RFC 3339 UTC with microseconds, durations seconds, sizes bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from jobqueued.child.documents import Record, TriggeredBy
from jobqueued.child.tuples import NamedTuple
from jobqueued.copies import changed
from jobqueued.filenames import file_name
from jobqueued.instants import DAY, HOUR, INSTANTS, MINUTE, SECOND, Trigger, exactly, to_datetime, to_instant, to_text
from jobqueued.notify import NOBODY, USUALLY, Late, Notify, Ping
from jobqueued.run_states import FAILURES, LIVE, PENDING, RunState
from jobqueued.submission import Submission
from jobqueued.telemetry import TelemetryHook
from jobqueued.users import Owner

UNBOUNDED = 1 << 62  # more than there will ever be
MAX_DIGITS = 18  # of a run's number, so that it fits an int64
RECORD_VERSION = 1
HIDDEN = "***"  # a secret, as those are told it who may know no more
CommandLine = str | tuple[str, ...]  # a text for the shell, or a program and its arguments

_NO_LIMITS = dict[str, Any]()


class Now(NamedTuple):
    """One reading of both clocks: `wall` for due times, `mono` (CLOCK_MONOTONIC) for durations; never mixed."""

    wall: int
    mono: int


class JobStatus(StrEnum):
    """A job's status for people, derived from its definition and its runs."""

    IDLE = "Idle"
    WAITING = "Waiting"
    RUNNING = "Running"
    RETRYING = "Retrying"
    FAILED = "Failed"
    COMPLETED = "Completed"
    MISSED = "Missed"
    PAUSED = "Paused"
    OUTDATED = "Outdated"
    INVALID = "Invalid"
    DISABLED = "Disabled"


class CatchUp(StrEnum):
    """The rule for occurrences older than `grace` after a gap (downtime, suspend, clock step)."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Overlap(StrEnum):
    """The rule for an occurrence that is due while its job is at its `concurrency`."""

    QUEUE = "queue"
    SKIP = "skip"
    REPLACE = "replace"


class Scope(StrEnum):
    """The hosts among which an occurrence of a job runs once: this one, or all of its fleet."""

    HOST = "host"
    FLEET = "fleet"


class OnHostLoss(StrEnum):
    """The fate of a run that has not ended when its host is gone for its fleet: it is lost, or another host has one."""

    LOST = "lost"
    RERUN = "rerun"


class Claim(NamedTuple):
    """The part of one resource that a run needs while it runs: all of it, or `units` (0: a share, beside other shares).

    `resource` is the name of a lock or resource, the absolute path of a lock file, or `locks.HOST` or `SLOT`."""

    resource: str
    units: int = 0
    exclusive: bool = False

    @property
    def mode(self) -> str:
        """Word how it is held: exclusive, units or shared."""
        return "exclusive" if self.exclusive else "units" if self.units else "shared"


CPU, MEMORY = "cpu", "memory"
"""The resources that every host has, in thousandths of a core and in bytes."""
CORE = 1000
"""Units of CPU that are one core."""


class Escalation(NamedTuple):
    """By how many points the priority of a waiting run grows, each `every` ns."""

    points: int = 1
    every: int = MINUTE


class On(NamedTuple):
    """A trigger beside the clock: `kind` is event, path, job or jobs (a pattern of ids); `result` is that of a run."""

    kind: str
    name: str
    result: str = "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A definition: what to run, when, under which rules.  `keys.JOB_KEYS` documents the fields of the same name.

    `triggers`: all that the clock does, compiled; `offset` (ns): its part of `spread`; `escalation`, `owner` None: the
    host's; `asks_pam`: PAM may refuse it; `more_groups`: may be its, too; `line` is of `origin`, else of `file`;
    `hosts`: the labels of those that may run it."""

    id: str
    command: CommandLine
    schedule: tuple[str, ...] = ()
    seconds: str | None = None
    timezone: str = "UTC"
    dst: str = "cron"
    every: int | None = None
    anchor: int = 0
    at: int | None = None
    at_boot: bool = False
    on: tuple[On, ...] = ()
    spread: int = 0
    triggers: tuple[Trigger, ...] = ()
    offset: int = 0
    description: str = ""
    shell: str = "/bin/sh"
    owner: Owner | None = None
    user: str | None = None
    working_directory: str | None = None
    group: str | None = None
    groups: tuple[str, ...] | None = None
    asks_pam: bool = False
    outlasts_steps: bool = False
    more_groups: tuple[str, ...] = ()
    stdin: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    environment_file: tuple[str, ...] = ()
    login_environment: bool = False
    umask: int | None = None
    enabled: bool = True
    start_deadline: int | None = None
    max_runs: int | None = None
    priority: int = 0
    escalation: Escalation | None = None
    exclusive: bool = False
    concurrency: int = 1
    runner: str = "local"
    slurm: dict[str, Any] = field(default_factory=lambda: _NO_LIMITS)
    scope: Scope = Scope.HOST
    hosts: tuple[str, ...] = ()
    on_host_loss: OnHostLoss = OnHostLoss.LOST
    overlap: Overlap = Overlap.QUEUE
    max_waiting: int | None = None
    locks: tuple[Claim, ...] = ()
    resources: tuple[Claim, ...] = ()
    placement: str = "none"
    dependencies: tuple[str, ...] = ()
    dependency_timeout: int = DAY
    on_dependency_failure: str = "skip"
    drain: int = HOUR
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window: int = DAY
    grace: int = MINUTE
    timeout: int | None = None
    kill_grace: int = 10 * SECOND
    stop_signal: str = "SIGTERM"
    leave_children: bool = False
    success_codes: tuple[int, ...] = (0,)
    retries: int = 0
    retry_delay: int = MINUTE
    retry_backoff: float = 1.0
    retry_max_delay: int | None = None
    retry_on: tuple[str, ...] | None = None
    failover: CommandLine | None = None
    resource_limits: dict[str, Any] = field(default_factory=lambda: _NO_LIMITS)
    nice: int = 0
    ionice: str | None = None
    cpu_scheduling: str = "other"
    enforce: str = "best_effort"
    oom_score_adj: int = 0
    no_new_privs: bool = False
    output: str = "both"
    output_limit: int = 64 << 20
    journal_rate: int = 100
    redact: tuple[str, ...] = ()
    notify: Notify = NOBODY
    telemetry_hooks: tuple[TelemetryHook, ...] = ()
    ping: Ping | None = None
    late: Late | None = USUALLY
    expect: int | None = None
    submission: Submission | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None
    file: str = ""
    line: int = 0
    origin: str = ""
    drop_ins: tuple[str, ...] = ()

    def told(self, command: CommandLine | None) -> CommandLine | None:
        """A command of it as records and other users have it: with ``***`` for each word of `redact`."""
        if command is None or not self.redact:
            return command
        words = re.compile("|".join(map(re.escape, sorted(self.redact, key=len, reverse=True))))
        return words.sub(HIDDEN, command) if isinstance(command, str) else tuple(words.sub(HIDDEN, c) for c in command)

    def next_after(self, instant: int, settled: int = 0) -> int | None:
        """The first clock due time strictly after `instant`, and, of triggers that do not start twice what a clock that
        is set back shows twice, after `settled`; None: there is none before 2200.
        """
        moment = to_datetime(instant)
        later = moment if settled <= instant else to_datetime(settled)
        found = (trigger.after(moment if trigger.starts_twice else later) for trigger in self.triggers)
        times = [t for t in found if t is not None]
        due = exactly(min(times)) if times else None
        return due if due is not None and due < INSTANTS.stop else None

    def next_starts(self, instant: int, count: int, settled: int = 0) -> list[int]:
        """The first `count` times after `instant` at which the clock starts this job: due times plus `offset`."""
        starts: list[int] = []
        due: int | None = instant - self.offset
        while len(starts) < count and due is not None and (due := self.next_after(due, settled)) is not None:
            starts.append(due + self.offset)
        return starts

    def occurrence(self, era: int, due: int) -> Occurrence:
        """The occurrence of its clock at a nominal due time; one of a fleet's job is the same one on each host."""
        return Occurrence.fleet(self.id, due) if self.scope is Scope.FLEET else Occurrence.clock(self.id, era, due)

    @property
    def rhythm(self) -> str:
        """Identity of the clock triggers: a cursor is only good for the rhythm it was made under."""
        lines = [*self.schedule, self.timezone, self.dst] if self.schedule else []
        lines += [] if self.seconds is None else [f"seconds {self.seconds}"]
        lines += [] if self.every is None else [f"every {self.every}"]
        lines += [f"anchor {self.anchor}"] if self.every is not None and self.anchor else []
        return "\n".join(lines if self.at is None else [*lines, f"at {self.at}"])


class Occurrence(NamedTuple):
    """One due time of one job, the unit of "exactly once".

    `key` is unique per job for ever: ``c<era>.<UTC second>`` for clock triggers, ``x<64-bit hex>`` for all others;
    ``f<UTC second>`` for those of a fleet's job, in all its hosts, and ``f<UTC second>.2`` for what follows the loss of
    the first host that had it.
    """

    job: str
    key: str
    due: int

    @classmethod
    def clock(cls, job: str, era: int, due: int) -> Occurrence:
        """The occurrence of a clock trigger at its nominal due time."""
        return cls(job, f"c{era}.{due // SECOND}", due)

    @classmethod
    def fleet(cls, job: str, due: int) -> Occurrence:
        """The occurrence of a clock trigger of a fleet's job; its key has no era, as that is the host's own."""
        return cls(job, f"f{due // SECOND}", due)


WITH_LOCK = ":with-lock"
_LOCK_CLIENT = f"{WITH_LOCK}@"


class LockClientId(NamedTuple):
    """The name of a person's command that wants or has locks (jobqueuectl with-lock): ``:with-lock@3``."""

    number: int

    @property
    def key(self) -> str:
        """The key by which a fleet knows it, beside WITH_LOCK."""
        return f"c{self.number}"

    def __str__(self) -> str:
        return f"{_LOCK_CLIENT}{self.number}"

    @classmethod
    def parse(cls, text: str) -> LockClientId:
        """The inverse of str(); ValueError."""
        number = text.removeprefix(_LOCK_CLIENT)
        if number == text or not (number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS):
            raise ValueError(f"{text!r} is not a with-lock command; one is written {_LOCK_CLIENT}3")
        return cls(int(number))


class RunId(NamedTuple):
    """A run's name for people: ``backup@142``; numbers count from 1 per job and are never used again."""

    job: str
    number: int

    def __str__(self) -> str:
        return f"{self.job}@{self.number}"

    @classmethod
    def parse(cls, text: str) -> RunId:
        """The inverse of str(); ValueError says what was found."""
        job, at, number = text.rpartition("@")
        if not (at and job and number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS and int(number)):
            raise ValueError(f"{text!r} is not a run; a run is written JOB@NUMBER, for example backup@142")
        return cls(job, int(number))


Holder = RunId | LockClientId | str
"""Who waits for claims, and holds them; a text names a run of another host of the fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One occurrence being carried out (or skipped), with as much of its story as the scheduler needs.

    `reason` is why it is stopping, or ended as it did.  `attempt` counts from 1 (0: none was ever sent); `failover`:
    that attempt is the failover; `doubted`: its R may have been removed before its start was heard of; `stop_asked`:
    nobody wants another.  `arrival` orders runs that are equal otherwise.
    A skip that covers several occurrences has `due` of the first, `last_due` and `count`.  `triggered_by` says more of
    its trigger than that word, where there is more.  `owner` is the job's, as its job was when the run was made.

    It ages since `since` (wall; 0: it does not), and has aged for `waited` ns before that. Nothing is tried before
    `not_before`. Others are held back for it since `drains_since`. Its dependencies hold it back since `held`;
    `previous` is the instant before `due` in its job's rhythm. A live run holds `claims`, of which it was given the
    units in `placed`, and has ended by `ends_by` (None: nobody knows). `so_far` is the record of the attempts that
    have ended. `waits`: since when (wall) what has held it back before its start; "": it was in the queue. A skip of a
    run that came to be has `given_up`, when that was, and `lacked`, what it did not get in the queue; where it covers
    several, of the last that waited. All instants are on the wall; a step of the clock shifts those from which
    durations count.
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
    reason: str | None = None
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
        """For how long (ns) it has aged by now."""
        return self.waited + (max(0, wall - self.since) if self.since else 0)

    def shifted(self, step: int) -> Run:
        """The run after a step of the wall clock: what durations count from moves with it."""
        moments = {name: getattr(self, name) for name in ("since", "not_before", "held", "drains_since", "ends_by")}
        return changed(self, **{name: moment + step for name, moment in moments.items() if moment})

    @property
    def attempt_name(self) -> str:
        """The name of the live attempt's directory R: ``backup@142.2``."""
        return file_name(f"{self.id}.{self.attempt}")
