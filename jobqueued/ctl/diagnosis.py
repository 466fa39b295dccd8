"""Findings: what jobqueuectl doctor says, each a check with its verdict."""

from __future__ import annotations

from jobqueued.child.tuples import NamedTuple

OK, WARNING, ERROR = "ok", "warning", "error"
"""The verdicts: all is well; something does not work, works in another way, or not after a bad day; it fails now."""


class Finding(NamedTuple):
    """A check: its subject, its verdict, the fact behind it with what follows from it, and the remedy."""

    what: str
    verdict: str
    seen: str
    remedy: str = ""
