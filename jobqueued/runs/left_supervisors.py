"""Supervisors of users' ended attempts that stay because processes were left behind (`leave_children`).

Each counts as a live run of its user until it exits. A connection to the socket next to R shows when it exits.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

from jobqueued.base.instants import SECOND
from jobqueued.model.events import LeftBehind
from jobqueued.model.users import budget_of
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.state import record_files

AGAIN = 10 * SECOND
"""Pause (ns) before supervisors that could not be checked are rechecked."""


class LeftSupervisors:
    """Connections to these supervisors, by descriptor."""

    def __init__(self, marks: RunDirectory) -> None:
        self._marks = marks
        self._connections: dict[int, tuple[Name, socket.socket]] = {}
        self._counted: set[Name] = set()
        self._unsure: set[Name] = set()
        """Counted attempts whose supervisor may have exited."""
        self._recheck_at = 0

    def __contains__(self, descriptor: int) -> bool:
        """Return whether a descriptor belongs to one of the connections."""
        return descriptor in self._connections

    def descriptors(self) -> list[int]:
        """Return the descriptors of the connections."""
        return list(self._connections)

    @property
    def deadline(self) -> int | None:
        """The time (monotonic, ns) to recheck supervisors, or None if each of them is certain."""
        return self._recheck_at if self._unsure else None

    def find(self) -> Iterator[LeftBehind]:
        """Connect to all these supervisors, and yield an event for each, and for each that exited unnoticed.

        Raises OSError if the directory can't be listed now.
        """
        names = {*self._marks.beside(), *self._counted}
        self.close()
        for name in sorted(names):
            yield from self._check(name)

    def recheck(self, mono: int) -> Iterator[LeftBehind]:
        """If it is time, recheck the supervisors that could not be checked, and yield an event for each."""
        if not self._unsure or mono < self._recheck_at:
            return
        names, self._unsure = sorted(self._unsure), set()
        for name in names:
            yield from self._check(name)

    def _check(self, name: Name) -> Iterator[LeftBehind]:
        """Yield whether a supervisor stays. A supervisor that can't be checked now stays, until a later check."""
        try:
            yield from self._counting(name)
        except OSError:
            self._unsure.add(name)
            self._recheck_at = time.monotonic_ns() + AGAIN
            self._counted.add(name)
            yield LeftBehind(*name)

    def _counting(self, name: Name) -> Iterator[LeftBehind]:
        """Connect to an attempt's supervisor, and yield an event if it stays or no longer counts. Raises OSError."""
        connection = self._marks.follow_left(name) if budget_of(name.run.job) else None
        if connection is not None:
            self._connections[connection.fileno()] = name, connection
            self._counted.add(name)
            yield LeftBehind(*name)
        elif name in self._counted:
            yield self._over(name)

    def look(self, name: Name) -> Iterator[LeftBehind]:
        """Yield an event if an attempt's supervisor stays. Raises OSError if that can't be found out now."""
        if name not in self._counted:
            yield from self._counting(name)

    def read(self, descriptor: int) -> Iterator[LeftBehind]:
        """Handle a readable descriptor: yield an event if the supervisor exited."""
        name, connection = self._connections[descriptor]
        try:
            if connection.recv(4096):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        del self._connections[descriptor]
        connection.close()
        yield self._over(name)

    def close(self) -> None:
        """Close all connections."""
        for _name, connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._unsure.clear()

    def _over(self, name: Name) -> LeftBehind:
        self._counted.discard(name)
        try:
            output = os.stat(record_files.output_of(self._marks.logs, name.run)).st_size
        except OSError:
            output = 0
        return LeftBehind(*name, over=True, output=output)
