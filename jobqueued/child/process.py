"""A process as /proc/PID/stat tells of it (proc_pid_stat(5))."""

from __future__ import annotations

import contextlib
import os
import select

from jobqueued.child.tuples import NamedTuple

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of the unit in which the kernel tells when a process was started."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Stat(NamedTuple):
    """One reading.  `birth`: ticks of CLOCK_BOOTTIME; `resident`: bytes."""

    name: bytes
    state: bytes
    parent: int
    session: int
    threads: int
    birth: int
    resident: int


def stat(pid: int) -> Stat | None:
    """Read it; None: no such process."""
    return _stat(f"/proc/{pid}/stat")


def thread(pid: int, task: int) -> Stat | None:
    """Read that of one of its threads; None: no such thread."""
    return _stat(f"/proc/{pid}/task/{task}/stat")


def _stat(path: str) -> Stat | None:
    try:
        with open(path, "rb") as file:
            return parsed(file.read())
    except OSError:
        return None


def parsed(line: bytes) -> Stat:
    """Take the line of /proc/PID/stat apart."""
    head, _, rest = line.rpartition(b") ")  # a name may hold any byte
    fields = rest.split()  # from the state on: field n of the manual page is fields[n - 3]
    return Stat(
        head.partition(b"(")[2], fields[0], int(fields[1]), int(fields[3]), int(fields[17]), int(fields[19]),
        int(fields[21]) * _PAGE,
    )  # fmt: skip


def arguments() -> tuple[int, int]:
    """The address and the size of this process's own arguments; 0 where the kernel does not tell."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return 0, 0
    start, end = int(fields[48 - 3]), int(fields[49 - 3])
    return start, end - start if start else 0


def birth(pid: int) -> int | None:
    """The instant at which a process was started, in ticks since boot; with the pid it names the process for ever."""
    found = stat(pid)
    return None if found is None else found.birth


def is_stuck(pid: int) -> bool:
    """True if it is in a system call that nothing interrupts, as that of a file system that does not answer."""
    found = stat(pid)
    return found is not None and found.state == b"D"


def is_over(pid: int, beside: int, seconds: float) -> bool:
    """Wait so long for a child to end, or a descriptor to become readable; True: it has ended, and is not reaped."""
    descriptor = os.pidfd_open(pid)
    try:
        return descriptor in select.select([descriptor, beside], [], [], seconds)[0]
    finally:
        os.close(descriptor)


def is_reaped(pid: int, seconds: float) -> bool:
    """Wait so long for a child to end, and reap it; False: it lives, or it is told later."""
    with contextlib.suppress(ChildProcessError):
        descriptor = os.pidfd_open(pid)
        try:
            if not select.select([descriptor], [], [], seconds)[0]:
                return False
        finally:
            os.close(descriptor)
        os.waitpid(pid, 0)
    return True
