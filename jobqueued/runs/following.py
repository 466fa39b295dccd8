"""Attempts whose ends no launcher reports: the daemon follows supervisors of earlier launchers, and rechecks unsettled
attempts.

While a process listens on R/control, its attempt is never declared lost, because the supervisor may be suspended or
wait for a disk.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from jobqueued.base.instants import SECOND
from jobqueued.base.text import duration
from jobqueued.child.contract import wire
from jobqueued.model import events
from jobqueued.model.source import soonest
from jobqueued.runs.left_supervisors import LeftSupervisors
from jobqueued.runs.lost_attempts import LostAttempts
from jobqueued.runs.recovery import Recovery
from jobqueued.runs.run_directory import Name, RunDirectory

SILENT = 10 * SECOND
_LONGEST_PAUSE = 60 * SECOND


@dataclass(slots=True)
class _Supervisor:
    name: Name
    connection: socket.socket
    silent_since: int | None
    """Instant (monotonic, ns) since when the supervisor has not answered, or None if it has answered."""
    told: bool = False

    @property
    def pid(self) -> int:
        """The PID of the supervisor."""
        credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])


class Following:
    """The followed supervisors, and unsettled attempts, which are rechecked after pauses that grow to a minute.

    `held`: the attempts of the current launcher, which itself reports a supervisor's death.
    """

    def __init__(self, marks: RunDirectory, held: set[Name], lost_attempts: LostAttempts) -> None:
        self._marks, self._held, self._lost_attempts = marks, held, lost_attempts
        self._supervisors: dict[int, _Supervisor] = {}
        self.left = LeftSupervisors(marks)
        self._unsettled: dict[Name, str] = {}
        self._look_at, self._pause = 0, SECOND
        self._news: list[str] = []

    def take(self, recovery: Recovery) -> None:
        """Follow the supervisors that a recovery adopted, pass on its dead attempts, and recheck its unsettled attempts
        later.
        """
        now = time.monotonic_ns()
        for name, connection in recovery.adopted:
            self._supervisors[connection.fileno()] = _Supervisor(name, connection, now)
        for name, why in recovery.unsettled.items():
            if name not in self._unsettled:
                self._pause = SECOND
                self._news.append(_unsettled(name, why))
            self._unsettled[name] = why
        if recovery.unsettled:
            self._look_at = now + self._pause
        self._lost_attempts.take(recovery)

    def settle(self, *names: Name) -> Iterator[events.Event]:
        """Yield the verdicts on these attempts."""
        recovery = Recovery(self._marks, self._held, followed=len(self._supervisors))
        for name in names:
            try:
                yield from self.left.look(name)  # counts before the end gives the run's place to another
            except OSError as error:
                recovery.unsettled[name] = str(error.strerror)
                continue
            yield from recovery.verdict(name)
            if name not in recovery.unsettled:
                self._unsettled.pop(name, None)
        self.take(recovery)

    def close(self) -> None:
        """Close all connections."""
        for each in self._supervisors.values():
            each.connection.close()
        self._supervisors, self._unsettled = {}, {}
        self.left.close()

    def __contains__(self, descriptor: int) -> bool:
        """Return whether a descriptor belongs to a connection to a followed supervisor."""
        return descriptor in self._supervisors or descriptor in self.left

    def descriptors(self) -> list[int]:
        """Return the descriptors of the connections."""
        return [*self._supervisors, *self.left.descriptors()]

    @property
    def deadline(self) -> int | None:
        """The time (monotonic, ns) to recheck unsettled attempts or supervisors that stay, or to report a silent
        supervisor, or None.
        """
        times = [
            each.silent_since + SILENT for each in self._supervisors.values() if each.silent_since and not each.told
        ]
        silent = min(times, default=None)
        return soonest((silent, self._look_at if self._unsettled else None, self.left.deadline))

    def look(self, mono: int) -> Iterator[events.Event]:
        """Recheck unsettled attempts and supervisors that stay if it is time, and report silent supervisors."""
        for each in self._supervisors.values():
            if each.silent_since and not each.told and each.silent_since + SILENT <= mono:
                each.told = True
                self._news.append(_silent(each))
        yield from self.left.recheck(mono)
        if self._unsettled and self._look_at <= mono:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            yield from self.settle(*self._unsettled)

    def news(self) -> list[str]:
        """Return the new problems since the last call."""
        news, self._news = self._news, []
        return news

    @property
    def troubles(self) -> list[str]:
        """All current problems, for people."""
        silent = [_silent(each) for each in self._supervisors.values() if each.silent_since and each.told]
        return [*silent, *(_unsettled(name, why) for name, why in self._unsettled.items())]

    def send_line(self, name: Name, line: bytes) -> bool:
        """Send a line to the supervisor of an attempt; return whether this supervisor is followed."""
        for each in self._supervisors.values():
            if each.name == name:
                with contextlib.suppress(OSError):
                    each.connection.send(line)
                return True
        return False

    def read(self, descriptor: int) -> Iterator[events.Event]:
        """Handle a readable descriptor: a supervisor sent a line, or hung up."""
        if descriptor in self.left:
            yield from self.left.read(descriptor)
            return
        each = self._supervisors[descriptor]
        try:
            said = each.connection.recv(2 * wire.NOTICE).decode(errors="replace").splitlines()
        except BlockingIOError:
            return
        except OSError:
            said = []
        if said:
            each.silent_since = None
        for line in said:
            verb, _, reason = line.partition(" ")
            if verb == "stopping":
                yield events.RunStopping(*each.name, reason)
        if not said or "ended" in said:
            del self._supervisors[descriptor]
            each.connection.close()
            yield from self.settle(
                each.name, *islice(self._unsettled, 1)
            )  # an unsettled attempt may need the descriptor that is now free


def _silent(supervisor: _Supervisor) -> str:
    name, pid = supervisor.name, supervisor.pid
    return (
        f"the supervisor of {name}, process {pid}, has not answered for {duration(SILENT / SECOND)};"
        f" the run counts as live; if the supervisor hangs, end it and the run: kill -KILL {pid}"
    )


def _unsettled(name: Name, why: str) -> str:
    return f"cannot check whether {name} lives ({why}); it counts as live until the next check"
