"""A finding of jobqueuectl doctor: a check and its verdict."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple

OK, WARNING, ERROR = "ok", "warning", "error"
"""Verdicts: healthy; a feature fails, works in another way or will fail after a reboot or power loss; a failure now."""


class HealthFinding(NamedTuple):
    """A check: its subject, its verdict, the observed fact with its consequence, and the remedy."""

    what: str
    verdict: str
    seen: str
    remedy: str = ""
