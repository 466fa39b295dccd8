"""The listening sockets and their paths.

If a socket file is removed, the daemon recreates it, and retries after a failure. inotify(7) reports removals.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.child.contract import unix_socket, wire
from jobqueued.child.watcher import inotify
from jobqueued.host.descriptors import is_spare
from jobqueued.host.log import Log

AGAIN = 10 * SECOND
_REST = SECOND
"""Pause (ns) before the daemon resumes accepting connections if no descriptor is free. Without the pause, the loop
would spin.
"""
_BACKLOG = 512
_MASK = (
    inotify.IN_DELETE
    | inotify.IN_MOVED_FROM
    | inotify.IN_MOVED_TO
    | inotify.IN_DELETE_SELF
    | inotify.IN_MOVE_SELF
    | inotify.IN_ONLYDIR
)


class Listener:
    """The listening sockets in a directory. `make_directory` makes the directory and its other files.

    `doors`: path → function that sets who may connect, and returns "" or why some of these users can't connect.
    `deadline`: the time (CLOCK_MONOTONIC, ns) of the next `look`, or None if only an event triggers a `look`.
    """

    def __init__(
        self, doors: Mapping[Path, Callable[[Path], str]], make_directory: Callable[[], None], log: Log
    ) -> None:
        self._doors, self._make_directory, self._log = doors, make_directory, log
        self.directory = next(iter(doors)).parent
        self._sockets: dict[Path, socket.socket] = {}
        self._places: dict[Path, tuple[int, int] | None] = {}
        self._inotify: int | None = None
        self.trouble = ""
        """The reason why a socket is missing, or "" if all sockets listen."""
        self._rests = False
        self.deadline: int | None = None
        try:
            self._listen(0)
        except OSError as error:
            self._log_and_retry(error, 0)

    def descriptors(self, *, accepts: bool) -> dict[int, int]:
        """Return inotify's descriptor, and the sockets' descriptors if more callers are accepted."""
        found = {} if self._inotify is None else {self._inotify: select.POLLIN}
        if accepts and not self._rests:
            found |= {it.fileno(): select.POLLIN for it in self._sockets.values()}
        return found

    def accept(self, descriptor: int, mono: int) -> socket.socket | None:
        """Accept a caller of a socket, or return None if no caller waits. For inotify's descriptor, check the
        sockets.
        """
        if descriptor == self._inotify:
            self.look(mono)
        listener = next((it for it in self._sockets.values() if it.fileno() == descriptor), None)
        if listener is None:
            return None
        try:
            connection, _address = listener.accept()
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
        """Resume listening at each path that no longer has this daemon's socket."""
        self._rests, self.deadline = False, None
        self._forget_news()
        if not (gone := self._lost_paths()):
            self._watch(mono)
            self._keep_directory(mono)
            return
        try:
            self._make_directory()
            self._listen(mono)
        except OSError as error:
            self._forget_news()  # otherwise events about the daemon's own removals would cause endless retries
            self._log_and_retry(error, mono)
        else:
            self.trouble = ""
            what = "was missing and has been restored" if len(gone) == 1 else "were missing and have been restored"
            self._log.say("recovered", text=f"{' and '.join(map(str, gone))} {what}")

    def _forget_news(self) -> None:
        if self._inotify is not None:
            with contextlib.suppress(OSError):
                list(inotify.events(self._inotify))

    def _lost_paths(self) -> list[Path]:
        """Return the paths where this daemon's socket is missing."""
        return [path for path in self._doors if path not in self._sockets or self._places[path] != _place(path)]

    def _keep_directory(self, mono: int) -> None:
        """Recreate the directory's other files if a cleanup removed them after the sockets."""
        try:
            self._make_directory()
        except OSError as error:
            self.deadline = mono + AGAIN
            if error.errno == errno.EADDRINUSE:  # another daemon uses the directory, so this daemon ends
                self._log_and_retry(error, mono)

    def _log_and_retry(self, why: OSError, mono: int) -> None:
        """Log an error once, and retry later."""
        self.deadline = mono + AGAIN
        missing = " and ".join(str(path) for path in self._lost_paths()) or str(self.directory)
        text = f"{missing}: {why.strerror}; clients can't connect there; the daemon retries every 10 s"
        if text != self.trouble:
            self.trouble = text
            self._log.say("trouble", text=text)

    def _listen(self, mono: int) -> None:
        """Listen at each path where this daemon's socket is missing. Raise the first OSError after trying all paths."""
        failed: OSError | None = None
        for path in self._lost_paths():
            try:
                self._listen_at(path)
            except OSError as error:
                failed = failed or error
        self._watch(mono)
        if failed is not None:
            raise failed

    def _listen_at(self, path: Path) -> None:
        fresh, unmet = self._bound(path)
        if path in self._sockets:
            self._sockets[path].close()
        self._sockets[path], self._places[path] = fresh, _place(path)
        if unmet:
            self._log.say("trouble", text=f"{path}: {unmet}")

    def _bound(self, path: Path) -> tuple[socket.socket, str]:
        """Return a socket that listens at a path, and the reason why some users can't connect, or "".

        Raises OSError.
        """
        fresh = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            unix_socket.bind(fresh, str(path))
            unmet = self._doors[path](path)
            fresh.listen(_BACKLOG)
        except OSError:
            fresh.close()
            raise
        return fresh, unmet

    def _watch(self, mono: int) -> None:
        """Watch the directory. If the kernel has no watches left, check the directory once a minute."""
        try:
            if self._inotify is None:
                self._inotify = inotify.instance()
            inotify.watch(self._inotify, str(self.directory), _MASK)
        except OSError:
            self.deadline = mono + MINUTE

    def close(self) -> None:
        """Stop listening."""
        for listener in self._sockets.values():
            listener.close()
        if self._inotify is not None:
            os.close(self._inotify)
        self._sockets, self._inotify = {}, None


def _place(path: Path) -> tuple[int, int] | None:
    """Return the identity of a file, or None if it is missing."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
