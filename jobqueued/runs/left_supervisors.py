"""Supervisors of users' ended attempts that stay because processes were left behind (`leave_children`).

Each counts as a live run of its user until it exits. A connection to the socket next to R shows when it exits.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

from jobqueued.model.events import LeftBehind
from jobqueued.model.users import budget_of
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.state import record_files


class LeftSupervisors:
    """Connections to these supervisors, by descriptor."""

    def __init__(self, marks: RunDirectory) -> None:
        self._marks = marks
        self._connections: dict[int, tuple[Name, socket.socket]] = {}
        self._counted: set[Name] = set()

    def __contains__(self, descriptor: int) -> bool:
        """Return whether a descriptor belongs to one of the connections."""
        return descriptor in self._connections

    def descriptors(self) -> list[int]:
        """Return the descriptors of the connections."""
        return list(self._connections)

    def find(self) -> Iterator[LeftBehind]:
        """Connect to all these supervisors, and yield an event for each, and for each that exited unnoticed."""
        before = self._counted.copy()
        self.close()
        for name in self._marks.beside():
            self._counted.discard(name)
            with contextlib.suppress(OSError):
                yield from self.look(name)
        for name in sorted(before - {name for name, _ in self._connections.values()}):
            yield self._over(name)

    def look(self, name: Name) -> Iterator[LeftBehind]:
        """Yield an event if an attempt's supervisor stays. Raises OSError if that can't be found out now."""
        if not budget_of(name.run.job) or name in self._counted:
            return
        if (connection := self._marks.follow_left(name)) is not None:
            self._connections[connection.fileno()] = name, connection
            self._counted.add(name)
            yield LeftBehind(*name)

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

    def _over(self, name: Name) -> LeftBehind:
        self._counted.discard(name)
        try:
            output = os.stat(record_files.output_of(self._marks.logs, name.run)).st_size
        except OSError:
            output = 0
        return LeftBehind(*name, over=True, output=output)
