"""A fleet's agent connects the scheduler, which has no network access, with etcd.

    python3 -I -S agent.py DIRECTORY

The agent listens on descriptor 3 (sd_listen_fds(3)) and serves one scheduler at a time (lines.py). It exits when no
scheduler was connected for a while and this host holds none of the fleet's locks. The socket's owner restarts the
agent. The agent saves its session's identity in DIRECTORY.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time

if __name__ == "__main__":
    sys.path.append(os.path.abspath(f"{__file__}/../../../.."))

from jobqueued.child.callers import Callers
from jobqueued.child.fleet import lines
from jobqueued.child.fleet.mark import EtcdMark
from jobqueued.child.fleet.session import TTL
from jobqueued.child.fleet.uplink import Uplink

_LISTEN_FD = 3
_LINGER = 2 * TTL
"""Time (s) without a scheduler after which the agent may exit. A scheduler restart takes less time."""
_MOST_UNSENT = 16 << 20
"""Maximum unsent bytes.

If there are more, the agent disconnects the scheduler, which gets everything once more when it reconnects.
"""


class Agent:
    """The main loop, which connects a scheduler with the uplink."""

    def __init__(self, listener: socket.socket, directory: str) -> None:
        self._listener, self._session = listener, f"{directory}/session"
        self._poll = select.poll()
        self._callers = Callers(self._poll)
        self._wakeups, self._wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._uplink: Uplink | None = None
        self._alone_since = time.monotonic()
        for descriptor in (self._wakeups, listener.fileno()):
            self._poll.register(descriptor, select.POLLIN)

    def serve(self) -> None:
        """Serve until the agent is no longer needed."""
        while not self._is_needless():
            ready = self._poll.poll(None if self._callers.scheduler is not None else _LINGER * 1000)
            for descriptor, _ in ready:
                if descriptor == self._listener.fileno():
                    with contextlib.suppress(OSError):  # the caller waits in the socket's backlog
                        self._callers.accept(self._listener)
                elif descriptor in self._callers:
                    self._hear(descriptor)
                elif descriptor == self._wakeups:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wakeups, 512)
            self._report()
        if self._uplink is not None:
            self._uplink.stop()

    def _is_needless(self) -> bool:
        now = time.monotonic()
        if self._callers.scheduler is not None:
            self._alone_since = now
        return now - self._alone_since >= _LINGER and not (self._uplink is not None and self._uplink.holds)

    def _hear(self, descriptor: int) -> None:
        caller, orders = self._callers.read(descriptor)
        try:
            for order in orders:
                line = lines.decode(order)
                if line[0] == "hello":
                    self._greet(caller, line)
                elif caller is self._callers.scheduler and self._uplink is not None:
                    self._uplink.take(line)
        except (ValueError, KeyError, TypeError):  # the caller uses another version of the protocol
            if caller.fileno() >= 0:
                self._callers.drop(caller)

    def _greet(self, caller: socket.socket, line: lines.Line) -> None:
        _, version, settings, seen, since = line
        if version != lines.VERSION:
            raise ValueError(version)
        self._callers.set_scheduler(caller)
        if self._uplink is None or self._uplink.settings != settings:
            if self._uplink is not None:
                self._uplink.stop()
            self._uplink = Uplink(settings, self._session, self._wake)
        self._uplink.hello(EtcdMark(*seen), since)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wakeup, b"\0")

    def _report(self) -> None:
        for line in self._uplink.lines() if self._uplink is not None else ():
            self._callers.queue_notice(lines.encode(line).decode().removesuffix("\n"))
        self._callers.flush()
        if self._callers.unsent > _MOST_UNSENT and self._callers.scheduler is not None:
            self._callers.drop(self._callers.scheduler)


def _fall(fallen: threading.ExceptHookArgs) -> None:
    """End the process because a thread failed.

    A new agent resumes the session; an agent without a thread would look healthy.
    """
    threading.__excepthook__(fallen)
    os._exit(1)


def main(arguments: list[str]) -> None:
    """Set the process up and serve."""
    threading.excepthook = _fall
    os.umask(0o077)
    listener = socket.socket(fileno=_LISTEN_FD)
    listener.set_inheritable(False)
    listener.setblocking(False)
    Agent(listener, arguments[0]).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
