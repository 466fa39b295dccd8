"""Telemetry hooks as functions, for programs that use jobqueued as a library; supervisors call the hooks that are
commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.json_values import compact
from jobqueued.child.contract.text import printable
from jobqueued.child.hooks.telemetry import TelemetryRefused, failed, merged, said
from jobqueued.model.job import Job
from jobqueued.model.telemetry import TelemetryHook

_LONGEST = 60
"""Maximum length (characters) of a hook name that is derived from the hook's command."""


def tell_hooks(job: Job, moment: str, record: Record) -> Record:
    """Call the job's functions for a moment of its run (start, sample, end); return the record with their results.

    Each function gets its own copy of the record, with the results of earlier functions. A function returns the values
    to merge, or None (docs/library.md). A function that raises an exception, or returns values that a record can't
    hold, gets one entry in the warnings.
    """
    found: Record = {**record, "telemetry": record.get("telemetry", {}), "warnings": [*record.get("warnings", ())]}
    for hook in job.telemetry_hooks:
        if moment not in hook.at or not callable(hook.command):
            continue
        try:
            update = hook.command(_plain(found))
            found["telemetry"] = merged(found["telemetry"], said(compact({**(update or {})}).encode()))
        except TelemetryRefused as refusal:
            _note(found, job, hook, moment, str(refusal))
        except Exception as error:  # any error: the run continues
            _note(found, job, hook, moment, f"{type(error).__name__}: {error}")
    return found


def name_of(job: Job, hook: TelemetryHook) -> str:
    """Return a hook's name for people: its function, or the start of its command."""
    if callable(hook.command):
        return getattr(hook.command, "__qualname__", type(hook.command).__name__)
    told = job.redacted(hook.command) or ""
    words = printable(told if isinstance(told, str) else " ".join(told))
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"


def _plain(value: Any) -> Any:
    """Return a deep copy of a record with plain values, so that a function's changes have no effect."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _note(record: Record, job: Job, hook: TelemetryHook, moment: str, why: str) -> None:
    name = name_of(job, hook)
    if not any(warning.startswith(failed(name)) for warning in record["warnings"]):
        record["warnings"].append(failed(name, moment, why))
