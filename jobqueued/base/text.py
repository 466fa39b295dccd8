"""Values as text for people, in the same form for all programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jobqueued.child.contract.reasons import TIMEOUTS, Reason
from jobqueued.child.contract.text import counted, printable, size

__all__ = ["counted", "duration", "printable", "reaching", "settled_times", "size", "slurm_job"]

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration(seconds: float, parts: int = 2) -> str:
    """Format a duration (s) with at most `parts` units, and omit units that are 0: ``250 ms``, ``4.21 s``, ``2 h 10
    min``, ``1 d``.
    """
    if 0 < seconds and (milliseconds := round(seconds * 1000)) < 1000:
        return f"{milliseconds} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    counts, rest = list[tuple[int, str]](), int(seconds)
    for unit, length in _UNITS:
        count, rest = divmod(rest, length)
        if count or counts:
            counts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in counts[:parts] if count)


def ended(state: str, took: str, reason: Reason | None) -> str:
    """Describe the end of a run: ``failed after 3.2 s: exit code 1``. A timeout is not repeated as the reason."""
    words = state + (f" after {took}" if took else "")
    return words if not reason or (state == "timed_out" and reason.code in TIMEOUTS) else f"{words}: {reason}"


def reaching(text: str, ctl: str) -> str:
    """Replace `jobqueuectl` in a message's remedies (``see: jobqueuectl list``) by `ctl`, the command that reaches the
    daemon.
    """
    return re.sub(r"(?<=[:,] )jobqueuectl (?=[a-z])", lambda _: f"{ctl} ", text)


def settled_times(until: str) -> str:
    """Return the reason why fixed times up to an instant (as text) are not due, though the clock shows them again."""
    return f"fixed times until {until} were handled before the clock was set back"


def slurm_job(job: Mapping[str, Any]) -> str:
    """Describe a run's Slurm job: ``job 42 on n1 (RUNNING)``, ``job 42 (PENDING: Resources)``."""
    where = f" on {job['node']}" if job["node"] else ""
    reason = job.get("reason", "")
    why = f": {reason}" if reason not in ("", "None") else ""
    unheard = f"; {job['unheard']}" if job.get("unheard") else ""
    return printable(f"job {job['job']}{where} ({job['state']}{why}){unheard}")
