"""The other modules of the simulated host's programs: time, select, signal and resource, open, and paths."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import PosixPath
from types import SimpleNamespace
from typing import Any

from tests.simulation.entries import PidFile, fails
from tests.simulation.kernel import SECOND, Open
from tests.simulation.system import FakeOs, System

_IN, _OUT, _HUP, _NVAL = select.POLLIN, select.POLLOUT, select.POLLHUP, select.POLLNVAL


class FakeTime:
    """The module time."""

    CLOCK_BOOTTIME, CLOCK_REALTIME, CLOCK_MONOTONIC = time.CLOCK_BOOTTIME, time.CLOCK_REALTIME, time.CLOCK_MONOTONIC

    def __init__(self, system: System) -> None:
        self._kernel = system.kernel

    def time_ns(self) -> int:
        """The wall clock."""
        self._kernel.look_at_clock()
        return self._kernel.wall

    def time(self) -> float:
        """The same in seconds."""
        return self.time_ns() / SECOND

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        self._kernel.look_at_clock()
        return self._kernel.since_boot

    def monotonic(self) -> float:
        """The same in seconds."""
        return self.monotonic_ns() / SECOND

    def clock_gettime_ns(self, clock: int) -> int:
        """Of BOOTTIME."""
        assert clock == time.CLOCK_BOOTTIME
        return self.monotonic_ns() + self._kernel.asleep

    def clock_gettime(self, clock: int) -> float:
        """The same in seconds."""
        return self.clock_gettime_ns(clock) / SECOND

    def sleep(self, seconds: float) -> None:
        """As sleep(3)."""
        self._kernel.enter("sleep")
        self._kernel.block(lambda: False, self._kernel.mono + int(seconds * SECOND))


class Poll:
    """As select.poll."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._bits: dict[int, int] = {}

    def register(self, it: Any, bits: int) -> None:
        """As poll.register."""
        self._bits[it if isinstance(it, int) else it.fileno()] = bits

    modify = register

    def unregister(self, it: Any) -> None:
        """As poll.unregister."""
        del self._bits[it if isinstance(it, int) else it.fileno()]

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        """As poll.poll."""
        kernel = self._system.kernel
        process = kernel.enter("poll")
        table, wanted = process.fds, self._bits

        def found() -> list[tuple[int, int]]:
            return [(number, bits) for number in wanted if (bits := _ready(table.get(number), wanted[number]))]

        ready = found()
        if not ready and (milliseconds is None or milliseconds > 0):
            deadline = None if milliseconds is None else kernel.mono + int(milliseconds * 1_000_000)
            kernel.block(lambda: any(_ready(table.get(number), wanted[number]) for number in wanted), deadline)
            ready = found()
        return ready


def _ready(it: Open | None, bits: int) -> int:
    if it is None:
        return _NVAL
    found = _IN if bits & _IN and it.readable() else 0
    if bits & _OUT and it.writable():
        found |= _OUT
    return found | _HUP if it.hung() else found


class FakeSelect:
    """The module select."""

    POLLIN, POLLOUT, POLLPRI, POLLHUP = select.POLLIN, select.POLLOUT, select.POLLPRI, select.POLLHUP

    def __init__(self, system: System) -> None:
        self._system = system

    def poll(self) -> Poll:
        """As select.poll."""
        return Poll(self._system)

    def select(
        self, readers: list[Any], _writers: list[Any], _others: list[Any], seconds: float | None = None
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """As select.select, of readers."""
        poll = self.poll()
        for each in readers:
            poll.register(each, select.POLLIN)
        ready = {number for number, _bits in poll.poll(None if seconds is None else seconds * 1000)}
        return [each for each in readers if (each if isinstance(each, int) else each.fileno()) in ready], [], []


class FakeSignal:
    """The module signal."""

    def __init__(self, system: System) -> None:
        self._system, self._kernel = system, system.kernel

    def __getattr__(self, name: str) -> Any:
        value = getattr(signal, name)
        setattr(self, name, value)
        return value

    def signal(self, _number: int, _handler: object) -> None:
        """Handlers only wake who waits."""

    def alarm(self, _seconds: int) -> None:
        """Nothing hangs here."""

    def pthread_sigmask(self, _how: int, _signals: object) -> None:
        """Signals come by the descriptors that they wake."""

    def set_wakeup_fd(self, number: int, *, warn_on_full_buffer: bool = True) -> None:
        """Have signals wake this descriptor."""
        process = self._system.process()
        process.wakeup = process.fds[number]

    def pidfd_send_signal(self, number: int, which: int) -> None:
        """As pidfd_send_signal(2)."""
        self._kernel.enter("kill")
        it = self._system.process().fds[number]
        assert isinstance(it, PidFile)
        self._kernel.kill(it.process, which)


class FakeResource:
    """The module resource."""

    RLIMIT_NOFILE, RUSAGE_SELF = 7, 0
    struct_rusage = SimpleNamespace

    def getrlimit(self, _which: int) -> tuple[int, int]:
        """As getrlimit(2)."""
        return 1024, 1024

    def setrlimit(self, _which: int, _limits: tuple[int, int]) -> None:
        """As setrlimit(2)."""

    def getrusage(self, _who: int) -> Any:
        """As getrusage(2)."""
        return SimpleNamespace(ru_maxrss=1024)


class Stream(io.BytesIO):
    """An open file as Python has it."""

    def __init__(self, fake: FakeOs, number: int, *, writes: bool, closes: bool) -> None:
        super().__init__(b"" if writes else fake._system.file(number).inode.data)
        self._fake, self._number, self._writes, self._closes = fake, number, writes, closes

    def fileno(self) -> int:
        """The descriptor."""
        return self._number

    def close(self) -> None:
        """Write what is to be written, and close."""
        if not self.closed:
            data = self.getvalue() if self._writes else b""
            super().close()
            if data:
                self._fake.write(self._number, data)
            if self._closes:
                self._fake.close(self._number)


def opener(fake: FakeOs) -> Callable[..., Any]:
    """The function open, for descriptors and for paths."""

    def opened(it: Any, mode: str = "r", _buffering: int = -1, *, closefd: bool = True, **_: Any) -> Any:
        if not isinstance(it, int):
            if os.fspath(it).startswith("/proc/"):
                raise fails(errno.ENOENT, os.fspath(it))
            it = fake.open(it, os.O_RDONLY)
        return Stream(fake, it, writes="w" in mode, closes=closefd)

    return opened


class FakePosixPath(PosixPath):
    """A path on the simulated host."""

    fake: FakeOs

    def unlink(self, missing_ok: bool = False) -> None:
        """As Path.unlink."""
        try:
            self.fake.unlink(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def exists(self, **_: Any) -> bool:
        """As Path.exists."""
        return self.fake.path.exists(str(self))

    def stat(self, **_: Any) -> os.stat_result:
        """As Path.stat."""
        return self.fake.stat(str(self))

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """As Path.mkdir."""
        (self.fake.makedirs if parents else self.fake.mkdir)(str(self), mode)

    def glob(self, *_: Any, **__: Any) -> Iterator[Any]:
        """Nothing."""
        return iter(())

    def absolute(self) -> FakePosixPath:
        """It is."""
        return self
