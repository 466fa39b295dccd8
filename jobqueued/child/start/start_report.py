"""The report of a new process before it executes the command: steps that may block, warnings, and the failed step."""

from __future__ import annotations

import errno
import os
import select
import time

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.start.identity import StartFailed

_FAILED, _AT = "\0", "\1"


class NoAnswer(StartFailed):
    """A step took too long, for example because of a file system."""


class StartReport(NamedTuple):
    """The child's warnings, and the reason why it did not reach its exec, or None if it did."""

    warnings: list[str]
    trouble: StartFailed | None


def read(descriptor: int, seconds: float) -> StartReport:
    """Read a child's report for at most `seconds`. If the child takes longer, its last reported step is the error."""
    told, is_whole, until = b"", False, time.monotonic() + seconds
    while not is_whole and select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
        more = os.read(descriptor, select.PIPE_BUF)
        told, is_whole = told + more, not more
    text, has_failed, rest = told.decode(errors="replace").partition(_FAILED)
    lines = text.split("\n")[:-1]
    trouble: StartFailed | None = None
    if not is_whole:
        steps = [line.removeprefix(_AT).partition(" ") for line in lines if line.startswith(_AT)]
        step, _, detail = steps[-1] if steps else ("start", "", "")
        trouble = NoAnswer(step, errno.ETIMEDOUT, f"{f'{detail}: ' if detail else ''}no answer in {seconds:g} s")
    elif has_failed:
        number, step, detail = rest.split("\n", 2)
        trouble = StartFailed(step, int(number), detail)
    return StartReport([line for line in lines if not line.startswith(_AT)], trouble)


def warn(descriptor: int, text: str) -> None:
    """Report a problem that does not prevent the start."""
    _write(descriptor, f"{text}\n")


def begin(descriptor: int, step: str, detail: str = "") -> None:
    """Report a step that a user's file system may block."""
    _write(descriptor, f"{_AT}{step} {detail}\n")


def fail(descriptor: int, number: int | None, step: str, detail: str) -> None:
    """Report the failed step."""
    _write(descriptor, f"{_FAILED}{number}\n{step}\n{detail}")


def _write(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode(errors="replace"))
