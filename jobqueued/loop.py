"""The loop's sleep: poll(2) on what all sources wait for, with one timer for the soonest of their deadlines."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence

from jobqueued.events import ClockStepped, Event, Slept, Woke
from jobqueued.host.wall_timer import WallTimer
from jobqueued.model import Now
from jobqueued.source import Source


def read_clocks() -> Now:
    """Both clocks, now."""
    return Now(time.time_ns(), time.monotonic_ns())


class Loop:
    """Gathers what happens.  `next_wakeup` is the scheduler's: the wall instant at which it wants to look again."""

    def __init__(self, sources: Sequence[Source], next_wakeup: Callable[[Now], int | None]) -> None:
        """The order of `sources` is that of their events in a turn."""
        self._sources, self._next_wakeup = sources, next_wakeup
        self._timer = WallTimer()
        self.woke = time.monotonic_ns()
        """The end of the last sleep (CLOCK_MONOTONIC)."""

    @property
    def troubles(self) -> list[str]:
        """Those of all sources."""
        return [trouble for source in self._sources for trouble in source.troubles]

    def clock_changes(self) -> list[Event]:
        """Steps of the clock and sleep of the host since this was asked last.

        They come before all else: what is due must not be judged by the new clock.
        """
        step, slept = self._timer.step(), self._timer.slept()
        changes: list[Event] = [Slept(slept)] if slept else []
        return [*changes, ClockStepped(step)] if step else changes

    def wait(self, happened: list[Event]) -> None:
        """Sleep until a source has something, or not at all if there is something, and add what it has."""
        at_once = bool(happened) or any(source.has_more for source in self._sources) or not self._can_sleep()
        poll, owners = self._interests()
        ready = poll.poll(0 if at_once else None)
        now = read_clocks()
        self.woke = now.mono
        for descriptor, _bits in ready:
            if descriptor == self._timer.fileno():
                self._timer.rang()
            else:
                happened.extend(owners[descriptor].ready(descriptor, now))
        for source in self._sources:
            if source.has_more or _is_over(source.deadline, now):
                happened.extend(source.turn(now))
        now = read_clocks()
        wake = self._next_wakeup(now)
        if wake is not None and wake <= now.wall:
            happened.append(Woke())

    def _can_sleep(self) -> bool:
        """Set the timer; False if there is something to do already, or the clock was set just now."""
        now = read_clocks()
        deadlines = (deadline for source in self._sources if (deadline := source.deadline) is not None)
        times = [now.wall + max(0, deadline - now.mono) for deadline in deadlines]
        wake = self._next_wakeup(now)
        soonest = min([*times, *([] if wake is None else [wake])], default=None)
        return soonest is None or (soonest > now.wall and self._timer.set(soonest))

    def _interests(self) -> tuple[select.poll, dict[int, Source]]:
        """The descriptors to wait for and whose they are; anew each time, as numbers are used again."""
        poll, owners = select.poll(), dict[int, Source]()
        poll.register(self._timer.fileno(), select.POLLIN)
        for source in self._sources:
            for descriptor, bits in source.descriptors().items():
                poll.register(descriptor, bits)
                owners[descriptor] = source
        return poll, owners


def _is_over(deadline: int | None, now: Now) -> bool:
    return deadline is not None and deadline <= now.mono
