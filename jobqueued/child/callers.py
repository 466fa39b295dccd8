"""The connections to the launcher or agent.

The newest connection that sent hello is the scheduler's and gets all notices.
"""

from __future__ import annotations

import select
import socket

from jobqueued.child.contract import wire


class Callers:
    """The connections, in `poll`."""

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self._lines: dict[int, tuple[socket.socket, wire.SocketLines]] = {}
        self.scheduler: socket.socket | None = None
        self._outbox = bytearray()

    def __contains__(self, descriptor: int) -> bool:
        """Return whether a descriptor belongs to one of the connections."""
        return descriptor in self._lines

    def descriptors(self) -> list[int]:
        """Return the descriptors of all connections."""
        return list(self._lines)

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection. Raises OSError if resources are exhausted; the caller then waits."""
        connection, _address = listener.accept()
        connection.setblocking(False)
        self._lines[connection.fileno()] = connection, wire.SocketLines(connection)
        self._poll.register(connection, select.POLLIN)

    def read(self, descriptor: int) -> tuple[socket.socket, list[bytes]]:
        """Return a connection and its complete lines. Drop a caller that hung up."""
        connection, lines = self._lines[descriptor]
        said = lines.read()
        if said is None:
            self.drop(connection)
        return connection, said or []

    def set_scheduler(self, scheduler: socket.socket) -> None:
        """Make this connection the scheduler's, and drop all others unread."""
        for other, _lines in list(self._lines.values()):
            if other is not scheduler:
                self.drop(other)
        self.scheduler, self._outbox = scheduler, bytearray()

    def drop(self, connection: socket.socket) -> None:
        """Close a connection."""
        self._poll.unregister(connection)
        del self._lines[connection.fileno()]
        if connection is self.scheduler:
            self.scheduler = None
        connection.close()

    def queue_notice(self, notice: str) -> None:
        """Queue a notice until `flush` if a scheduler is connected."""
        if self.scheduler is not None:
            self._outbox += notice.encode() + b"\n"

    @property
    def unsent(self) -> int:
        """Number of unsent bytes for the scheduler."""
        return len(self._outbox)

    def flush(self) -> None:
        """Send as much to the scheduler as it accepts now."""
        if self.scheduler is None or not self._outbox:
            return
        try:
            sent = self.scheduler.send(self._outbox)
        except OSError:  # the scheduler's queue is full, or the scheduler exited, which the next poll reports
            sent = 0
        del self._outbox[:sent]
        self._poll.modify(self.scheduler, select.POLLIN | (select.POLLOUT if self._outbox else 0))
