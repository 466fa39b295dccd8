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
from dataclasses import field

from jobqueued.child import process
from jobqueued.child.documents import SLURM_HELPER
from jobqueued.events import AttemptOver, Event, RunLingers
from jobqueued.model import SECOND, Now, RunId
from jobqueued.nouns import dataclass
from jobqueued.runs import kin
from jobqueued.runs.kin import Kin, Process, Processes, named
from jobqueued.runs.recovery import Dead, Recovery
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.source import Source

_PATIENCE = 2 * SECOND
"""The time that the kernel is given to take away what was killed, before it is said that something lives."""
_FIRST_PAUSE, _FIRST_LONG_PAUSE, _LONGEST_PAUSE = SECOND // 50, SECOND, 60 * SECOND
_IN_THIS_LOOK = 1 << 62
"""Stands for the time of the next look as long as this one goes on, and nothing has happened that it may miss."""
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

    def rest(self) -> None:
        """Have the next look after the pause, or at once if there was news during this one."""
        if self.look_at == _IN_THIS_LOOK:
            self.look_at = time.monotonic_ns() + self.pause

    def told(self, name: Name) -> str:
        """All that is said of it."""
        return f"{self.dead.reason}, and {self.living}; if nothing of it lives: jobqueuectl stop --lost {name.run}"


class LostAttempts(Source):
    """Those of which something lives, or may live."""

    def __init__(self, marks: RunDirectory) -> None:
        self._marks = marks
        self._lost: dict[Name, _Lost] = {}
        self._looking: Iterator[Event | None] | None = None
        """A look that goes on, turn by turn."""

    def take(self, recovery: Recovery) -> None:
        """Have those looked at that are dead."""
        for name, dead in recovery.dead.items():
            self._lost.setdefault(name, _Lost(dead, time.monotonic_ns())).look_at = 0

    def give_up(self, run: RunId, asked_by: str) -> AttemptOver | None:
        """Let go of a run, for a person who says that nothing of it lives: its end.  None: it is not one of these.

        OSError: its marks can't be read now; ask again.
        """
        name = next((name for name, lost in self._lost.items() if name.run == run and lost.living), None)
        if name is None:
            return None
        lost = self._lost[name]
        over = self._marks.lost(name, f"{lost.dead.reason}; released by {asked_by}, although {lost.living}")
        self._forget(name)
        return over

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
        times = (lost.look_at for lost in self._lost.values())
        return min((at for at in times if at != _IN_THIS_LOOK), default=None)

    @property
    def has_more(self) -> bool:
        """True in the middle of a look."""
        return self._looking is not None

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Look once all that were seen have ended."""
        for lost in self._lost.values():
            if descriptor in lost.watched:
                lost.watched.remove(descriptor)
                os.close(descriptor)
                if not lost.watched:
                    lost.look_at, lost.pause = 0, _FIRST_PAUSE
        return ()

    def turn(self, now: Now) -> list[Event]:
        """Go on with a look, or begin one for all whose time has come; RunLost for each of which nothing is left."""
        if self._looking is None:
            due = {name: lost for name, lost in self._lost.items() if lost.look_at <= now.mono}
            self._looking = self._look(due) if due else iter(())
        events: list[Event] = []
        for event in self._looking:
            if event is None:
                return events
            events.append(event)
        self._looking = None
        return events

    # looking

    def _look(self, due: dict[Name, _Lost]) -> Iterator[Event | None]:
        """Look at what is due, and yield None after each slice of that."""
        for lost in due.values():
            lost.look_at = _IN_THIS_LOOK
        try:
            processes = Processes(os.getpid())
            since = min((lost.dead.clues.since for lost in due.values() if lost.dead.clues.since), default=0)
            yield from kin.look(processes, since)
            yield from self._judge(due, processes)
        except OSError as error:
            for name, lost in due.items():
                if self._lost.get(name) is lost and lost.look_at == _IN_THIS_LOOK:
                    yield from self._say(name, f"what lives of it can't be told ({error.strerror})")

    def _judge(self, due: dict[Name, _Lost], processes: Processes) -> Iterator[Event | None]:
        """Say what is left of each; what had nothing alive during a look has nothing afterwards."""
        for count, (name, lost) in enumerate(due.items(), 1):
            if count % kin.SLICE == 0:
                yield None
            if self._lost.get(name) is not lost:
                continue  # somebody has let go of it meanwhile
            found = processes.kin(lost.dead.clues)
            self._watch(lost, found)
            if not (found.certain or (found.uncertain and not lost.dead.is_leftover)):
                over = lost.dead.over(name, self._marks)
                self._forget(name)
                yield over
            elif found.certain and time.monotonic_ns() < lost.since + _PATIENCE:
                lost.pause *= 2
                lost.rest()
            else:
                yield from self._say(name, _living(found, lost.dead))

    def _say(self, name: Name, living: str) -> Iterator[Event]:
        """Say what lives, unless that was said, and look again after a pause that grows to a minute."""
        lost = self._lost[name]
        lost.pause = min(max(2 * lost.pause, _FIRST_LONG_PAUSE), _LONGEST_PAUSE)
        lost.rest()
        if living != lost.living:
            lost.living = living
            yield RunLingers(*name, lost.told(name))

    def _watch(self, lost: _Lost, found: Kin) -> None:
        """Kill what is certain, and watch what is there."""
        _close(lost)
        own = {each.pid for each in found.certain}
        others = [each for each in found.uncertain if each.name not in kin.SMALL_ONES]  # a supervisor has more to do
        for each in (*found.certain, *others):
            descriptor = _held(each)
            if descriptor is None:
                continue
            if each.pid in own:
                with contextlib.suppress(OSError):  # EPERM: it has become another user's
                    signal.pidfd_send_signal(
                        descriptor, signal.SIGTERM if _is_helper(each, lost.dead) else signal.SIGKILL
                    )
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


def _is_helper(it: Process, dead: Dead) -> bool:
    """True of the process that ends its job on Slurm, when it is told to; only then that of nobody is left there."""
    return dead.clues.has_helper and it.name == SLURM_HELPER


def _living(found: Kin, dead: Dead) -> str:
    helpers = [each for each in found.certain if _is_helper(each, dead)]
    others = [each for each in found.certain if each not in helpers]
    words = [f"{named(helpers)} ends its job on Slurm"] if helpers else []
    words += [f"{named(others)} can't be killed"] if others else []
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
