"""The findings of jobqueuectl doctor."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple

OK, WARNING, ERROR = "ok", "warning", "error"
"""Verdicts. A warning means that a feature does not work, works differently, or will fail after a reboot or power loss.
"""


class HealthFinding(NamedTuple):
    """The result of a check: subject, verdict, observed fact with its consequence, and remedy."""

    what: str
    verdict: str
    seen: str
    remedy: str = ""
