"""The JSON documents that cross a process boundary: a run's record and an attempt's launch spec.

docs/records.md explains the fields of a record. NotRequired fields, and fields of classes with total=False, may be
missing, because they do not apply or an earlier version wrote the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

UNSTARTED = "unstarted"
"""The `state` in R/ended if the attempt could not start because of a problem with the host."""
ENDS = frozenset({"succeeded", "failed", "timed_out", "killed", "oom_killed", "lost"})
"""The values of `state` for an ended run or attempt."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of a job whose launch spec does not set it."""


SLURM_PATH = f"{DEFAULT_PATH}:/opt/slurm/bin"
"""Directories searched for Slurm's commands after the job's PATH."""

SLURM_HELPER = "jq-slurm"
"""Process name of a Slurm job's helper. SIGTERM ends the helper and its job; SIGKILL ends only the helper."""


class Journal(TypedDict):
    """The number of output lines that journald got, and the number of dropped lines, as a total and by reason."""

    lines: int
    dropped: int
    why: dict[str, int]


class OutputPlaces(TypedDict):
    """The places where output is saved. `offset`: first byte of the attempt's output in the run's file."""

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
    """An attempt's Slurm job: its ID, its node, and its last state.

    For a live job, `reason` explains why it waits, and `unheard` explains why Slurm does not reply. A field is "" if it
    does not apply.
    """

    job: int
    node: str | None
    state: str
    reason: NotRequired[str]
    unheard: NotRequired[str]


class ProcessEnd(Figures, total=False):
    """The end of an attempt's main process, and the attempt's resource use. `rusage` excludes earlier attempts."""

    pid: int | None
    exit_code: int | None
    signal: int | None
    rusage: dict[str, int] | None
    slurm: SlurmJob


class Facts(ProcessEnd, total=False):
    """The facts about an attempt at its end, or about a run's last attempt."""

    enforced: dict[str, str] | None
    warnings: list[str]


class AttemptRecord(Facts):
    """An attempt in a record's field `attempts`."""

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
    """An attempt in `attempts` that another attempt may follow.

    `retried_by`: the user who requested the next attempt early.
    """

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
"""The facts about a run without an end or a process. All keys exist, with the values that mean unknown."""
UNKNOWN_OF_ATTEMPT: Facts = {**UNKNOWN, "rusage": None}
NO_OUTPUT: OutputPlaces = {"file": None, "bytes": 0, "dropped": 0, "tail": "", "journal": None}


class TriggeredBy(TypedDict, total=False):
    """The cause of a run: `kind` is schedule, boot, manual, rerun, job, path or event.

    If `kind` is job, `run` is the run that ended, with its `state`, `exit_code` and `signal`. `pattern` is the entry of
    `on` that the first run in the chain matched. `ends` are the runs, one for each dependency, that together made this
    run due. `path` is the file that appeared. `data` came with the event. `traceparent` is the span that the run
    continues; records save it in other fields. A rerun also has the repeated run's fields, except `kind`.
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
    """The job's owner, with the UID and the name at the time of the run."""

    uid: int
    name: str


class Record(Facts):
    """A run with all its attempts, or a live run with its attempts so far."""

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
    submission_runs: NotRequired[int]
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
    """A process's settings, except its identity and environment. `limits`: rlimit → our key, soft and hard limit."""

    limits: dict[str, list[Any]]
    nice: int
    cpu_scheduling: str
    ionice: str
    oom_score_adj: int
    no_new_privs: bool
    cpus: Sequence[int]


class Hook(TypedDict):
    """A telemetry hook: its name, its command, when it runs, the seconds between samples, and its timeout (s)."""

    name: str
    command: str | Sequence[str]
    at: Sequence[str]
    every: float
    timeout: float


class Above(TypedDict):
    """The cgroup above a run's cgroup, and its limits in the format of the launch spec's `caps`.

    The name "" means the cgroup of the run's user, whose UID the scheduler does not have. A limit with the key "" is a
    default. If a default can't be set, the record gets no warning, because no user requested it.
    """

    name: str
    caps: list[tuple[str, str, str]]


class JobOwner(TypedDict):
    """The user who owns the job. `more_groups`: groups that the job may have although the user is not a member."""

    uid: int
    name: str
    more_groups: list[str]


class SlurmOrder(TypedDict):
    """An attempt's Slurm job: its name, its comment, and its submission options.

    `earlier`: job names of earlier attempts. `run`: prefix of the comments for all attempts of the run. `files`: name
    of the attempt's directory inside `directory`. If `directory` is None, the command's working directory is used.
    `limits`: descriptions of the limits that Slurm enforces.
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
    """The launch spec (R/spec): the job, the attempt's run, and the record so far.

    The attempt must not start at `not_after` or later (CLOCK_BOOTTIME, ns; 0 means no limit). Each entry of `caps` has
    a key, a cgroup file, and the value to write to the file. `logs` is the path of the run's files without suffix.
    `log_directory` is the directory of all runs, with its mode and group. `run` has the Run fields that recovery needs
    if only R exists.
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
    """Return the record with an ended attempt added.

    The run gets the attempt's fields, but keeps the first `started`.
    """
    before = record["attempts"]
    own = {key: value for key, value in attempt.items() if key not in _OF_THE_ATTEMPT}
    own["output"] = {key: value for key, value in attempt["output"].items() if key != "offset"}
    own["started"] = before[0]["started"] if before else attempt["started"]
    return cast("Record", {**record, **own, "attempts": [*before, attempt]})
