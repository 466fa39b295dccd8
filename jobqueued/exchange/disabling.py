"""Lines of a table that are switched off, as their jobs are elsewhere now; all else stays, byte by byte."""

from __future__ import annotations

from collections.abc import Container

from jobqueued.crontabs.options import MOVED

MARK = MOVED.encode()
"""The begin of a line that is switched off; `sed` takes it away again."""


def disabled(data: bytes, lines: Container[int]) -> bytes:
    """The text with these lines as comments; they count from 1."""
    found = data.split(b"\n")
    return b"\n".join(MARK + line if number in lines else line for number, line in enumerate(found, 1))
