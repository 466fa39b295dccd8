"""A verdict."""

from __future__ import annotations

from typing import NamedTuple


class Violation(NamedTuple):
    """A broken promise: its class, what it is, the run (or job), and when."""

    verdict: str
    text: str
    run: str
    at: int
    others: tuple[str, ...] = ()
    """Other runs that have to do with it."""
