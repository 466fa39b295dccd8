"""Attempts whose end no launcher tells: their supervisors, of earlier launchers, are followed, or they are unsettled.

Whoever listens on R/control lives, and nobody who lives is declared lost: a supervisor may be stopped, or wait for
a disk.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from itertools import islice

from jobqueued import events
from jobqueued.child import wire
from jobqueued.model import SECOND
from jobqueued.nouns import dataclass
from jobqueued.runs.lost_attempts import LostAttempts
from jobqueued.runs.recovery import Recovery
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.text import duration

SILENT = 10 * SECOND
_LONGEST_PAUSE = 60 * SECOND


@dataclass(slots=True)
class _Supervisor:
    name: Name
    connection: socket.socket
    silent_since: int | None
    """Since when (monotonic, ns) it has not answered; None: it has."""
    told: bool = False

    @property
    def pid(self) -> int:
        """The process that listens there."""
        credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])


class Following:
    """Whoever is followed, and the attempts that are looked at again, after pauses that grow to a minute.

    `held` are the attempts that the present launcher has: it tells itself of a supervisor that has died.
    """

    def __init__(self, marks: RunDirectory, held: set[Name], lost_attempts: LostAttempts) -> None:
        self._marks, self._held, self._lost_attempts = marks, held, lost_attempts
        self._supervisors: dict[int, _Supervisor] = {}
        self._unsettled: dict[Name, str] = {}
        self._look_at, self._pause = 0, SECOND
        self._news: list[str] = []

    def take(self, recovery: Recovery) -> None:
        """Follow whom a recovery has adopted, hand on what is lost, and look again at what it could not settle."""
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
        """The verdicts on attempts of which no launcher tells."""
        recovery = Recovery(self._marks, self._held, followed=len(self._supervisors))
        for name in names:
            yield from recovery.verdict(name)
            if name not in recovery.unsettled:
                self._unsettled.pop(name, None)
        self.take(recovery)

    def close(self) -> None:
        """Leave all of them to themselves."""
        for each in self._supervisors.values():
            each.connection.close()
        self._supervisors, self._unsettled = {}, {}

    def __contains__(self, descriptor: int) -> bool:
        """True for a descriptor that is one of ours now."""
        return descriptor in self._supervisors

    def descriptors(self) -> list[int]:
        """Give the connections."""
        return list(self._supervisors)

    @property
    def deadline(self) -> int | None:
        """The time (monotonic, ns) to look again, or to tell of silence; None: there is nothing to do."""
        times = [
            each.silent_since + SILENT for each in self._supervisors.values() if each.silent_since and not each.told
        ]
        return min([*times, *([self._look_at] if self._unsettled else [])], default=None)

    def look(self, mono: int) -> Iterator[events.Event]:
        """Look again at what is unsettled, if it is time for that, and at who is silent."""
        for each in self._supervisors.values():
            if each.silent_since and not each.told and each.silent_since + SILENT <= mono:
                each.told = True
                self._news.append(_silent(each))
        if self._unsettled and self._look_at <= mono:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            yield from self.settle(*self._unsettled)

    def news(self) -> list[str]:
        """The troubles that are new."""
        news, self._news = self._news, []
        return news

    @property
    def troubles(self) -> list[str]:
        """All troubles there are, for people."""
        silent = [_silent(each) for each in self._supervisors.values() if each.silent_since and each.told]
        return [*silent, *(_unsettled(name, why) for name, why in self._unsettled.items())]

    def tell(self, name: Name, line: bytes) -> bool:
        """Send a line to its supervisor, if that is followed."""
        for each in self._supervisors.values():
            if each.name == name:
                with contextlib.suppress(OSError):
                    each.connection.send(line)
                return True
        return False

    def read(self, descriptor: int) -> Iterator[events.Event]:
        """The events behind a readable descriptor: a supervisor said something, or hung up."""
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
            yield from self.settle(each.name, *islice(self._unsettled, 1))  # who may have waited for its descriptor


def _silent(supervisor: _Supervisor) -> str:
    name, pid = supervisor.name, supervisor.pid
    return (
        f"the supervisor of {name}, process {pid}, has not answered for {duration(SILENT / SECOND)};"
        f" the run counts as live; if it hangs, end both: kill -KILL {pid}"
    )


def _unsettled(name: Name, why: str) -> str:
    return f"cannot tell whether {name} lives ({why}); it counts as live, and is looked at again"
