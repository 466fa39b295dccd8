"""The sleep between two turns: poll(2) on the descriptors of all sources, with one timer for the earliest deadline."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, methodcaller

from jobqueued.host.wall_timer import WallTimer
from jobqueued.model.events import ClockStepped, Event, Slept, Woke
from jobqueued.model.job import Now
from jobqueued.model.source import Source, soonest

_has_more, _deadline, _descriptors = attrgetter("has_more"), attrgetter("deadline"), methodcaller("descriptors")


def read_clocks() -> Now:
    """Return the current time of both clocks."""
    return Now(time.time_ns(), time.monotonic_ns())


class Loop:
    """The collection of events.  `next_wakeup` returns the wall instant of the scheduler's next check."""

    def __init__(self, sources: Sequence[Source], next_wakeup: Callable[[Now], int | None]) -> None:
        """Collect events from `sources`, in this order in each turn."""
        self._sources, self._next_wakeup = sources, next_wakeup
        self._polled, self._timed, self._eager = (
            [source for source in sources if getattr(type(source), name) is not getattr(Source, name)]
            for name in ("descriptors", "deadline", "has_more")
        )
        """Three lists: the sources that override `descriptors`, `deadline` and `has_more`.

        Other sources need no call.
        """
        self._turning = [source for source in sources if source in self._timed or source in self._eager]
        self._timer = WallTimer()
        self._interests = list[Mapping[int, int]]()
        self._poll, self._owners = self._register()
        self.woke = time.monotonic_ns()
        """The end of the last sleep (CLOCK_MONOTONIC, ns)."""

    def start(self) -> None:
        """Record that the first turn starts now."""
        self.woke = time.monotonic_ns()

    @property
    def troubles(self) -> list[str]:
        """The lasting problems of all sources."""
        return [trouble for source in self._sources for trouble in source.troubles]

    def clock_changes(self) -> list[Event]:
        """Return events about clock steps and host sleep since the last call.

        The scheduler must get these events before all others. Otherwise it would use the new time for occurrences from
        before the step.
        """
        step, slept = self._timer.step(), self._timer.slept()
        changes: list[Event] = [Slept(slept)] if slept else []
        return [*changes, ClockStepped(step)] if step else changes

    def wait(self, happened: list[Event]) -> None:
        """Sleep until a source has an event, and append the events to `happened`.

        Don't sleep if `happened` has events already.
        """
        at_once = bool(happened) or any(map(_has_more, self._eager)) or not self._can_sleep()
        interests = list(map(_descriptors, self._polled))
        if interests != self._interests:
            self._interests = interests
            self._poll, self._owners = self._register()
        ready = self._poll.poll(0 if at_once else None)
        now = read_clocks()
        self.woke = now.mono
        for descriptor, _bits in ready:
            if descriptor == self._timer.fileno():
                self._timer.rang()
            else:
                happened.extend(self._owners[descriptor].ready(descriptor, now))
        for source in self._turning:
            if source.has_more or _is_over(source.deadline, now):
                happened.extend(source.turn(now))
        now = read_clocks()
        wake = self._next_wakeup(now)
        if wake is not None and wake <= now.wall:
            happened.append(Woke())

    def _can_sleep(self) -> bool:
        """Set the timer. Return False if the loop must not sleep, because an event is already due or the clock was just
        set.
        """
        now = read_clocks()
        deadline, wake = soonest(map(_deadline, self._timed)), self._next_wakeup(now)
        at = soonest((None if deadline is None else now.wall + max(0, deadline - now.mono), wake))
        return at is None or (at > now.wall and self._timer.set(at))

    def _register(self) -> tuple[select.poll, dict[int, Source]]:
        """Return a poll object with all descriptors, and descriptor → source."""
        poll, owners = select.poll(), dict[int, Source]()
        poll.register(self._timer.fileno(), select.POLLIN)
        for source, interest in zip(self._polled, self._interests, strict=False):
            for descriptor, bits in interest.items():
                poll.register(descriptor, bits)
                owners[descriptor] = source
        return poll, owners


def _is_over(deadline: int | None, now: Now) -> bool:
    return deadline is not None and deadline <= now.mono
