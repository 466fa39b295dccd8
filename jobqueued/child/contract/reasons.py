"""The reasons why a run was skipped, ended, or waits. Each has a code, parameters, and a string for people.

Programs compare codes, not texts. Records of older versions, state.db, and the line protocol between scheduler and
supervisor contain only the text of a reason. `parse` finds the code for this text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """The causes, each with its text for people. The text has parameters in braces."""

    text: str

    def __new__(cls, value: str, text: str = "") -> Code:
        """Return a member. Without `text`, the code is also the text."""
        member = str.__new__(cls, value)
        member._value_, member.text = value, text or value
        return member

    # an occurrence is skipped, or a run that waits for another attempt ends

    MISSED = "missed"
    QUEUE_FULL = "queue_full"
    CLOCK = "clock"
    PAUSED = "paused"
    PAST = "past"
    OVERLAP = "overlap"
    SUPERSEDED = "superseded"
    START_DEADLINE = "start_deadline"
    MAX_RUNS = "max_runs"
    SKIP_NEXT = "skip_next"
    FUSE = "fuse"
    EDITED = "edited"
    INVALID = "invalid", "invalid: {why}"
    DEPENDENCY = "dependency", "dependency {job}: {why}"
    DEPENDENCY_TIMEOUT = "dependency_timeout", "dependency_timeout: {job}: {why}"
    AFTER = "after", "after {awaited}: {end}"
    WITHDRAWN = "withdrawn", "withdrawn by {by}"
    STOPPED = "stopped", "stopped by {by}"
    REPLACED = "replaced", "replaced by {run}"

    JOB_REMOVED = "job_removed"
    """The job was removed. Only records of older versions have this code, because four causes share this text."""
    JOB_REMOVED_WHILE_WAITING = "job_removed_while_waiting", "job_removed"
    """The job was removed while the run was due, in the queue, or waiting for another attempt (`jobs`)."""
    JOB_REMOVED_WHILE_SPREAD = "job_removed_while_spread", "job_removed"
    """The job was removed after the due time, but before the start, which `spread` had delayed (`jobs`)."""
    JOB_REMOVED_WHILE_DOWN = "job_removed_while_down", "job_removed"
    """The job was removed while the daemon was down, or its file could not be read until now (`jobs`)."""
    JOB_REMOVED_WHILE_STARTING = "job_removed_while_starting", "job_removed"
    """The job was removed while an attempt was being launched, and the attempt did not start (`attempts`)."""

    FAILOVER_REMOVED = "failover_removed", "the job no longer has a failover"
    FEWER_RETRIES = "fewer_retries", "the job now has fewer retries"
    NO_FLEET = "no_fleet", "this host is no longer in a fleet"
    LABEL_REMOVED = "label_removed", "this host no longer has the label {label}"
    ON_ANOTHER_HOST = "on_another_host", "another host of the fleet has its occurrence"
    COUNTED_AS_GONE = (
        "counted_as_gone",
        "its fleet counted this host as gone, and another host recorded the run as lost",
    )
    FORGOTTEN_BY_FLEET = (
        "forgotten_by_fleet",
        "another host may have run it while this host was cut off for longer than the fleet remembers runs",
    )

    # an attempt ended

    EXIT_CODE = "exit_code", "exit code {exit_code}"
    SIGNAL = "signal", "signal {signal} ({name}{core_dumped})"
    LIMIT_USED_UP = "limit_used_up", "signal {signal} ({name}{core_dumped}): its {limit} is used up"
    TIMEOUT = "timeout", "timeout after {seconds} s"
    OUT_OF_MEMORY = "out_of_memory", "out of memory: {why}"
    START_FAILED = "start_failed", "start_failed: {why}"
    SHUTDOWN = "shutdown"
    BY_FAILOVER = "by_failover", "by the failover, after {before}"

    # an attempt was lost

    SUPERVISOR_GONE = "supervisor_gone", "its supervisor is gone"
    SUPERVISOR_DIED = "supervisor_died", "its supervisor died"
    RUN_DIRECTORY_GONE = "run_directory_gone", "its run directory is gone"
    START_NOT_RECORDED = "start_not_recorded", "its start was reported, but its run directory does not record it"
    HOST_WENT_DOWN = "host_went_down", "the host went down"
    HOST_GONE = "host_gone", "its host {host} is gone, and it may have run there"
    END_UNREADABLE = "end_unreadable", "its end can't be read: {why}"
    END_NOT_HANDLED = "end_not_handled", "a bug in jobqueued: its end could not be handled: {bug}"
    RECORD_UNREADABLE = (
        "record_unreadable",
        "it may have run: its files are newer than state.db, and its record can't be read ({why})",
    )

    # Slurm ended an attempt

    SLURM_TIMEOUT = "slurm_timeout", "timeout after {limit} ({job}: {job_state})"
    SLURM_DEADLINE = "slurm_deadline", "its deadline in Slurm was reached ({job}: {job_state})"
    SLURM_CANCELLED = "slurm_cancelled", "cancelled in Slurm ({job}: {job_state})"
    SLURM_PREEMPTED = "slurm_preempted", "preempted in Slurm ({job}: {job_state})"
    SLURM_OUT_OF_MEMORY = "slurm_out_of_memory", "out of memory ({job}: {job_state})"
    SLURM_NODE_FAILED = "slurm_node_failed", "its node failed ({job}: {job_state})"
    SLURM_NODE_NOT_BOOTED = "slurm_node_not_booted", "its node did not start ({job}: {job_state})"
    SLURM_REVOKED = "slurm_revoked", "another cluster started it ({job}: {job_state})"
    SLURM_FORGOT = "slurm_forgot", "Slurm no longer has it ({job}: {job_state})"
    SLURM_NO_END = "slurm_no_end", "its wrapper reported no end ({job}: {job_state})"

    SLURM_STOPPED_FIRST = "slurm_stopped_first", "stopped before it was submitted"
    SLURM_STOPPED_UNSURE = "slurm_stopped_unsure", "stopped before Slurm had it ({why})"
    SLURM_END_MISSING = (
        "slurm_end_missing",
        "{job} ended, but {path} does not record how: do its node and this host share that directory?",
    )

    # a start was deferred

    PATH_HELD = "path_held", "path busy: {path}, held by {holder}"
    PATH_BUSY = "path_busy", "path busy: {path}"
    FLEET_TOOK_OTHER = "fleet_took_other", "another host just had it"

    OTHER = "other", "{text}"
    """A cause without a code, or a string that this version does not recognize."""


REMOVALS = frozenset(
    {
        Code.JOB_REMOVED,
        Code.JOB_REMOVED_WHILE_WAITING,
        Code.JOB_REMOVED_WHILE_SPREAD,
        Code.JOB_REMOVED_WHILE_DOWN,
        Code.JOB_REMOVED_WHILE_STARTING,
    }
)
ON_PURPOSE = REMOVALS | {
    Code.PAUSED,
    Code.SKIP_NEXT,
    Code.STOPPED,
    Code.WITHDRAWN,
    Code.EDITED,
    Code.OVERLAP,
    Code.REPLACED,
}
"""The causes of intended skips, which a user or a setting requested."""
TIMEOUTS = frozenset({Code.TIMEOUT, Code.SLURM_TIMEOUT})
"""The causes whose text already shows that the run timed out."""
_SKIPS = REMOVALS | {
    Code.MISSED, Code.QUEUE_FULL, Code.CLOCK, Code.PAUSED, Code.PAST, Code.OVERLAP, Code.SUPERSEDED,
    Code.START_DEADLINE, Code.MAX_RUNS, Code.SKIP_NEXT, Code.FUSE, Code.EDITED, Code.INVALID, Code.DEPENDENCY,
    Code.DEPENDENCY_TIMEOUT, Code.AFTER, Code.WITHDRAWN, Code.STOPPED, Code.REPLACED,
}  # fmt: skip
"""The causes of skips that the metrics count separately."""


class Reason(str):
    """The text of a reason, with its `code` and `params`.

    A parameter is a JSON value or another reason. `no_retry` is the reason why no other attempt followed. `before` is
    the end that triggered the failover. `released_by` and `living` are facts about a lost run that a user released.
    """

    __slots__ = ("code", "params")

    code: Code
    params: Mapping[str, Any]

    def __new__(cls, code: Code, **params: Any) -> Reason:
        """Return the reason. Raises KeyError if a parameter of the code is missing."""
        return _made(words(code, params), code, params)

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the code and the parameters in copies and pickles."""
        return _made, (str(self), self.code, self.params)

    def is_same(self, other: Reason | None) -> bool:
        """Return whether another reason has the same code and text."""
        return other is not None and self == other and self.code is other.code


def _made(text: str, code: Code, params: Mapping[str, Any]) -> Reason:
    made = str.__new__(Reason, text)
    made.code, made.params = code, params
    return made


def words(code: Code, params: Mapping[str, Any]) -> str:
    """Return the text for a code and its parameters. Raises KeyError if a parameter of the code is missing."""
    if not params:
        return code.text.format_map(params) if "{" in code.text else code.text
    text = code.text.format_map({name: _text_of(name, value) for name, value in params.items()})
    if "released_by" in params:
        text = f"{text}{_RELEASED}{params['released_by']}{_ALTHOUGH}{params['living']}"
    if "before" in params and code is not Code.BY_FAILOVER:
        text = f"{_FAILOVER}{text}{_BEFORE}{params['before']}"
    return f"{text}{_NO_RETRY}{params['no_retry']}" if "no_retry" in params else text


_NO_RETRY = "; no retry: "
_FAILOVER, _BEFORE = "the failover: ", "; before it: "
_RELEASED, _ALTHOUGH = "; released by ", ", although "
_ANY: tuple[str, Callable[[str], Any]] = (".*?", str)
_FORMS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "exit_code": ("[0-9]{1,10}", int),
    "signal": ("[0-9]{1,3}", int),
    "seconds": ("[0-9.e+]{1,30}", float),
    "core_dumped": ("(?:, core dumped)?", bool),
}
"""Parameter → pattern of its text, and parser of its value. Parameters not listed here are strings."""


def _text_of(name: str, value: Any) -> str:
    if name == "seconds":
        return f"{value:g}"
    if name == "core_dumped":
        return ", core dumped" if value else ""
    return str(value)


def more(reason: Reason, **params: Any) -> Reason:
    """Return the reason with more parameters."""
    return Reason(reason.code, **{**reason.params, **params})


# reasons in records


def fields(reason: Reason | None) -> dict[str, Any]:
    """Return the record fields for a reason."""
    if reason is None:
        return {"reason": None, "reason_code": None, "reason_params": {}}
    return {"reason": str(reason), "reason_code": reason.code.value, "reason_params": _plain(reason.params)}


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in params.items()}


def _plain_value(value: Any) -> Any:
    return {"code": value.code.value, "params": _plain(value.params)} if isinstance(value, Reason) else value


def of_record(told: Mapping[str, Any]) -> Reason | None:
    """Return the reason in a record or an attempt, or None if it has no reason. Another version may have written it.

    If code and text differ, the text counts, because an older version copies a code that it does not recognize.
    """
    text = told.get("reason")
    if not isinstance(text, str):
        return None
    found = _revived(told.get("reason_code"), told.get("reason_params"))
    if found is None or found == text:
        return parse(text) if found is None else found
    parsed = parse(text)
    return _made(text, found.code, found.params) if parsed.code is Code.OTHER else parsed


def _revived(code: Any, params: Any) -> Reason | None:
    """Return the reason with this code and these parameters, or None if this version does not support it."""
    try:
        return Reason(Code(code), **{name: _revived_value(value) for name, value in params.items()})
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None


def _revived_value(value: Any) -> Any:
    return _revived(value.get("code"), value.get("params")) if isinstance(value, dict) else value


# texts without a code


def of(text: str) -> Reason:
    """Return the reason with this text; a Reason is returned unchanged."""
    return text if isinstance(text, Reason) else parse(text)


def parse(text: str) -> Reason:
    """Return the reason with this text. Its code is `other` if no code matches."""
    end, found, why = text.rpartition(_NO_RETRY)
    reason = more(_parse_end(end), no_retry=_parse_cause(why)) if found else _parse_end(text)
    return reason if reason == text else Reason(Code.OTHER, text=str(text))


def _parse_end(text: str) -> Reason:
    """Parse the reason for an end. The text may include additions about a failover or a user."""
    if text.startswith(_FAILOVER) and _BEFORE in text:
        end, _, before = text.removeprefix(_FAILOVER).rpartition(_BEFORE)
        return more(_parse_cause(end), before=_parse_cause(before))
    end, found, added = text.partition(_RELEASED)
    if found and _ALTHOUGH in added:
        by, _, living = added.partition(_ALTHOUGH)
        return more(_parse_cause(end), released_by=by, living=living)
    return _parse_cause(text)


def _parse_cause(text: str) -> Reason:
    if (code := _plain_codes.get(text)) is not None:
        return Reason(code)
    found = (_matched(code, text) for code, prefix in _prefixes.items() if text.startswith(prefix))
    return next(filter(None, found), None) or Reason(Code.OTHER, text=text)


def _matched(code: Code, text: str) -> Reason | None:
    """Return the reason with this code and this text, or None if they do not match."""
    if code not in _patterns:  # compiled at the first use, because few processes parse texts
        _patterns[code] = re.compile(_pattern(code.text), re.DOTALL | re.ASCII)
    found = _patterns[code].match(text)
    if found is None:
        return None
    params: dict[str, Any] = {name: _FORMS.get(name, _ANY)[1](value) for name, value in found.groupdict().items()}
    if "before" not in params:
        return Reason(code, **params)
    if params["before"].startswith(_prefixes[Code.BY_FAILOVER]):  # a failover never follows a failover
        return None
    return Reason(code, **{**params, "before": _parse_cause(params["before"])})


def _pattern(template: str) -> str:
    """Return the pattern that matches a template's texts.

    Each parameter ends where the template's next words first occur. The groups are atomic, so a match takes linear
    time.
    """
    head, *rest = re.split(r"\{(\w+)\}", template)
    pattern, group = re.escape(head), ""
    for number in range(0, len(rest), 2):
        name, literal = rest[number : number + 2]
        group += f"(?P<{name}>{_FORMS.get(name, _ANY)[0]}){re.escape(literal)}"
        if literal and number + 2 < len(rest):
            pattern, group = f"{pattern}(?>{group})", ""
    return rf"{pattern}(?>{group}\Z)"


_patterns: dict[Code, re.Pattern[str]] = {}
_plain_codes = {code.text: code for code in reversed(Code) if "{" not in code.text}
_prefixes = {code: code.text.partition("{")[0] for code in Code if "{" in code.text and code is not Code.OTHER}


# labels for programs


def label(reason: Reason) -> str:
    """Return the label of a skip in the metrics. Some causes share a label. Fleet causes have the label ``other``."""
    if reason.code in REMOVALS:
        return Code.JOB_REMOVED.value
    return reason.code.value if reason.code in _SKIPS else Code.OTHER.value


# waits, as in a record's `waited_for` and `waits`


def reserved_for(run: str) -> str:
    """Return the text about claims that are reserved for another run."""
    return f"what is kept for {run}"


def reserver(lacked: str) -> str | None:
    """Return the run that the missing claims are reserved for, or None if they are not reserved."""
    return lacked.removeprefix(_RESERVED) if lacked.startswith(_RESERVED) else None


def wait_for_dependency(job: str) -> str:
    """Return the text for a wait for a dependency."""
    return f"dependency {job}"


def awaited_dependency(wait: str) -> str | None:
    """Return the job that a wait is for, or None if the wait is not for a dependency."""
    return wait.removeprefix(_DEPENDENCY) if wait.startswith(_DEPENDENCY) else None


_RESERVED, _DEPENDENCY = reserved_for(""), wait_for_dependency("")
