"""The JSON documents that cross a process boundary: the record of a run, and the launch spec of an attempt.

docs/records.md says what the fields of a record mean.  NotRequired, and all of a class that is not total, is what some
documents lack: those of earlier versions, and those to which it does not apply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

UNSTARTED = "unstarted"
"""The `state` in R/ended of an attempt that the host's trouble kept from starting."""
ENDS = frozenset({"succeeded", "failed", "timed_out", "killed", "oom_killed", "lost"})
"""The `state` of a record whose run, or whose attempt, is over."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of a job whose launch spec sets none."""


SLURM_PATH = f"{DEFAULT_PATH}:/opt/slurm/bin"
"""Where Slurm's commands are looked for, behind the PATH of a job."""

SLURM_HELPER = "jq-slurm"
"""The name of a process that stands for a job on Slurm: SIGTERM ends both, and SIGKILL only that process."""


class Journal(TypedDict):
    """The lines of an output that journald got, and those that it did not."""

    lines: int
    dropped: int
    why: dict[str, int]


class Output(TypedDict):
    """The whereabouts of an output; `offset` is where that of an attempt begins in its run's."""

    file: str | None
    offset: NotRequired[int]
    bytes: int
    dropped: int | None
    tail: str
    journal: NotRequired[Journal | None]
    error: NotRequired[str]


class Figures(TypedDict, total=False):
    """The resources that an attempt used: seconds, bytes, tasks; None: not known."""

    cpu_user: float | None
    cpu_system: float | None
    memory_peak: int | None
    memory_peak_below: int | None
    memory_mean: int | None
    throttled: float | None
    tasks_peak: int | None
    io_read: int | None
    io_write: int | None


class SlurmJob(TypedDict):
    """The job on Slurm that an attempt is: its number, its node, and its last state there.

    Of one that is not over, `reason` says why it waits there, and `unheard` why Slurm does not answer; "": nothing.
    """

    job: int
    node: str | None
    state: str
    reason: NotRequired[str]
    unheard: NotRequired[str]


class End(Figures, total=False):
    """The end of the main process of an attempt, and what was used; `rusage` is of the attempt alone."""

    pid: int | None
    exit_code: int | None
    signal: int | None
    rusage: dict[str, int] | None
    slurm: SlurmJob


class Facts(End, total=False):
    """All that is known of an attempt by its end, and of a run by its last one."""

    enforced: dict[str, str] | None
    warnings: list[str]


class AttemptRecord(Facts):
    """One attempt, as `attempts` of a record has it."""

    attempt: int
    span_id: NotRequired[str | None]
    failover: NotRequired[bool]
    started: str | None
    ended: str | None
    state: str
    reason: str | None
    output: NotRequired[Output]


class FollowedAttempt(AttemptRecord):
    """An attempt that others may follow: `retried_by` asked for the next before its time."""

    retried_by: NotRequired[str]


UNKNOWN: Facts = {
    "pid": None, "exit_code": None, "signal": None, "cpu_user": None, "cpu_system": None, "memory_peak": None,
    "memory_peak_below": None, "memory_mean": None, "throttled": None, "tasks_peak": None,
    "io_read": None, "io_write": None, "enforced": None, "warnings": [],
}  # fmt: skip
"""The facts of a run before its end, and of what had no process: each is there, and none is known."""
UNKNOWN_OF_ATTEMPT: Facts = {**UNKNOWN, "rusage": None}
NO_OUTPUT: Output = {"file": None, "bytes": 0, "dropped": 0, "tail": "", "journal": None}


class TriggeredBy(TypedDict, total=False):
    """The cause of a run: `kind` is schedule, boot, manual, rerun, job, path or event.

    `run` is the one that ended (job), with its `state`, `exit_code` and `signal`, and `pattern` the one in `on` that
    has begun the chain of ends; `ends` are the runs, one of each dependency, that have made it due together; `path` is
    the file that appeared; `data` came with the event; `traceparent` is the span that the run continues, which no
    record tells so.
    A rerun has what the run had that it repeats, beside its own kind.
    """

    kind: str
    run: str
    state: str
    exit_code: int | None
    signal: int | None
    path: str
    event: str
    data: dict[str, Any]
    pattern: str
    ends: list[str]
    traceparent: str


class OwnerRecord(TypedDict):
    """The user whose job it was, by number and name as they were then."""

    uid: int
    name: str


class Record(Facts):
    """One run with all its attempts; in a live one, and between two attempts, that of the attempts so far."""

    version: int
    job: str
    run: str
    number: int
    key: str
    state: str
    reason: str | None
    trigger: str
    triggered_by: NotRequired[TriggeredBy]
    trace_id: NotRequired[str]
    span_id: NotRequired[str]
    parent_span_id: NotRequired[str | None]
    asked_by: str | None
    due: str
    queued: str
    started: str | None
    ended: str | None
    owner: NotRequired[OwnerRecord]
    submission_key: NotRequired[str]
    user: str | None
    command: str | Sequence[str] | None
    host: str
    priority: NotRequired[int | None]
    effective_priority: NotRequired[float | None]
    waited_for: NotRequired[list[str]]
    waits: NotRequired[list[dict[str, str]]]
    claims: NotRequired[list[dict[str, Any]]]
    given_up: NotRequired[str]
    output: Output
    tags: list[str]
    metadata: dict[str, Any]
    telemetry: NotRequired[dict[str, Any]]
    attempts: list[FollowedAttempt]
    first_due: NotRequired[str]
    last_due: NotRequired[str]
    count: NotRequired[int]
    record_error: NotRequired[str]
    usage: NotRequired[Mapping[str, Any] | None]
    holds: NotRequired[Sequence[Mapping[str, Any]]]
    waits_for: NotRequired[Sequence[Any]]


class Attributes(TypedDict, total=False):
    """Settings of a process beyond identity and environment; `limits`: of each rlimit our key, soft and hard limit."""

    limits: dict[str, list[Any]]
    nice: int
    cpu_scheduling: str
    ionice: str
    oom_score_adj: int
    no_new_privs: bool
    cpus: Sequence[int]


class Hook(TypedDict):
    """A telemetry hook: its command, and for people its name; at which moments it is told, seconds between samples, and
    those that it may take.
    """

    name: str
    command: str | Sequence[str]
    at: Sequence[str]
    every: float
    timeout: float


class Above(TypedDict):
    """The cgroup in which that of a run is, and its limits, as `caps` of the launch spec has those of the run.

    "" stands for the name of the one of the user as whom the run runs, whose number the scheduler does not know.
    """

    name: str
    caps: list[tuple[str, str, str]]


class JobOwner(TypedDict):
    """The user whose own job it is; `more_groups`: it may have these, though the user is not in them."""

    uid: int
    name: str
    more_groups: list[str]


class SlurmOrder(TypedDict):
    """An attempt that is to be a job on Slurm: its name and comment there, and the options of its submission.

    `earlier` are the names of earlier attempts, and `run` is what the comments of all attempts of the run begin with.
    `files` is the name of its directory, in `directory` (None: where its command starts); `limits` has words for those
    that Slurm looks after.
    """

    name: str
    comment: str
    run: str
    earlier: list[str]
    options: list[str]
    directory: str | None
    files: str
    limits: dict[str, str]


class LaunchSpec(TypedDict):
    """The launch spec, R/spec: the job as it is now, the run that the attempt belongs to, and the record so far.

    From `not_after` on (CLOCK_BOOTTIME, ns; 0: never) it may not start any more.  `caps` has the key of each, the file
    of the cgroup, and what is written there; `logs` is the path of the run's files without their endings, and
    `log_directory` that of all runs, with its mode and group; `run` are the fields of the Run by which R alone can tell
    whose it is.
    """

    v: int
    attempt: int
    command: str | Sequence[str]
    failover: bool
    shell: str
    owner: NotRequired[JobOwner | None]
    user: str | None
    group: str | None
    groups: Sequence[str] | None
    asks_pam: NotRequired[bool]
    working_directory: str | None
    stdin: str
    environment: dict[str, str]
    environment_file: Sequence[str]
    login_environment: bool
    runtime_directory: NotRequired[str]
    traceparent: NotRequired[str]
    not_after: NotRequired[int]
    locks: list[tuple[str, bool]]
    caps: list[tuple[str, str, str]]
    above: NotRequired[Above | None]
    enforce: str
    cpus: Sequence[int] | None
    attributes: Attributes
    umask: int
    timeout: float | None
    kill_grace: float
    stop_signal: str
    leave_children: bool
    success_codes: Sequence[int]
    hooks: NotRequired[list[Hook]]
    slurm: NotRequired[SlurmOrder | None]
    output: str
    output_limit: int
    keep_free: int | None
    journal_rate: int
    journal: str
    logs: str
    log_directory: NotRequired[tuple[str, int, int]]
    run: dict[str, Any]
    record: Record


_OF_THE_ATTEMPT = ("attempt", "span_id", "failover", "rusage")


def with_attempt(record: Record, attempt: AttemptRecord) -> Record:
    """The record with an attempt that has ended: the run's own fields are those of its last, `started` its first's."""
    before = record["attempts"]
    own = {key: value for key, value in attempt.items() if key not in _OF_THE_ATTEMPT}
    own["output"] = {key: value for key, value in attempt["output"].items() if key != "offset"}
    own["started"] = before[0]["started"] if before else attempt["started"]
    return cast("Record", {**record, **own, "attempts": [*before, attempt]})
