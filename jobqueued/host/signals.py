"""Signals of the daemon: SIGTERM and SIGINT stop it, SIGHUP reloads."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable

from jobqueued.model.job import Now
from jobqueued.model.source import Source


class Signals(Source):
    """The source of signals. Each signal becomes a byte on a socket, so that it ends the loop's sleep. SIGHUP calls
    `control/calls/reload.py`.
    """

    def __init__(self, reload: Callable[[Now], None]) -> None:
        self._reload = reload
        self._reading, self._writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.stop = False
        """True once the daemon must stop."""

    def catch(self) -> None:
        """Receive signals from now on, including signals that the parent process had blocked."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a launcher that the daemon started must not become a zombie
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _note(self, number: int, _frame: object) -> None:
        self.stop |= number != signal.SIGHUP

    def descriptors(self) -> dict[int, int]:
        """Return the reading end of the socket, which becomes readable after a signal."""
        return {self._reading.fileno(): select.POLLIN}

    @property
    def has_more(self) -> bool:
        """True once the daemon must stop, so that it does not sleep again."""
        return self.stop

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Read the bytes, and reload after a SIGHUP."""
        if signal.SIGHUP in self._reading.recv(4096):
            self._reload(now)
        return ()
