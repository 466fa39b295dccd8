"""Lost attempts: their supervisor is gone, and they are over once nothing of them lives.

What is certainly an attempt's own (kin.py) is killed, again and again.  What only may be its own is left alone, and the
run keeps its claims until that has ended, or a person says that it is none of its (`jobqueuectl stop --lost RUN`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from jobqueued.child import process
from jobqueued.events import AttemptOver, Event, RunLingers
from jobqueued.model import SECOND, Now, RunId
from jobqueued.runs import kin
from jobqueued.runs.kin import Kin, Process, Processes, named
from jobqueued.runs.recovery import Dead, Recovery
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.source import Source

_PATIENCE = 2 * SECOND
"""The time that the kernel is given to take away what was killed, before it is said that something lives."""
_FIRST_PAUSE, _FIRST_LONG_PAUSE, _LONGEST_PAUSE = SECOND // 50, SECOND, 60 * SECOND
_WATCHED = 64
"""The most processes of one attempt whose end wakes us; a deadline brings the next look anyway."""


@dataclass(slots=True)
class _Lost:
    """One of them.  `since` and `look_at` on CLOCK_MONOTONIC; `watched`: descriptors of processes that were seen;
    `living`: the words for what lives, "" as long as that was not said.
    """

    dead: Dead
    since: int
    look_at: int = 0
    pause: int = _FIRST_PAUSE
    living: str = ""
    watched: set[int] = field(default_factory=set)

    def told(self, name: Name) -> str:
        """All that is said of it."""
        return f"{self.dead.reason}, and {self.living}; if nothing of it lives: jobqueuectl stop --lost {name.run}"


class LostAttempts(Source):
    """Those of which something lives, or may live."""

    def __init__(self, marks: RunDirectory) -> None:
        self._marks = marks
        self._lost: dict[Name, _Lost] = {}

    def take(self, recovery: Recovery) -> None:
        """Have those looked at that are dead."""
        for name, dead in recovery.dead.items():
            self._lost.setdefault(name, _Lost(dead, time.monotonic_ns())).look_at = 0

    def give_up(self, run: RunId, asked_by: str) -> AttemptOver | None:
        """Let go of a run, for a person who says that nothing of it lives: its end.  None: it is not one of these."""
        name = next((name for name, lost in self._lost.items() if name.run == run and lost.living), None)
        if name is None:
            return None
        lost = self._forget(name)
        return self._marks.lost(name, f"{lost.dead.reason}; released by {asked_by}, although {lost.living}")

    @property
    def troubles(self) -> list[str]:
        """Give what was said of each, for people."""
        return [
            f"{name.run} keeps its claims: {it.told(name)}"
            for name, it in self._lost.items()
            if it.living and not it.dead.is_leftover
        ]

    # as a source

    def descriptors(self) -> dict[int, int]:
        """One of each process that is watched, readable once that has ended."""
        return {descriptor: select.POLLIN for lost in self._lost.values() for descriptor in lost.watched}

    @property
    def deadline(self) -> int | None:
        """The time of the next look."""
        return min((lost.look_at for lost in self._lost.values()), default=None)

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Look once all that were seen have ended."""
        for lost in self._lost.values():
            if descriptor in lost.watched:
                lost.watched.remove(descriptor)
                os.close(descriptor)
                if not lost.watched:
                    lost.look_at = 0
        return ()

    def turn(self, now: Now) -> list[Event]:
        """Look."""
        return list(self.look())

    # looking

    def look(self) -> Iterator[Event]:
        """Look once for all whose time has come; RunLost for each of which nothing is left."""
        now = time.monotonic_ns()
        due = {name: lost for name, lost in self._lost.items() if lost.look_at <= now}
        if due:
            try:
                yield from self._look(due, kin.look(min(lost.dead.clues.since for lost in due.values())))
            except OSError as error:
                for name in due:
                    if name in self._lost and self._lost[name].look_at <= now:
                        yield from self._say(name, f"what lives of it can't be told ({error.strerror})")

    def _look(self, due: dict[Name, _Lost], processes: Processes) -> Iterator[Event]:
        for name, lost in due.items():
            found = processes.kin(lost.dead.clues)
            self._watch(lost, found)
            if not (found.certain or (found.uncertain and not lost.dead.is_leftover)):
                self._forget(name)
                yield self._marks.lost(name, lost.dead.reason)
            elif found.certain and time.monotonic_ns() < lost.since + _PATIENCE:
                lost.pause *= 2
                lost.look_at = time.monotonic_ns() + lost.pause
            else:
                yield from self._say(name, _living(found))

    def _say(self, name: Name, living: str) -> Iterator[Event]:
        """Say what lives, unless that was said, and look again after a pause that grows to a minute."""
        lost = self._lost[name]
        lost.pause = min(max(2 * lost.pause, _FIRST_LONG_PAUSE), _LONGEST_PAUSE)
        lost.look_at = time.monotonic_ns() + lost.pause
        if living != lost.living:
            lost.living = living
            yield RunLingers(*name, lost.told(name))

    def _watch(self, lost: _Lost, found: Kin) -> None:
        """Kill what is certain, and watch what is there."""
        _close(lost)
        own = {each.pid for each in found.certain}
        for each in (*found.certain, *found.uncertain):
            descriptor = _held(each)
            if descriptor is None:
                continue
            if each.pid in own:
                with contextlib.suppress(OSError):  # EPERM: it has become another user's
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if len(lost.watched) < _WATCHED:
                lost.watched.add(descriptor)
            else:
                os.close(descriptor)

    def _forget(self, name: Name) -> _Lost:
        lost = self._lost.pop(name)
        _close(lost)
        return lost


def _close(lost: _Lost) -> None:
    for descriptor in lost.watched:
        os.close(descriptor)
    lost.watched = set()


def _living(found: Kin) -> str:
    words = [f"{named(found.certain)} can't be killed"] if found.certain else []
    words += [f"{named(found.uncertain)} may be its own"] if found.uncertain else []
    return ", and ".join(words)


def _held(it: Process) -> int | None:
    """A descriptor of this process; None: it has ended, its number may be another's, or there is no descriptor left."""
    try:
        descriptor = os.pidfd_open(it.pid)
    except OSError:
        return None
    if process.birth(it.pid) != it.birth:
        os.close(descriptor)
        return None
    return descriptor
