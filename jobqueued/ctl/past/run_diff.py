"""The differences between two runs: in their records, the definitions of their jobs, and their outputs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.ctl.past.run_stats import cpu_of, took_of

OUTPUT_BYTES, OUTPUT_LINES = 256 << 10, 2000
"""Maximum number of bytes and of lines to compare at the end of each output. The time grows with the square of the
number of lines.
"""
_PLAIN = (
    "job", "command", "user", "host", "priority", "tags", "metadata", "trigger", "asked_by", "state", "reason",
    "exit_code", "signal", "waited_for", "enforced", "warnings",
)  # fmt: skip
_FIGURES = ("memory_peak", "memory_mean", "tasks_peak", "io_read", "io_write", "throttled")
_WORTH = 0.1
"""Maximum relative difference between figures that count as equal."""
_OF_A_DEFINITION = frozenset(("id", "command", "user", "priority", "tags", "metadata"))
"""Fields that both definitions and records have."""


class Difference(NamedTuple):
    """A difference between two runs; a value is None if missing or unknown."""

    what: str
    first: Any
    second: Any


def differences(first: Record, second: Record) -> list[Difference]:
    """Return the fields that differ between two records, and figures that differ by more than a tenth."""
    pairs = [Difference(name, first.get(name), second.get(name)) for name in _PLAIN]
    found = [pair for pair in pairs if _whole(pair.first) != _whole(pair.second)]
    attempts = Difference("attempts", len(first["attempts"]), len(second["attempts"]))
    found += [attempts] if attempts.first != attempts.second else []
    figures = [
        Difference("waited", _waited(first), _waited(second)),
        Difference("took", took_of(first), took_of(second)),
        Difference("cpu", cpu_of(first), cpu_of(second)),
        *(Difference(name, first.get(name), second.get(name)) for name in _FIGURES),
        Difference("output_bytes", first["output"]["bytes"], second["output"]["bytes"]),
    ]
    return [*found, *(figure for figure in figures if _differ(figure.first, figure.second))]


def _whole(value: Any) -> Any:
    """Return the value, or None for an empty value."""
    return value or None if isinstance(value, str | list | dict) else value


def _waited(record: Record) -> float | None:
    if not record["started"]:
        return None
    queued, started = map(datetime.fromisoformat, (record["queued"], record["started"]))
    return max(0.0, (started - queued).total_seconds())


def _differ(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is not second
    return abs(first - second) > _WORTH * max(first, second)


def definition_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """Return the keys that differ between two definitions, except fields of records. Each variable is compared
    separately.
    """
    found = [Difference(name, first.get(name), second.get(name)) for name in first if name not in _OF_A_DEFINITION]
    return [
        each
        for it in found
        if _plain(it.first) != _plain(it.second)
        for each in (_variables(it) if it.what == "environment" else (it,))
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _variables(environment: Difference) -> Iterator[Difference]:
    before, now = environment.first or {}, environment.second or {}
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield Difference(f"environment {name}", before.get(name), now.get(name))


def output_lines(data: bytes) -> list[str]:
    """Return the last lines of an output, for the comparison."""
    return data.decode(errors="backslashreplace").split("\n")[-OUTPUT_LINES:]


def output_difference(first: Sequence[str], second: Sequence[str], names: tuple[str, str]) -> list[str]:
    """Return a unified diff of two outputs, or [] if they are equal."""
    return list(difflib.unified_diff(first, second, *names, lineterm=""))
