"""The launcher: gives each attempt its R and a supervisor.

    python3 -I -S launcher.py RUNS_PARENT [--exit-when-idle] [--delegated]

Takes its listening socket as descriptor 3 (systemd's LISTEN_FDS, or the daemon's own doing).  It decides nothing: it
makes R, hands it to a supervisor of its pool, and passes on what supervisors say.  When a supervisor dies, its run is
over: the launcher, a subreaper too, inherits the job, ends it and says so.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections import deque

if __name__ == "__main__":  # run by path: find jobqueued.child beside us, after the standard library
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from jobqueued.child import budget, cgroup, spawn, supervisor, tree, wire
from jobqueued.child.cgroup import Cgroup

POOL = 8
ASKING = 4
"""The supervisors that look up users at a time."""
IDLE_SECONDS = 60.0
PATIENCE = 0.005
"""While supervisors come back this quickly, waiting for one beats forking another (a fork costs some 2 ms)."""
_LISTEN_FD = 3


class Seat:
    """One supervisor as its launcher sees it: process, socket, and the attempt it is busy with."""

    __slots__ = ("idle_since", "left", "name", "pid", "socket")

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self.socket = pid, connection
        self.name = self.left = ""
        self.idle_since = time.monotonic()


class Launcher:
    """The pool, the backlog, and the one scheduler that may give orders."""

    def __init__(self, listener: socket.socket, runs: str, home: int, *, exit_when_idle: bool) -> None:
        """`home`: where attempts have their cgroups (cgroup.prepare)."""
        self._runs, self._home, self._exit_when_idle = runs, home, exit_when_idle
        self._listener, self._common = listener, budget.common()
        self._scheduler: socket.socket | None = None
        self._lines: dict[int, tuple[socket.socket, wire.Lines]] = {}
        self._seats: dict[int, Seat] = {}
        self._idle: list[Seat] = []
        self._backlog: deque[str] = deque()
        self._questions: deque[str] = deque()
        self._lost: dict[str, tuple[int, int | None]] = {}
        self._freed = float("-inf")
        self._outbox = b""
        self._visited = False
        self._poll = select.poll()
        self._wakeups, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        self._private = [self._wakeups, wakeup]
        self._poll.register(self._wakeups, select.POLLIN)
        self._poll.register(listener, select.POLLIN)

    def serve(self) -> None:
        """Until nobody needs it any more; for ever under systemd."""
        with contextlib.suppress(OSError):  # a full process table: they are hired when they are needed
            for _ in range(POOL):
                self._idle.append(self._hire())
        while not (self._exit_when_idle and self._needless()):
            ready = [descriptor for descriptor, _bits in self._poll.poll(self._wait())]
            for descriptor in ready:
                self._take(descriptor)
            if self._wakeups in ready:
                self._reap()
            self._staff()
            self._flush()

    def _needless(self) -> bool:
        return self._visited and not (self._lines or self._backlog or self._lost or len(self._idle) < len(self._seats))

    def _take(self, descriptor: int) -> None:
        if descriptor in self._seats:
            self._hear(self._seats[descriptor])
        elif descriptor in self._lines:
            self._obey(*self._lines[descriptor])
        elif descriptor == self._listener.fileno():
            self._accept()

    def _wait(self) -> float | None:
        if self._backlog:
            return PATIENCE * 1000
        return IDLE_SECONDS * 1000 if len(self._idle) > POOL else None

    # the scheduler

    def _accept(self) -> None:
        connection, _address = self._listener.accept()
        connection.setblocking(False)
        self._visited = True
        self._lines[connection.fileno()] = connection, wire.Lines(connection)
        self._poll.register(connection, select.POLLIN)

    def _obey(self, connection: socket.socket, lines: wire.Lines) -> None:
        orders = lines.read()
        if orders is None:
            self._drop(connection)
            return
        for order in orders:
            verb, _, rest = order.partition(b" ")
            if verb == b"hello":
                self._greet(connection, int(rest))
            elif verb == b"launch" and connection is self._scheduler:
                name, _, spec = rest.partition(b" ")
                self._launch(name.decode(), spec)
            elif verb == b"user" and connection is self._scheduler:
                self._questions.append(order.decode())

    def _greet(self, connection: socket.socket, version: int) -> None:
        """From now on this is the scheduler; what an older one still has on its way is never read."""
        for other, _lines in list(self._lines.values()):
            if other is not connection:
                self._drop(other)
        if version != wire.VERSION:
            connection.send(b"version %d\n" % wire.VERSION)
            raise SystemExit(0)
        self._scheduler, self._outbox = connection, b""
        self._questions.clear()
        attempts = [seat.name for seat in self._seats.values() if seat.name and not _is_question(seat.name)]
        for name in [*self._backlog, *attempts, *self._lost]:
            self._tell(f"holds {name}")
        self._tell(f"hello {wire.VERSION} {os.getpid()} {wire.cgroups(cgroup.controllers(self._home))}")

    def _drop(self, connection: socket.socket) -> None:
        self._poll.unregister(connection)
        del self._lines[connection.fileno()]
        if connection is self._scheduler:
            self._scheduler = None
            self._questions.clear()
        connection.close()

    def _tell(self, notice: str) -> None:
        if self._scheduler is not None:
            self._outbox += notice.encode() + b"\n"

    def _flush(self) -> None:
        if self._scheduler is None or not self._outbox:
            return
        try:
            sent = self._scheduler.send(self._outbox)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # its end of file comes with the next poll
        self._outbox = self._outbox[sent:]
        self._poll.modify(self._scheduler, select.POLLIN | (select.POLLOUT if self._outbox else 0))

    # attempts

    def _launch(self, name: str, spec: bytes) -> None:
        try:
            self._make_directory(name)
        except FileExistsError:
            self._tell(f"known {name}")
            return
        except OSError as error:
            self._tell(f"unstarted {name} {self._runs}: {error.strerror}")
            return
        try:
            self._write_spec(name, spec)
        except OSError as error:
            self._tell(f"unstarted {name} {self._runs}: {error.strerror}")
            return
        self._backlog.append(name)

    def _make_directory(self, name: str) -> None:
        os.mkdir(f"{self._runs}/{name}", 0o700)

    def _write_spec(self, name: str, spec: bytes) -> None:
        directory = wire.open_directory(f"{self._runs}/{name}")
        try:
            wire.write_mark(directory, wire.SPEC, spec + b"\n")
        finally:
            os.close(directory)

    def _staff(self) -> None:
        """Hand the backlog to idle supervisors; hire one more a turn when none is about to come back."""
        while self._backlog and (self._idle or time.monotonic() - self._freed > PATIENCE):
            hired = not self._idle
            if hired:
                try:
                    self._idle.append(self._hire())
                except OSError:
                    return  # EAGAIN, ENOMEM: those who are busy will come back
            self._hand_over(self._backlog.popleft(), self._idle.pop())
            if hired:
                return
        self._ask()
        self._dismiss()

    def _ask(self) -> None:
        """Questions come after attempts, and a user database that hangs holds few supervisors."""
        asking = sum(_is_question(seat.name) for seat in self._seats.values())
        if self._questions and not self._idle and len(self._seats) < POOL:
            with contextlib.suppress(OSError):
                self._idle.append(self._hire())
        while self._questions and self._idle and asking < ASKING:
            seat = self._idle.pop()
            seat.name = self._questions.popleft()
            with contextlib.suppress(OSError):  # it is dead, and its SIGCHLD on the way
                seat.socket.send(seat.name.encode())
            asking += 1

    def _hand_over(self, name: str, seat: Seat) -> None:
        try:
            directory = wire.open_directory(f"{self._runs}/{name}")
        except OSError as error:
            self._idle.append(seat)
            self._tell(f"unstarted {name} {error.strerror}")
            return
        try:
            socket.send_fds(seat.socket, [name.encode()], [directory])
            seat.name = name
        except OSError:  # it is dead, and its SIGCHLD on the way
            self._backlog.appendleft(name)
        finally:
            os.close(directory)

    def _hear(self, seat: Seat) -> None:
        try:
            notice = seat.socket.recv(wire.NOTICE)
        except BlockingIOError:
            return
        except OSError:
            notice = b""
        if not notice:
            with contextlib.suppress(KeyError):
                self._poll.unregister(seat.socket)  # SIGCHLD tells the rest
            return
        verb, _, rest = notice.partition(b" ")
        if verb == b"left":
            notice = b"ended " + rest
        if verb != b"idle":
            self._tell(notice.decode(errors="replace"))
        if verb in (b"started", b"stopping"):
            return
        if verb in (b"ended", b"left") and self._scheduler is None:
            with contextlib.suppress(OSError):
                seat.socket.send(b"sync")
        seat.name = ""
        if verb == b"left":
            seat.left = rest.decode()
        else:
            seat.idle_since = self._freed = time.monotonic()
            self._idle.append(seat)

    # supervisors

    def _hire(self) -> Seat:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if not pid:
            supervisor.become(theirs, self._common, self._home, [ours.fileno(), *self._own_descriptors()])
        theirs.close()
        ours.setblocking(False)
        seat = self._seats[ours.fileno()] = Seat(pid, ours)
        self._poll.register(ours, select.POLLIN)
        return seat

    def _own_descriptors(self) -> list[int]:
        """Those of ours that no supervisor has a use for."""
        lines = [connection.fileno() for connection, _lines in self._lines.values()]
        return [*self._private, self._listener.fileno(), *lines, *self._seats]

    def _dismiss(self) -> None:
        """Over POOL idle supervisors are sent home after IDLE_SECONDS; a closed socket tells them."""
        before = time.monotonic() - IDLE_SECONDS
        while len(self._idle) > POOL and self._idle[0].idle_since < before:
            self._part(self._idle.pop(0))

    def _part(self, seat: Seat) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(seat.socket)
        self._seats.pop(seat.socket.fileno(), None)
        seat.socket.close()

    def _reap(self) -> None:
        """Dead supervisors end their runs; what they leave comes to us and is killed, generation by generation."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeups, 512)
        with contextlib.suppress(ChildProcessError):
            while (pid := tree.ended()) is not None:
                self._bury(*os.waitpid(pid, 0))
        self._end_strays()

    def _bury(self, pid: int, status: int) -> None:
        for seat in list(self._seats.values()):
            if seat.pid == pid:
                self._hear_out(seat)
                self._part(seat)
                if seat in self._idle:
                    self._idle.remove(seat)
                if _is_question(seat.name):
                    self._questions.append(seat.name)
                elif seat.name:
                    self._lose(seat.name)
                elif seat.left:  # it has its record; what it left has nobody any more
                    self._lost[seat.left] = -1, None
                return
        for name, (main, _none) in self._lost.items():
            if main == pid:
                self._lost[name] = main, status

    def _hear_out(self, seat: Seat) -> None:
        """Take what it said before it died, which still counts."""
        while select.select([seat.socket], [], [], 0)[0]:
            busy = seat.name
            self._hear(seat)
            if not busy or seat.name:
                return

    def _lose(self, name: str) -> None:
        """Tell how far the attempt came whose supervisor is dead."""
        try:
            directory = wire.open_directory(f"{self._runs}/{name}")
        except FileNotFoundError:  # recovered already, or a person removed it
            self._lost[name] = 0, None
            return
        try:
            if wire.read_whole(directory, wire.ENDED) is not None:
                self._tell(f"ended {name}")
            elif not wire.may_have_started(directory):
                self._tell(f"unstarted {name} supervisor died")
            else:
                mark = wire.PidMark.parse(wire.read_mark(directory, wire.PID) or b"")
                self._lost[name] = (0 if mark is None else mark.pid), None
        finally:
            os.close(directory)

    def _end_strays(self) -> None:
        """Kill every child that is no supervisor; when none is left, the lost runs are over."""
        if not self._lost:
            return
        supervisors = {seat.pid for seat in self._seats.values()}
        strays = [pid for pid in tree.children() if pid not in supervisors]
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for name in self._lost:
            Cgroup.find(self._home, name).remove(0)
        if not strays:
            for name, (main, status) in self._lost.items():
                if main >= 0:
                    self._tell_lost(name, "-" if status is None else str(status))
            self._lost.clear()

    def _tell_lost(self, name: str, status: str) -> None:
        with contextlib.suppress(OSError):
            directory = wire.open_directory(f"{self._runs}/{name}")
            wire.write_mark(directory, wire.LOST, status.encode())
            os.close(directory)
        self._tell(f"lost {name} {status}")


def _is_question(name: str) -> bool:
    return name.startswith(supervisor.QUESTION)


def runs_of_this_boot(parent: str) -> str:
    """The parent of all R's of this boot; those of another boot are not looked at."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return os.path.join(parent, file.read().strip())


def main(arguments: list[str]) -> None:
    """Set the process up and serve."""
    runs = runs_of_this_boot(arguments[0])
    os.makedirs(runs, 0o711, exist_ok=True)
    os.umask(0o022)
    os.chdir("/")
    spawn.call_ourselves("jq-launcher")
    os.closerange(_LISTEN_FD + 1, 1 << 16)  # whatever our starter forgot to close is not for jobs
    wire.limit_files(None)
    spawn.forgo_oom_protection()
    spawn.become_subreaper()
    home = cgroup.prepare(delegated="--delegated" in arguments)
    listener = socket.socket(fileno=_LISTEN_FD)
    listener.set_inheritable(False)
    Launcher(listener, runs, home, exit_when_idle="--exit-when-idle" in arguments).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
