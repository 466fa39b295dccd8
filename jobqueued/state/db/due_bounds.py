"""Limits for the history of due times, and the choice of changes to delete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from jobqueued.model.saved import DueChange

CHANGES_OF_A_FILE, BYTES_OF_A_FILE, CHANGES, BYTES = 750, 3 << 20, 19_750, 15 << 20
"""Limits that a check enforces: changes per file, bytes of text per file, changes in total, bytes of text in total."""
DROPS_EACH, _CHANGES_A_BYTE = 250, 250 / (1 << 20)
"""Number of new changes between two checks of up to 50 ms each, and the number of changes that a byte of text counts
as.
"""

SIZES = """
SELECT id, CAST(kind AS BLOB), CAST(name AS BLOB), length(text) FROM due_change ORDER BY id DESC
"""
"""The query casts to BLOB, because SQLite could not return damaged text."""
DROP = "DELETE FROM due_change WHERE id = ?"


def weight(change: DueChange) -> float:
    """Return the weight of a change; a check follows when the weights of new changes add up to 1."""
    return (1 + _CHANGES_A_BYTE * len(change.text or b"")) / DROPS_EACH


def too_many(sizes: Iterable[tuple[int, bytes, bytes, int | None]]) -> list[tuple[int]]:
    """Return the IDs of the changes to delete: the oldest changes, but never the current text of a file.

    `sizes`: all changes (ID, kind, name, bytes of the text or None), newest first.
    """
    counts, totals = Counter[tuple[bytes, bytes]](), Counter[tuple[bytes, bytes]]()
    count = total = 0
    gone = list[tuple[int]]()
    for number, kind, name, size in sizes:
        file = kind, name
        counts[file] += 1
        totals[file] += size or 0
        count, total = count + 1, total + (size or 0)
        is_beyond = counts[file] > CHANGES_OF_A_FILE or totals[file] > BYTES_OF_A_FILE
        is_beyond = is_beyond or count > CHANGES or total > BYTES
        if is_beyond and (counts[file] > 1 or size is None):
            gone.append((number,))
    return gone
