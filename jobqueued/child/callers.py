"""Those who have connected to the launcher, of whom the one that said hello last is the scheduler, and hears all."""

from __future__ import annotations

import select
import socket

from jobqueued.child import wire


class Callers:
    """Their connections, in `poll`."""

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self._lines: dict[int, tuple[socket.socket, wire.Lines]] = {}
        self.scheduler: socket.socket | None = None
        self._outbox = bytearray()

    def __contains__(self, descriptor: int) -> bool:
        """True of one of theirs."""
        return descriptor in self._lines

    def descriptors(self) -> list[int]:
        """All of theirs."""
        return list(self._lines)

    def accept(self, listener: socket.socket) -> None:
        """Take one more; OSError: it has to wait."""
        connection, _address = listener.accept()
        connection.setblocking(False)
        self._lines[connection.fileno()] = connection, wire.Lines(connection)
        self._poll.register(connection, select.POLLIN)

    def read(self, descriptor: int) -> tuple[socket.socket, list[bytes]]:
        """One of them, and its complete lines; who has hung up is dropped."""
        connection, lines = self._lines[descriptor]
        said = lines.read()
        if said is None:
            self.drop(connection)
        return connection, said or []

    def hail(self, scheduler: socket.socket) -> None:
        """From now on this is the scheduler; what an older one still has on its way is never read."""
        for other, _lines in list(self._lines.values()):
            if other is not scheduler:
                self.drop(other)
        self.scheduler, self._outbox = scheduler, bytearray()

    def drop(self, connection: socket.socket) -> None:
        """Hang up."""
        self._poll.unregister(connection)
        del self._lines[connection.fileno()]
        if connection is self.scheduler:
            self.scheduler = None
        connection.close()

    def tell(self, notice: str) -> None:
        """The scheduler, if there is one, with the next `flush`."""
        if self.scheduler is not None:
            self._outbox += notice.encode() + b"\n"

    @property
    def unsent(self) -> int:
        """The bytes that the scheduler has not taken yet."""
        return len(self._outbox)

    def flush(self) -> None:
        """Send what it takes now."""
        if self.scheduler is None or not self._outbox:
            return
        try:
            sent = self.scheduler.send(self._outbox)
        except OSError:  # its queue is full; or it is gone, and the next poll tells
            sent = 0
        del self._outbox[:sent]
        self._poll.modify(self.scheduler, select.POLLIN | (select.POLLOUT if self._outbox else 0))
