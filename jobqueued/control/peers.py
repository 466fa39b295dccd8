"""The peers: the process on the other side, as the kernel says, and what it may do by that."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterator

from jobqueued.child.tuples import NamedTuple
from jobqueued.control.access import Rank
from jobqueued.settings import OPERATORS, Settings
from jobqueued.users import Owner

_SO_PEERGROUPS, _SO_PEERPIDFD = 59, 77


class Peer(NamedTuple):
    """The process on the other side, as the kernel says."""

    uid: int
    gids: frozenset[int]
    pid: int = 0
    process: int = -1
    """A descriptor of it, whatever number it has by now (pidfd_open(2)); -1: there is none."""
    owner: Owner | None = None
    """The user by number and name; None: the name is not known yet, or the host has no such user."""

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """SO_PEERCRED and SO_PEERGROUPS of a connected Unix socket (unix(7))."""
        pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        groups = b""
        with contextlib.suppress(OSError):  # in more groups than Python can ask for: only the first counts
            groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
        return cls(uid, frozenset({gid, *struct.unpack(f"{len(groups) // 4}I", groups)}), pid)

    def followed(self, connection: socket.socket, is_spare: Callable[[int], bool]) -> Peer:
        """The peer with a descriptor of its process, if a spare one can be had; who closes that is the caller."""
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
            if error.errno != errno.ENOPROTOOPT:  # a kernel before 6.5, which has it by the number only
                raise
        process = os.pidfd_open(self.pid)
        try:
            is_theirs = os.stat(f"/proc/{self.pid}").st_uid in (self.uid, 0)  # 0: it can't be looked into
        except OSError:
            is_theirs = False
        if not is_theirs:
            os.close(process)
        return process if is_theirs else -1

    @property
    def name(self) -> str:
        """For the record; no look-up, which may hang."""
        return "root" if self.uid == 0 else f"uid {self.uid}"


class Access(NamedTuple):
    """The groups whose members are operators and readers, by their numbers.

    `notifier`: the user as which notices are sent (-1: there is none), who reads output as a member of a group, and has
    no business with runs: libraries that speak with foreign hosts run as it.
    """

    operators: frozenset[int]
    readers: frozenset[int]
    notifier: int = -1

    @classmethod
    def of(cls, settings: Settings) -> tuple[Access, list[str]]:
        """Look the groups of the settings up, which may hang; beside them what is wrong with those that were named."""
        troubles: list[str] = []
        operators, readers = (frozenset(_numbers(key, getattr(settings, key), troubles)) for key in cls._fields[:2])
        with contextlib.suppress(KeyError):
            return cls(operators, readers, pwd.getpwnam(settings.notifier).pw_uid), troubles
        return cls(operators, readers), troubles

    def rank(self, peer: Peer) -> Rank:
        """The rank of a peer."""
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
            if names != OPERATORS:  # the default: a host without that group has no operators but root
                text = f"{key} of jobqueued.yaml: this host has no group {name}; add it, and restart jobqueued"
                troubles.append(text)
