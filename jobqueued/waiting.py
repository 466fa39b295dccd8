"""Who goes next: the queue of runs that wait for admission, highest priority first, then by due time, then arrival."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from jobqueued.model import RunId

_Key = tuple[int, int, int, RunId]


class Waiting:
    """A heap; a run that left or changed its priority leaves a dead entry behind, dropped when it comes to the top."""

    def __init__(self) -> None:
        self._heap: list[_Key] = []
        self._keys: dict[RunId, _Key] = {}

    def add(self, run: RunId, priority: int, due: int, arrival: int) -> None:
        """Queue a run, or give a queued one its new place."""
        key = self._keys[run] = (-priority, due, arrival, run)
        heappush(self._heap, key)

    def remove(self, run: RunId) -> None:
        """Take a run out; one that isn't in is fine."""
        self._keys.pop(run, None)

    def first(self) -> RunId | None:
        """The run whose turn it is."""
        heap = self._heap
        while heap and self._keys.get(heap[0][3]) != heap[0]:
            heappop(heap)
        return heap[0][3] if heap else None

    def __iter__(self) -> Iterator[RunId]:
        """All of them in their order."""
        return (key[3] for key in sorted(self._keys.values()))

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, run: RunId) -> bool:
        return run in self._keys
