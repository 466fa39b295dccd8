"""What has to be looked at again at a certain time: by the wall clock, or after a duration."""

from __future__ import annotations

from heapq import heappop, heappush

from jobqueued.model import Now, RunId


class Timers:
    """Runs and jobs (by id) to look at.  A timer that is not needed any more is let fire: who looks finds nothing."""

    def __init__(self) -> None:
        self._wall: list[tuple[int, str | RunId]] = []
        self._mono: list[tuple[int, str | RunId]] = []

    def at(self, wall: int, whom: str | RunId) -> None:
        """Look at it at this instant of the wall clock."""
        heappush(self._wall, (wall, whom))

    def after(self, mono: int, whom: str | RunId) -> None:
        """Look at it at this instant of the monotonic clock."""
        heappush(self._mono, (mono, whom))

    def due(self, now: Now) -> list[str | RunId]:
        """Those to be looked at now, each once, by their time."""
        found: dict[str | RunId, None] = {}
        for heap, time in ((self._wall, now.wall), (self._mono, now.mono)):
            while heap and heap[0][0] <= time:
                found[heappop(heap)[1]] = None
        return list(found)

    def soonest(self, now: Now) -> int | None:
        """The next of these times, as an instant of the wall clock; None: there is none."""
        times = [self._wall[0][0]] if self._wall else []
        times += [now.wall + max(0, self._mono[0][0] - now.mono)] if self._mono else []
        return min(times, default=None)
