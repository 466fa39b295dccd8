"""Telemetry hooks: commands that get the record of a live or ended run and may add to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.hooks.telemetry import MOMENTS

_SECOND = 1_000_000_000


class TelemetryHook(NamedTuple):
    """A command that gets the record of a run at these moments of each attempt and may add to the record.

    `every` is the time (ns) between two samples, `timeout` the time limit (ns) of a call. In programs that use the
    library, `command` may be a function (docs/library.md).
    """

    command: str | tuple[str, ...] | Callable[[Record], Mapping[str, Any] | None]
    at: tuple[str, ...] = MOMENTS
    every: int = 60 * _SECOND
    timeout: int = 10 * _SECOND
