"""Values as people read them, as far as the small programs tell any; `jobqueued.text` has them all."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """The text with all that could move a cursor, forge a line or reorder one written as an escape, but for `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def last_line(data: bytes) -> str:
    """The last line that is not blank, as of what a program has said before it failed; "": there is none."""
    lines = data.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def counted(count: int, noun: str) -> str:
    """A number with its noun: ``1 job``, ``2 jobs``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def size(count: float) -> str:
    """Bytes in powers of 1024: ``512 B``, ``1.5 MiB``, ``100.3 MiB``."""
    if count < 1024:
        return f"{count:.0f} B"
    exponent = min((int(count).bit_length() - 1) // 10, 8)
    return f"{count / 1024**exponent:.4g} {'KMGTPEZY'[exponent - 1]}iB"
