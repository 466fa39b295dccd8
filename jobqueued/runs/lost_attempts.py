"""Lost attempts: an attempt whose supervisor died is over when none of its processes is alive.

The daemon repeatedly kills the processes that certainly belong to an attempt (leftover_processes.py). The daemon does
not touch processes that only possibly belong to the attempt. The run keeps its claims until these processes end, or
until a user declares that they are not the run's (`jobqueuectl stop --lost RUN`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.documents import SLURM_HELPER
from jobqueued.child.contract.reasons import more, of
from jobqueued.child.processes import process
from jobqueued.model.events import AttemptOver, Event, RunLingers
from jobqueued.model.job import Now
from jobqueued.model.run import RunId
from jobqueued.model.source import Source
from jobqueued.runs import leftover_processes
from jobqueued.runs.leftover_processes import FoundProcesses, LeftoverProcess, Processes, named
from jobqueued.runs.recovery import Dead, Recovery
from jobqueued.runs.run_directory import Name, RunDirectory

_LONGEST_WAIT = 2 * SECOND
"""Time (ns) that the kernel gets to remove killed processes before the daemon reports a live process."""
_FIRST_PAUSE, _FIRST_LONG_PAUSE, _LONGEST_PAUSE = SECOND // 50, SECOND, 60 * SECOND
_IN_THIS_LOOK = 1 << 62
"""Value of `look_at` during a check, unless an event has already requested the next check."""
_WATCHED = 64
"""Maximum number of watched processes of one attempt, whose ends wake the daemon. The next timed check finds the ends
of other processes.
"""


@dataclass(slots=True)
class _Lost:
    """One lost attempt, lost at `since`, with its next check at `look_at` (CLOCK_MONOTONIC, ns).

    `watched`: pidfds of live processes. `living`: description of the live processes, or "" if they are not reported
    yet.
    """

    dead: Dead
    since: int
    look_at: int = 0
    pause: int = _FIRST_PAUSE
    living: str = ""
    watched: set[int] = field(default_factory=set)

    def rest(self) -> None:
        """Schedule the next check after the pause, unless an event during this check has already scheduled an earlier
        check.
        """
        if self.look_at == _IN_THIS_LOOK:
            self.look_at = time.monotonic_ns() + self.pause

    def report(self, name: Name) -> str:
        """Return the report for people: the reason, the live processes, and the remedy."""
        return (
            f"{self.dead.reason}, but {self.living}; if no process of the run is left: jobqueuectl"
            f" stop --lost {name.run}"
        )


class LostAttempts(Source):
    """Attempts with processes that are or may be alive."""

    def __init__(self, marks: RunDirectory) -> None:
        self._marks = marks
        self._lost: dict[Name, _Lost] = {}
        self._looking: Iterator[Event | None] | None = None
        """The check in progress, which continues in each turn, or None."""

    def take(self, recovery: Recovery) -> None:
        """Add the dead attempts of a recovery."""
        for name, dead in recovery.dead.items():
            self._lost.setdefault(name, _Lost(dead, time.monotonic_ns())).look_at = 0

    def give_up(self, run: RunId, asked_by: str) -> AttemptOver | None:
        """End a lingering run because a user declares that none of its processes is alive; return the attempt's end.

        Return None if the run does not linger. Raises OSError if the attempt's marks can't be read now.
        """
        name = next((name for name, lost in self._lost.items() if name.run == run and lost.living), None)
        if name is None:
            return None
        lost = self._lost[name]
        reason = more(of(lost.dead.reason), released_by=asked_by, living=lost.living)
        over = self._marks.lost(name, reason)
        self._forget(name)
        return over

    @property
    def troubles(self) -> list[str]:
        """The report on each attempt, for people."""
        return [
            f"{name.run} still holds its locks and resources: {it.report(name)}"
            for name, it in self._lost.items()
            if it.living and not it.dead.is_leftover
        ]

    # as a source

    def descriptors(self) -> dict[int, int]:
        """Return the pidfds of the watched processes; each becomes readable when its process ends."""
        return {descriptor: select.POLLIN for lost in self._lost.values() for descriptor in lost.watched}

    @property
    def deadline(self) -> int | None:
        """The time (monotonic, ns) of the next check, or None."""
        times = (lost.look_at for lost in self._lost.values())
        return min((at for at in times if at != _IN_THIS_LOOK), default=None)

    @property
    def has_more(self) -> bool:
        """Return whether a check is running."""
        return self._looking is not None

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Handle the end of a watched process; schedule a check of its attempt if this was the last watched process."""
        for lost in self._lost.values():
            if descriptor in lost.watched:
                lost.watched.remove(descriptor)
                os.close(descriptor)
                if not lost.watched:
                    lost.look_at, lost.pause = 0, _FIRST_PAUSE
        return ()

    def turn(self, now: Now) -> list[Event]:
        """Continue the check, or start a check of all attempts that are due. Return the events about the checked
        attempts.
        """
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
        """Check the due attempts, and yield None after each slice."""
        for lost in due.values():
            lost.look_at = _IN_THIS_LOOK
        try:
            processes = Processes(os.getpid())
            since = min((lost.dead.clues.since for lost in due.values() if lost.dead.clues.since), default=0)
            yield from leftover_processes.look(processes, since)
            yield from self._judge(due, processes)
        except OSError as error:
            for name, lost in due.items():
                if self._lost.get(name) is lost and lost.look_at == _IN_THIS_LOOK:
                    yield from self._say(name, f"its processes can't be listed ({error.strerror})")

    def _judge(self, due: dict[Name, _Lost], processes: Processes) -> Iterator[Event | None]:
        """Yield, for each attempt, its end or the report of its live processes. An attempt without live processes is
        over.
        """
        for count, (name, lost) in enumerate(due.items(), 1):
            if count % leftover_processes.SLICE == 0:
                yield None
            if self._lost.get(name) is not lost:
                continue  # a user ended the attempt during the check
            found = processes.find(lost.dead.clues)
            self._watch(lost, found)
            if not (found.certain or (found.uncertain and not lost.dead.is_leftover)):
                over = lost.dead.over(name, self._marks)
                self._forget(name)
                yield over
            elif found.certain and time.monotonic_ns() < lost.since + _LONGEST_WAIT:
                lost.pause *= 2
                lost.rest()
            else:
                yield from self._say(name, _living(found, lost.dead))

    def _say(self, name: Name, living: str) -> Iterator[Event]:
        """Report live processes, unless they are already reported, and schedule a check after a pause that grows to a
        minute.
        """
        lost = self._lost[name]
        lost.pause = min(max(2 * lost.pause, _FIRST_LONG_PAUSE), _LONGEST_PAUSE)
        lost.rest()
        if living != lost.living:
            lost.living = living
            yield RunLingers(*name, lost.report(name))

    def _watch(self, lost: _Lost, found: FoundProcesses) -> None:
        """Kill the processes that certainly belong to an attempt, and watch all processes."""
        _close(lost)
        own = {each.pid for each in found.certain}
        others = [
            each for each in found.uncertain if each.name not in leftover_processes.SMALL_ONES
        ]  # a supervisor is not killed, because it has more to do
        for each in (*found.certain, *others):
            descriptor = _held(each)
            if descriptor is None:
                continue
            if each.pid in own:
                with contextlib.suppress(OSError):  # EPERM means that the process changed its user
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


def _is_helper(it: LeftoverProcess, dead: Dead) -> bool:
    """Return whether a process represents a job on Slurm: after SIGTERM, the process ends the job; SIGKILL would leave
    the job behind.
    """
    return dead.clues.has_helper and it.name == SLURM_HELPER


def _living(found: FoundProcesses, dead: Dead) -> str:
    helpers = [each for each in found.certain if _is_helper(each, dead)]
    others = [each for each in found.certain if each not in helpers]
    words = [f"{named(helpers)} is still ending its job on Slurm"] if helpers else []
    words += [f"{named(others)} can't be killed"] if others else []
    words += [f"{named(found.uncertain)} might belong to it"] if found.uncertain else []
    return ", and ".join(words)


def _held(it: LeftoverProcess) -> int | None:
    """Return a pidfd of a process, or None if the process ended, its PID was reused, or no descriptor is free."""
    try:
        descriptor = os.pidfd_open(it.pid)
    except OSError:
        return None
    if process.birth(it.pid) != it.birth:
        os.close(descriptor)
        return None
    return descriptor
