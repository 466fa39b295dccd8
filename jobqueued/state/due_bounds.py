"""Bounds of the history of what was due: how much of it is kept, and what goes when that is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from jobqueued.saved import DueChange

CHANGES_OF_A_FILE, BYTES_OF_A_FILE, CHANGES, BYTES = 750, 3 << 20, 19_750, 15 << 20
"""So many changes of one file and of all, and so many bytes of their texts, stay when the oldest go."""
DROPS_EACH, _CHANGES_A_BYTE = 250, 250 / (1 << 20)
"""So many changes may come before all are looked at, which takes up to 50 ms; a MiB of texts counts as much."""

SIZES = """
SELECT id, CAST(kind AS BLOB), CAST(name AS BLOB), length(text) FROM due_change ORDER BY id DESC
"""
"""Blobs, as a text that is damaged could not be read."""
DROP = "DELETE FROM due_change WHERE id = ?"


def weight(change: DueChange) -> float:
    """The part of what may come before the oldest changes go."""
    return (1 + _CHANGES_A_BYTE * len(change.text or b"")) / DROPS_EACH


def too_many(sizes: Iterable[tuple[int, bytes, bytes, int | None]]) -> list[tuple[int]]:
    """The numbers of the changes that go, of all (number, kind, name, bytes of the text if there is one), newest first.

    The oldest go; the text that a file has now stays.
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
