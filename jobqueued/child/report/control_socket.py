"""A supervisor's event loop, and an attempt's followers on R/control, which may request a stop."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import time
from collections.abc import Callable

from jobqueued.child.contract import unix_socket, wire

_SHARE = 4
"""Divisor: followers may use our descriptor limit divided by this number.

Above it, a new follower replaces the newest follower.
"""
REST = 1.0
"""Pause (s) for a descriptor after an error."""
_LONGEST_POLL = 2**31 - 1


class DescriptorLoop:
    """Actions for descriptors that become readable.

    If an action raises an exception, `failed` is called and the descriptor pauses, so that an error neither ends the
    supervisor nor repeats at once.
    """

    __slots__ = ("_failed", "_poll", "_ready", "_resting")

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], object]] = {}
        self._resting: dict[int, float] = {}

    def on(self, descriptor: int, action: Callable[[], object]) -> None:
        """From now on, call `action` when the descriptor is readable."""
        self._ready[descriptor] = action
        self._resting.pop(descriptor, None)
        self._poll.register(descriptor, select.POLLIN)

    def off(self, descriptor: int) -> None:
        """Stop watching the descriptor."""
        if self._ready.pop(descriptor, None) and self._resting.pop(descriptor, None) is None:
            self._poll.unregister(descriptor)

    def rest(self, descriptor: int) -> None:
        """Pause the descriptor for REST s, because it would wake us immediately."""
        if descriptor in self._ready and descriptor not in self._resting:
            self._resting[descriptor] = time.monotonic() + REST
            self._poll.unregister(descriptor)

    def __contains__(self, descriptor: int) -> bool:
        """Return whether the descriptor is watched."""
        return descriptor in self._ready

    def turn(self, seconds: float) -> None:
        """Wait at most `seconds` (infinity means no limit), and run the actions for readable descriptors."""
        if self._resting:
            seconds = min(seconds, min(self._resting.values()) - time.monotonic())
        longest_wait = None if seconds == float("inf") else min(max(0.0, seconds) * 1000 + 1, _LONGEST_POLL)
        for descriptor, _bits in self._poll.poll(longest_wait):
            if descriptor in self._ready:
                self._act(descriptor)
        for descriptor in [resting for resting, until in self._resting.items() if until <= time.monotonic()]:
            self.on(descriptor, self._ready[descriptor])

    def go_on(self, seconds: float) -> None:
        """Run actions for readable descriptors for `seconds`."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.turn(left)

    def _act(self, descriptor: int) -> None:
        try:
            self._ready[descriptor]()
        except Exception as error:
            self._failed(error)
            self.rest(descriptor)


class ControlSocket:
    """The listening R/control and its followers. `greeting` returns lines for a new follower; `stop` gets a reason."""

    def __init__(
        self, directory: int, loop: DescriptorLoop, greeting: Callable[[], list[str]], stop: Callable[[str], None]
    ) -> None:
        self._loop, self._greeting, self._stop = loop, greeting, stop
        self._connections: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._listener.bind(unix_socket.address(directory, wire.CONTROL))
            self._listener.listen()
        except OSError:
            self._listener.close()
            raise

    def accept(self) -> None:
        """Accept followers from now on."""
        self._loop.on(self._listener.fileno(), self._accept)

    def send_line(self, line: str) -> None:
        """Send a line to all followers; a follower that does not read misses it."""
        for connection in self._connections:
            _send(connection, line)

    def hang_up(self) -> None:
        """Disconnect all followers. New followers may connect."""
        for connection in list(self._connections):
            self._drop(connection)

    def close(self) -> None:
        """Stop listening."""
        self._loop.off(self._listener.fileno())
        self._listener.close()

    def _accept(self) -> None:
        try:
            connection, _address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # without free descriptors or memory, the follower waits
            self._loop.rest(self._listener.fileno())
            return
        connection.setblocking(False)
        if len(self._connections) >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE:
            self._drop(self._connections[-1])
        self._connections.append(connection)
        self._loop.on(connection.fileno(), lambda: self._read_request(connection))
        _send(connection, "\n".join(self._greeting()))
        self._read_request(connection)

    def _read_request(self, connection: socket.socket) -> None:
        """Handle ``stop REASON`` from a follower, or its hang-up."""
        try:
            said = connection.recv(wire.NOTICE)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._drop(connection)
            return
        verb, _, reason = said.decode(errors="replace").partition("\n")[0].partition(" ")
        if verb == "stop":
            self._stop(reason)

    def _drop(self, connection: socket.socket) -> None:
        self._loop.off(connection.fileno())
        self._connections.remove(connection)
        connection.close()


def _send(connection: socket.socket, line: str) -> None:
    with contextlib.suppress(OSError):
        connection.send(f"{line}\n".encode())
