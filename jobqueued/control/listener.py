"""The listening socket at its path, whatever becomes of that: it is made anew once it is gone, and tried again while it
can't be.  inotify(7) tells; nobody polls.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

from jobqueued.child import unix_socket, wire
from jobqueued.child.watcher import inotify
from jobqueued.control.entrance import admit_everybody
from jobqueued.host.descriptors import is_spare
from jobqueued.host.log import Log
from jobqueued.model import MINUTE, SECOND

AGAIN = 10 * SECOND
_REST = SECOND
"""The time for which nobody is accepted where there is no descriptor left: poll(2) would tell of them all the time."""
_BACKLOG = 512
_MASK = (
    inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO | inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF
    | inotify.IN_ONLYDIR
)  # fmt: skip


class Listener:
    """A socket that listens at `path`; `make_directory` makes what that is in, and what is beside it, if it is gone.

    `admit` decides who may connect, and returns what it could not do for that, "" for nothing.
    `deadline`: when `look` is to be called next (CLOCK_MONOTONIC); None: not before something happens.
    """

    def __init__(
        self, path: Path, make_directory: Callable[[], None], log: Log, admit: Callable[[Path], str] = admit_everybody
    ) -> None:
        self.path, self._make_directory, self._log, self._admit = path, make_directory, log, admit
        self._socket: socket.socket | None = None
        self._place: tuple[int, int] | None = None
        self._inotify: int | None = None
        self.trouble = ""
        """The reason why nobody can connect; "": everybody can."""
        self._rests = False
        self.deadline: int | None = None
        try:
            self._listen(0)
        except OSError as error:
            self._unheard(f"{self.path}: {error.strerror}", 0)

    def descriptors(self, *, accepts: bool) -> dict[int, int]:
        """That of inotify, and the socket's own where more are accepted."""
        found = {} if self._inotify is None else {self._inotify: select.POLLIN}
        if self._socket is not None and accepts and not self._rests:
            found[self._socket.fileno()] = select.POLLIN
        return found

    def accept(self, descriptor: int, mono: int) -> socket.socket | None:
        """Accept whom the socket tells of; None: nobody, or there is no room, or it was told of the path."""
        if descriptor == self._inotify:
            self.look(mono)
        if self._socket is None or descriptor != self._socket.fileno():
            return None
        try:
            connection, _address = self._socket.accept()
        except OSError as error:
            if error.errno in wire.SHORTAGE:
                self._rests, self.deadline = True, mono + _REST
            return None
        if is_spare(connection.fileno()):
            connection.setblocking(False)
            return connection
        connection.close()
        return None

    def look(self, mono: int) -> None:
        """Listen anew if what is at the path is not our socket any more."""
        self._rests, self.deadline = False, None
        if self._inotify is not None:
            with contextlib.suppress(OSError):
                list(inotify.events(self._inotify))
        if self._socket is not None and self._place == _place(self.path):
            self._watch(mono)
            self._keep_directory(mono)
            return
        try:
            self._make_directory()
            self._listen(mono)
        except OSError as error:
            self._unheard(f"{self.path}: {error.strerror}", mono)
        else:
            self.trouble = ""
            self._log.say("recovered", text=f"{self.path} was gone; it is there again")

    def _keep_directory(self, mono: int) -> None:
        """Make what is beside the socket, where it is gone: whoever empties the directory goes on after the socket."""
        try:
            self._make_directory()
        except OSError as error:
            self.deadline = mono + AGAIN
            if error.errno == errno.EADDRINUSE:  # another daemon has it, and this one ends
                self._unheard(f"{self.path}: {error.strerror}", mono)

    def _unheard(self, why: str, mono: int) -> None:
        """Say it once, and try again later."""
        self.deadline = mono + AGAIN
        text = f"{why}; jobqueuectl can't reach the daemon; it is tried again every 10 s, and after a restart"
        if text != self.trouble:
            self.trouble = text
            self._log.say("trouble", text=text)

    def _listen(self, mono: int) -> None:
        fresh = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            unix_socket.bind(fresh, str(self.path))
            unmet = self._admit(self.path)
            fresh.listen(_BACKLOG)
        except OSError:
            fresh.close()
            raise
        if self._socket is not None:
            self._socket.close()
        self._socket, self._place = fresh, _place(self.path)
        if unmet:
            self._log.say("trouble", text=f"{self.path}: {unmet}")
        self._watch(mono)

    def _watch(self, mono: int) -> None:
        """Be told when it is gone; where the kernel has no watch, look once a minute."""
        try:
            if self._inotify is None:
                self._inotify = inotify.instance()
            inotify.watch(self._inotify, str(self.path.parent), _MASK)
        except OSError:
            self.deadline = mono + MINUTE

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._socket.close()
        if self._inotify is not None:
            os.close(self._inotify)
        self._socket = self._inotify = None


def _place(path: Path) -> tuple[int, int] | None:
    """The identity of a file; None: there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
