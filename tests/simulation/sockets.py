"""Pipes, sockets and timers of the simulated host, as programs have them: descriptors and Python's sockets."""

from __future__ import annotations

import errno
import os
import socket as real
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.kernel import Kernel, Open, Process

if TYPE_CHECKING:
    from tests.simulation.files import Inode
    from tests.simulation.system import System

_ROOM = 1 << 18
_BACKLOG = 128


class Pipe(Open):
    """The bytes of a pipe, and its reading end."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel, self.data, self.writers = kernel, b"", PipeEnd(self)

    def put(self, data: bytes) -> None:
        """Write into it."""
        self.data += data

    def readable(self) -> bool:
        """Bytes, or the end."""
        return bool(self.data) or not self.writers.holders

    def hung(self) -> bool:
        """Nobody writes any more."""
        return not self.writers.holders


class PipeEnd(Open):
    """The writing end of a pipe."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self.pipe = pipe

    def put(self, data: bytes) -> None:
        """Write into it."""
        self.pipe.put(data)

    def closed(self) -> None:
        """The reader finds the end."""
        self.pipe.kernel.notify(self.pipe)


class Timer(Open):
    """A timer of the wall clock, which rings, or is cancelled when somebody sets that."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel
        self.armed: int | None = None
        self.seen = kernel.steps_of_clock
        kernel.wall_timers[self] = None

    def arm(self, wall: int) -> bool:
        """False: the clock was set since the last call."""
        if self.seen != self.kernel.steps_of_clock:
            self.seen = self.kernel.steps_of_clock
            return False
        self.armed = wall
        self.wind()
        return True

    def wind(self) -> None:
        """Have the kernel look when it is to ring."""
        if self.armed is not None:
            self.kernel.at(self.armed - self.kernel.offset, lambda: self.kernel.notify(self))

    def closed(self) -> None:
        """Ring no more."""
        del self.kernel.wall_timers[self]

    def readable(self) -> bool:
        """It rings, or the clock was set."""
        return self.armed is not None and (self.kernel.wall >= self.armed or self.seen != self.kernel.steps_of_clock)

    def rang(self) -> None:
        """Take note of it; OSError: it was cancelled."""
        self.armed = None
        if self.seen != self.kernel.steps_of_clock:
            self.seen = self.kernel.steps_of_clock
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


class End(Open):
    """One end of a connection; `packets`: each message is one, with descriptors beside it."""

    def __init__(self, kernel: Kernel, owner: int, *, packets: bool) -> None:
        super().__init__()
        self.kernel, self.packets, self.owner = kernel, packets, owner
        self.peer: End | None = None
        self.inbox: deque[tuple[bytes, tuple[Open, ...]]] = deque()
        self.size = 0
        self.reset = False

    def readable(self) -> bool:
        """A message, or the end."""
        return bool(self.inbox) or self.peer is None

    def writable(self) -> bool:
        """Room at the other side."""
        return self.peer is None or self.peer.size < _ROOM

    def hung(self) -> bool:
        """The other side is gone."""
        return self.peer is None

    def closed(self) -> None:
        """Hang up: what was not read makes the other side see a reset."""
        peer, self.peer = self.peer, None
        unread = bool(self.inbox)
        for _data, held in self.inbox:
            for it in held:
                _let_go(it)
        self.inbox.clear()
        if peer is not None:
            peer.peer, peer.reset = None, unread
            self.kernel.notify(peer)


def _let_go(it: Open) -> None:
    """A descriptor on its way is nobody's any more."""
    it.holders.pop(IN_FLIGHT, None)
    if not it.holders:
        it.closed()


IN_FLIGHT = Process(0, "in flight", 0, 0)


class Listener(Open):
    """A listening socket."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel, self.backlog, self.listens = kernel, deque[End](), False
        self.called: Callable[[], None] = lambda: None
        """Hears of each connection, as PID 1 does."""

    def readable(self) -> bool:
        """Somebody has connected."""
        return bool(self.backlog)

    def closed(self) -> None:
        """Whoever waits is turned away."""
        self.listens = False
        while self.backlog:
            self.backlog.popleft().closed()


def pair(kernel: Kernel, *, packets: bool, owners: tuple[int, int] = (0, 0)) -> tuple[End, End]:
    """Two ends of a connection; `owners` are their processes."""
    one, other = End(kernel, owners[0], packets=packets), End(kernel, owners[1], packets=packets)
    one.peer, other.peer = other, one
    return one, other


class Socket:
    """A socket as Python has it; of a listener, a connection, or neither yet."""

    def __init__(self, system: System, fileno: int | None = None, *, packets: bool = False) -> None:
        self._system, self._kernel, self._packets = system, system.kernel, packets
        self._number = -1 if fileno is None else fileno
        if fileno is None:
            process = self._kernel.enter("socket")
            self._number = self._kernel.open(End(self._kernel, process.pid, packets=packets))

    def _it(self) -> Any:
        process = self._kernel.current
        assert process is not None
        it = process.fds.get(self._number)
        if it is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return it

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor; -1: it is closed."""
        return self._number

    def close(self) -> None:
        """Close it."""
        if self._number >= 0:
            self._kernel.enter("close")
            number, self._number = self._number, -1
            self._kernel.close(number)

    def setblocking(self, _blocks: bool) -> None:
        """Nobody here waits in a read but a supervisor for its orders."""

    def set_inheritable(self, _inheritable: bool) -> None:
        """Descriptors are inherited by name only."""

    def getsockopt(self, _level: int, _option: int, _size: int = 0) -> bytes:
        """SO_PEERCRED."""
        peer = self._it().peer
        return struct.pack("3i", 0 if peer is None else peer.owner, 0, 0)

    # who listens

    def bind(self, path: str) -> None:
        """Make a socket with a name."""
        directory, name = self._system.place(path)
        self._kernel.enter("bind")
        self._system.check_room(directory)
        if name in directory.entries:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        it = self._system.files.make("s", directory.disk, 0o700, self._kernel.wall)
        process = self._kernel.current
        assert process is not None
        self._kernel.close(self._number)
        it.listener = Listener(self._kernel)
        self._kernel.open(it.listener, number=self._number)
        self._system.put(directory, name, it)

    def listen(self, _backlog: int = 0) -> None:
        """Take connections from now on."""
        self._kernel.enter("listen")
        self._it().listens = True

    def accept(self) -> tuple[Socket, str]:
        """Take the first that waits; BlockingIOError."""
        process = self._kernel.enter("accept")
        listener = self._it()
        if not listener.backlog:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        end = listener.backlog.popleft()
        end.owner = process.pid
        return Socket(self._system, self._kernel.open(end)), ""

    # who connects

    def connect(self, path: str) -> None:
        """Connect to who listens there; OSError."""
        inode: Inode = self._system.inode(path)
        process = self._kernel.enter("connect")
        listener = inode.listener
        if not isinstance(listener, Listener) or not listener.listens:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        if len(listener.backlog) >= _BACKLOG:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        ours: End = self._it()
        theirs = End(self._kernel, next(iter(listener.holders)).pid, packets=False)
        ours.peer, theirs.peer, ours.owner = theirs, ours, process.pid
        listener.backlog.append(theirs)
        listener.called()
        self._kernel.notify(listener)

    # what is said

    def send(self, data: bytes, _flags: int = 0, held: tuple[Open, ...] = ()) -> int:
        """Send a part of it at least; OSError."""
        self._kernel.enter("send")
        end: End = self._it()
        peer = end.peer
        if peer is None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if peer.size >= _ROOM:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        data = bytes(data)
        for it in held:
            it.holders[IN_FLIGHT] = 1
        peer.inbox.append((data, held))
        peer.size += len(data)
        self._kernel.notify(peer)
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self.send(data)

    def recv(self, size: int) -> bytes:
        """Read what is there; BlockingIOError, or ConnectionResetError."""
        return self.recvmsg(size)[0]

    def recvmsg(
        self, size: int, _ancillary: int = 0, _flags: int = 0
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        """The same with descriptors; it waits where packets are read, as supervisors do."""
        self._kernel.enter("recv")
        end: End = self._it()
        if end.packets and _ancillary:
            while not end.readable():
                self._kernel.block(end.readable, None)
        if not end.inbox:
            if end.peer is not None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            if end.reset:
                end.reset = False
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            return b"", [], 0, None
        data, held = end.inbox.popleft()
        if not end.packets:
            while end.inbox and len(data) < size:
                data += end.inbox.popleft()[0]
            if len(data) > size:
                end.inbox.appendleft((data[size:], ()))
                data = data[:size]
        end.size -= len(data)
        if end.peer is not None:
            self._kernel.notify(end.peer)
        ancillary = []
        for it in held:
            number = self._kernel.open(it)
            it.holders.pop(IN_FLIGHT, None)
            ancillary.append((real.SOL_SOCKET, real.SCM_RIGHTS, number.to_bytes(4, "little")))
        return data, ancillary, 0, None


class Sockets:
    """The module `socket` as simulated programs have it."""

    AF_UNIX, SOCK_STREAM, SOCK_SEQPACKET = real.AF_UNIX, real.SOCK_STREAM, real.SOCK_SEQPACKET
    SOCK_NONBLOCK, SOL_SOCKET, SO_PEERCRED = real.SOCK_NONBLOCK, real.SOL_SOCKET, real.SO_PEERCRED
    CMSG_SPACE = staticmethod(real.CMSG_SPACE)

    def __init__(self, system: System) -> None:
        self._system = system

    def socket(self, _family: int = 0, _kind: int = 0, fileno: int | None = None) -> Socket:
        """A socket of a descriptor, or a new one."""
        return Socket(self._system, fileno)

    def socketpair(self, _family: int, kind: int) -> tuple[Socket, Socket]:
        """Two connected ones."""
        kernel = self._system.kernel
        process = kernel.enter("socketpair")
        ends = pair(kernel, packets=kind == real.SOCK_SEQPACKET, owners=(process.pid, process.pid))
        one, other = (Socket(self._system, kernel.open(end)) for end in ends)
        return one, other

    def send_fds(self, connection: Socket, data: list[bytes], descriptors: list[int]) -> int:
        """Send with descriptors."""
        process = self._system.kernel.current
        assert process is not None
        return connection.send(data[0], 0, tuple(process.fds[number] for number in descriptors))
