"""Peers: the process on the other side of a connection, as the kernel reports it, and its rank."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterator

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.protocol.access import Rank
from jobqueued.model.users import Owner
from jobqueued.settings.settings import OPERATORS, Settings

_SO_PEERGROUPS, _SO_PEERPIDFD = 59, 77


class Peer(NamedTuple):
    """The process on the other side of a connection, as the kernel reports it."""

    uid: int
    gids: frozenset[int]
    pid: int = 0
    process: int = -1
    """A pidfd of the process (pidfd_open(2)), or -1 if unavailable."""
    owner: Owner | None = None
    """The process's user, or None if the user's name is not known yet or the host has no such user."""

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """Return the peer from SO_PEERCRED and SO_PEERGROUPS of a connected Unix socket (unix(7))."""
        pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        groups = b""
        with contextlib.suppress(OSError):  # too many groups for Python: only the primary group counts
            groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
        return cls(uid, frozenset({gid, *struct.unpack(f"{len(groups) // 4}I", groups)}), pid)

    def followed(self, connection: socket.socket, is_spare: Callable[[int], bool]) -> Peer:
        """Return the peer with a pidfd of its process, if a descriptor is free; the caller must close the pidfd."""
        process = -1
        with contextlib.suppress(OSError, OverflowError):
            process = self._process(connection)
        if process >= 0 and not is_spare(process):
            os.close(process)
            process = -1
        return self._replace(process=process)

    def _process(self, connection: socket.socket) -> int:
        try:
            return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:  # kernels before 6.5 provide only the PID
                raise
        process = os.pidfd_open(self.pid)
        try:
            is_theirs = os.stat(f"/proc/{self.pid}").st_uid in (self.uid, 0)  # 0 if /proc/PID may not be inspected
        except OSError:
            is_theirs = False
        if not is_theirs:
            os.close(process)
        return process if is_theirs else -1

    @property
    def name_or_uid(self) -> str:
        """The user's name, or the UID if no name is known."""
        return str(self.uid) if self.owner is None else self.owner.name

    @property
    def name(self) -> str:
        """The user's name for records, without a look-up, which may hang."""
        return "root" if self.uid == 0 else f"uid {self.uid}"


class Access(NamedTuple):
    """The groups (GIDs) whose members are operators and readers.

    `notifier`: UID of the user that sends notices, or -1 if no such user exists. This user is in a group so that it can
    read output. It must not act on runs, because libraries that talk to other hosts run as this user.
    """

    operators: frozenset[int]
    readers: frozenset[int]
    notifier: int = -1

    @classmethod
    def of(cls, settings: Settings) -> tuple[Access, list[str]]:
        """Look up the groups in the settings, which may hang. Return the access, and the problems with groups."""
        troubles: list[str] = []
        operators, readers = (frozenset(_numbers(key, getattr(settings, key), troubles)) for key in cls._fields[:2])
        with contextlib.suppress(KeyError):
            return cls(operators, readers, pwd.getpwnam(settings.notifier).pw_uid), troubles
        return cls(operators, readers), troubles

    def rank(self, peer: Peer) -> Rank:
        """Return the rank of a peer."""
        if peer.uid in (0, os.geteuid()):
            return Rank.ROOT
        if peer.gids & self.operators:
            return Rank.READER if peer.uid == self.notifier else Rank.OPERATOR
        return Rank.READER if peer.gids & self.readers else Rank.STRANGER


def _numbers(key: str, names: tuple[str, ...], troubles: list[str]) -> Iterator[int]:
    for name in names:
        try:
            yield grp.getgrnam(name).gr_gid
        except KeyError:
            if names != OPERATORS:  # without the default group, only root is an operator
                text = f"{key} of jobqueued.yaml: this host has no group {name}; add it, and restart jobqueued"
                troubles.append(text)
