"""The JSON documents that cross a process boundary: the record of a run, and the launch spec of an attempt.

docs/records.md explains the fields of a record. NotRequired fields, and those of classes with total=False, may be
missing: in documents of earlier versions, or because they do not apply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

UNSTARTED = "unstarted"
"""The `state` in R/ended of an attempt that did not start because of a problem of the host."""
ENDS = frozenset({"succeeded", "failed", "timed_out", "killed", "oom_killed", "lost"})
"""The `state` of a record whose run, or whose attempt, is over."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of a job whose launch spec sets none."""


SLURM_PATH = f"{DEFAULT_PATH}:/opt/slurm/bin"
"""The PATH to find Slurm's commands, after the job's own PATH."""

SLURM_HELPER = "jq-slurm"
"""Name of a process that stands for a job on Slurm: SIGTERM ends both, and SIGKILL only the process."""


class Journal(TypedDict):
    """The number of an output's lines that journald got, of those that it did not get, and of the latter by reason."""

    lines: int
    dropped: int
    why: dict[str, int]


class OutputPlaces(TypedDict):
    """The places of an output; `offset`: first byte of the attempt's output in the run's file."""

    file: str | None
    offset: NotRequired[int]
    bytes: int
    dropped: int | None
    tail: str
    journal: NotRequired[Journal | None]
    error: NotRequired[str]


class Figures(TypedDict, total=False):
    """The resources that an attempt used: seconds, bytes, tasks. None means unknown."""

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
    """The job on Slurm of an attempt: its number, its node, and its last state.

    For a live job, `reason` is why it waits and `unheard` why Slurm does not answer. Each is "" if it does not apply.
    """

    job: int
    node: str | None
    state: str
    reason: NotRequired[str]
    unheard: NotRequired[str]


class ProcessEnd(Figures, total=False):
    """The end of the main process of an attempt, and the resources used; `rusage` is of the attempt alone."""

    pid: int | None
    exit_code: int | None
    signal: int | None
    rusage: dict[str, int] | None
    slurm: SlurmJob


class Facts(ProcessEnd, total=False):
    """Everything known about an attempt at its end; for a run, about its last attempt."""

    enforced: dict[str, str] | None
    warnings: list[str]


class AttemptRecord(Facts):
    """One attempt, as in `attempts` of a record."""

    attempt: int
    span_id: NotRequired[str | None]
    failover: NotRequired[bool]
    started: str | None
    ended: str | None
    state: str
    reason: str | None
    reason_code: NotRequired[str | None]
    reason_params: NotRequired[dict[str, Any]]
    output: NotRequired[OutputPlaces]


class FollowedAttempt(AttemptRecord):
    """An attempt that others may follow. `retried_by`: the user who asked for the next attempt before its time."""

    retried_by: NotRequired[str]


UNKNOWN: Facts = {
    "pid": None,
    "exit_code": None,
    "signal": None,
    "cpu_user": None,
    "cpu_system": None,
    "memory_peak": None,
    "memory_peak_below": None,
    "memory_mean": None,
    "throttled": None,
    "tasks_peak": None,
    "io_read": None,
    "io_write": None,
    "enforced": None,
    "warnings": [],
}
"""The facts of a run before its end, or without a process: every key is present, with an unknown value."""
UNKNOWN_OF_ATTEMPT: Facts = {**UNKNOWN, "rusage": None}
NO_OUTPUT: OutputPlaces = {"file": None, "bytes": 0, "dropped": 0, "tail": "", "journal": None}


class TriggeredBy(TypedDict, total=False):
    """The cause of a run: `kind` is schedule, boot, manual, rerun, job, path or event.

    `run` is the run that ended (kind job), with its `state`, `exit_code` and `signal`. `pattern` is the entry of `on`
    that started the chain of ends. `ends` are the runs, one for each dependency, that together made this run due.
    `path` is the file that appeared. `data` came with the event. `traceparent` is the span that the run continues;
    records show it in other fields. A rerun also has the fields of the run that it repeats, except its kind.
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
    """The user who owned the job, by UID and name at that time."""

    uid: int
    name: str


class Record(Facts):
    """One run with all its attempts; for a live run, with the attempts so far."""

    version: int
    job: str
    run: str
    number: int
    key: str
    state: str
    reason: str | None
    reason_code: NotRequired[str | None]
    reason_params: NotRequired[dict[str, Any]]
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
    output: OutputPlaces
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
    """Settings of a process except identity and environment. `limits`: rlimit → our key, soft and hard limit."""

    limits: dict[str, list[Any]]
    nice: int
    cpu_scheduling: str
    ionice: str
    oom_score_adj: int
    no_new_privs: bool
    cpus: Sequence[int]


class Hook(TypedDict):
    """A telemetry hook: its command, its name, when it is called, seconds between samples, and its timeout (s)."""

    name: str
    command: str | Sequence[str]
    at: Sequence[str]
    every: float
    timeout: float


class Above(TypedDict):
    """The cgroup around that of a run, and its limits in the format of `caps` in the launch spec.

    The name "" means the cgroup of the run's user, whose UID the scheduler does not know. A limit with the key "" is a
    default. Because no user asked for it, no record has a warning if it can't be set.
    """

    name: str
    caps: list[tuple[str, str, str]]


class JobOwner(TypedDict):
    """The user who owns the job; `more_groups`: groups that the job may have although the user is not in them."""

    uid: int
    name: str
    more_groups: list[str]


class SlurmOrder(TypedDict):
    """The job on Slurm that an attempt becomes: its name and comment, and the options of its submission.

    `earlier`: names of earlier attempts. `run`: prefix of the comments of all attempts of the run. `files`: name of its
    directory inside `directory`; `directory` None means the directory in which its command starts. `limits`:
    descriptions of the limits that Slurm enforces.
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
    """The launch spec, R/spec: the current job, the run that the attempt belongs to, and the record so far.

    The attempt must not start from `not_after` on (CLOCK_BOOTTIME, ns; 0 means no limit). Each of `caps` has a key, the
    cgroup file, and the value to write to it. `logs` is the path of the run's files without suffix. `log_directory` is
    the directory of all runs, with its mode and group. `run` has the fields of the Run that let recovery identify it
    from R alone.
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
    """Return the record with an ended attempt added: the run gets its fields, but keeps the first `started`."""
    before = record["attempts"]
    own = {key: value for key, value in attempt.items() if key not in _OF_THE_ATTEMPT}
    own["output"] = {key: value for key, value in attempt["output"].items() if key != "offset"}
    own["started"] = before[0]["started"] if before else attempt["started"]
    return cast("Record", {**record, **own, "attempts": [*before, attempt]})
