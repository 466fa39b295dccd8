"""Jobs and their occurrences: the definition of a command in a job file, and the times when it is due.

Instants are integers, in nanoseconds since 1970 UTC, so that comparisons are exact and cheap. Durations are in
nanoseconds too. In JSON (records, control socket), instants are RFC 3339 in UTC with microseconds, durations are in
seconds, and sizes in bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from jobqueued.base.instants import (
    DAY,
    HOUR,
    INSTANTS,
    MINUTE,
    SECOND,
    Trigger,
    exactly,
    to_datetime,
)
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.notify import NOBODY, USUALLY, Late, Notify, Ping
from jobqueued.model.submission import Submission
from jobqueued.model.telemetry import TelemetryHook
from jobqueued.model.users import Owner

UNBOUNDED = 1 << 62  # greater than any real value
MAX_DIGITS = 18  # of a run number, so that it fits into an int64
RECORD_VERSION = 1
HIDDEN = "***"  # shown in place of a secret to users who may not see it
CommandLine = str | tuple[str, ...]  # a string for the shell, or a program and its arguments

_NO_LIMITS = dict[str, Any]()


class Now(NamedTuple):
    """One reading of both clocks: `wall` for due times, `mono` (CLOCK_MONOTONIC) for durations. The two are never
    mixed.
    """

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
    """The hosts among which an occurrence of a job runs once: this host alone, or all hosts of its fleet."""

    HOST = "host"
    FLEET = "fleet"


class OnHostLoss(StrEnum):
    """The fate of a live run if its host leaves the fleet: the run is lost, or another host reruns the occurrence."""

    LOST = "lost"
    RERUN = "rerun"


class Claim(NamedTuple):
    """A run's part of one resource: everything (`exclusive`), N `units`, or a share (0 units).

    `resource` is the name of a lock or resource, the absolute path of a lock file, or `locks.HOST` or `SLOT`.
    """

    resource: str
    units: int = 0
    exclusive: bool = False

    @property
    def mode(self) -> str:
        """The way the resource is held: exclusive, units or shared."""
        return "exclusive" if self.exclusive else "units" if self.units else "shared"


CPU, MEMORY = "cpu", "memory"
"""The resources that every host has, in thousandths of a core and in bytes."""
CORE = 1000
"""Units of CPU in one core."""


class Escalation(NamedTuple):
    """The ageing of a waiting run: its priority grows by `points` per `every` ns."""

    points: int = 1
    every: int = MINUTE


class Rate(NamedTuple):
    """A limit for the starts of a job: `runs` at once, and after that evenly `runs` in `per` ns."""

    runs: int
    per: int


class RateUse(NamedTuple):
    """The used part of a job's rate: when (wall, ns) nothing of it is used any longer, and the time (ns) in which one
    start refilled under the rate of then.
    """

    full_at: int = 0
    refill: int = 1


class On(NamedTuple):
    """A trigger other than the clock. `kind` is event, path, job or jobs (a pattern); `result` is the end that the
    trigger awaits.
    """

    kind: str
    name: str
    result: str = "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The definition of a job: its command, its due times and its rules. `keys.JOB_KEYS` documents the fields with the
    names of keys.

    `triggers`: all clock triggers, compiled. `offset` (ns): the job's part of `spread`. `escalation` None means the
    host's setting; `owner` None means the host. `asks_pam`: whether PAM may refuse the job. `more_groups`: groups that
    the job may have in addition to its user's groups. `line` is a line of `origin` or, if there is no origin, of
    `file`. `hosts`: labels that a host must have to run the job.
    """

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
    rate: Rate | None = None
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

    @property
    def as_submission(self) -> Submission:
        """The part of this job that only submissions have. Raises TypeError for a job from a file."""
        if self.submission is None:
            raise TypeError(f"{self.id} is no submission")
        return self.submission

    def redacted(self, command: CommandLine | None) -> CommandLine | None:
        """Return a command of the job for records and other users, with ``***`` in place of each word of `redact`."""
        if command is None or not self.redact:
            return command
        words = re.compile("|".join(map(re.escape, sorted(self.redact, key=len, reverse=True))))
        return words.sub(HIDDEN, command) if isinstance(command, str) else tuple(words.sub(HIDDEN, c) for c in command)

    def next_after(self, instant: int, settled: int = 0) -> int | None:
        """Return the first scheduled due time strictly after `instant`, or None if none exists before 2200.

        After the clock was set back, triggers that must not start the job twice count only after `settled`.
        """
        moment = to_datetime(instant)
        later = moment if settled <= instant else to_datetime(settled)
        found = (trigger.after(moment if trigger.starts_twice else later) for trigger in self.triggers)
        times = [t for t in found if t is not None]
        due = exactly(min(times)) if times else None
        return due if due is not None and due < INSTANTS.stop else None

    def next_starts(self, instant: int, count: int, settled: int = 0) -> list[int]:
        """Return the next `count` scheduled starts of this job after `instant`: due times plus `offset`."""
        starts: list[int] = []
        due: int | None = instant - self.offset
        while len(starts) < count and due is not None and (due := self.next_after(due, settled)) is not None:
            starts.append(due + self.offset)
        return starts

    def occurrence(self, era: int, due: int) -> Occurrence:
        """Return the scheduled occurrence at a due time, which does not include `spread`; a fleet job's occurrence is
        the same on each host.
        """
        return Occurrence.fleet(self.id, due) if self.scope is Scope.FLEET else Occurrence.clock(self.id, era, due)

    @property
    def rhythm(self) -> str:
        """A string that identifies the clock triggers; a cursor is valid only for the rhythm under which it was set."""
        lines = [*self.schedule, self.timezone, self.dst] if self.schedule else []
        lines += [] if self.seconds is None else [f"seconds {self.seconds}"]
        lines += [] if self.every is None else [f"every {self.every}"]
        lines += [f"anchor {self.anchor}"] if self.every is not None and self.anchor else []
        return "\n".join(lines if self.at is None else [*lines, f"at {self.at}"])


class Occurrence(NamedTuple):
    """One due time of one job; the promise "exactly once" applies to each occurrence.

    `key` is unique for the job, forever: ``c<era>.<UTC second>`` for clock triggers, ``x<64-bit hex>`` for other
    triggers. A fleet job's key is ``f<UTC second>`` on all hosts, and ``f<UTC second>.2`` for the rerun after the first
    host was lost.
    """

    job: str
    key: str
    due: int

    @classmethod
    def clock(cls, job: str, era: int, due: int) -> Occurrence:
        """Return the occurrence of a clock trigger at a due time, which does not include `spread`."""
        return cls(job, f"c{era}.{due // SECOND}", due)

    @classmethod
    def fleet(cls, job: str, due: int) -> Occurrence:
        """Return a fleet job's scheduled occurrence. The key has no era, because each host has a different era."""
        return cls(job, f"f{due // SECOND}", due)
