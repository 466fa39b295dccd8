"""Functions that format values for people, as far as the small programs need them. `jobqueued.base.text` has more."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """Escape characters that could move a cursor, or forge or reorder a line, except the characters in `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def last_line(data: bytes) -> str:
    """Return the last line that is not blank, such as a failed program's error, or ""."""
    lines = data.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 job``, ``2 jobs``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def size(count: float) -> str:
    """Format bytes in powers of 1024: ``512 B``, ``1.5 MiB``, ``100.3 MiB``."""
    if count < 1024:
        return f"{count:.0f} B"
    exponent = min((int(count).bit_length() - 1) // 10, 8)
    return f"{count / 1024**exponent:.4g} {'KMGTPEZY'[exponent - 1]}iB"
