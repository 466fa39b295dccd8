"""Signals of the daemon: SIGTERM and SIGINT end it, SIGHUP asks for a reload."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable

from jobqueued.model import Now
from jobqueued.source import Source


class Signals(Source):
    """Signals as bytes on a socket, so that the loop's sleep ends with each; `reload` is called for SIGHUP."""

    def __init__(self, reload: Callable[[Now], None]) -> None:
        self._reload = reload
        self._reading, self._writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.stop = False
        """True once the daemon is to end."""

    def catch(self) -> None:
        """Take signals from now on, also those that were blocked until now, by whoever has started us."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a launcher of our own that has left is no zombie
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _note(self, number: int, _frame: object) -> None:
        self.stop |= number != signal.SIGHUP

    def descriptors(self) -> dict[int, int]:
        """One of them, readable after a signal."""
        return {self._reading.fileno(): select.POLLIN}

    @property
    def has_more(self) -> bool:
        """True once the daemon is to end: it must not sleep before that."""
        return self.stop

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Take the bytes."""
        if signal.SIGHUP in self._reading.recv(4096):
            self._reload(now)
        return ()
