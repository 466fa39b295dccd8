"""Disables a table's lines whose jobs are in a job file now; all other bytes remain unchanged."""

from __future__ import annotations

from collections.abc import Container

from jobqueued.crontabs.options import MOVED

MARK = MOVED.encode()
"""Prefix of a disabled line, which sed(1) can easily remove later."""


def disabled(data: bytes, lines: Container[int]) -> bytes:
    """Return a table's text with these lines as comments; line numbers start at 1."""
    found = data.split(b"\n")
    return b"\n".join(MARK + line if number in lines else line for number, line in enumerate(found, 1))
