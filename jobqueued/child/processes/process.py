"""Facts about a process from /proc/PID/stat (proc_pid_stat(5))."""

from __future__ import annotations

import contextlib
import os
import select

from jobqueued.child.contract.tuples import NamedTuple

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds per tick, the unit of start times in /proc."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Stat(NamedTuple):
    """A reading of /proc/PID/stat. `birth`: start time in ticks of CLOCK_BOOTTIME. `resident`: bytes."""

    name: bytes
    state: bytes
    parent: int
    session: int
    threads: int
    birth: int
    resident: int


def stat(pid: int) -> Stat | None:
    """Return a process's figures, or None if the process does not exist."""
    return _stat(f"/proc/{pid}/stat")


def thread(pid: int, task: int) -> Stat | None:
    """Return a thread's figures, or None if the thread does not exist."""
    return _stat(f"/proc/{pid}/task/{task}/stat")


def _stat(path: str) -> Stat | None:
    try:
        with open(path, "rb") as file:
            return parsed(file.read())
    except OSError:
        return None


def parsed(line: bytes) -> Stat:
    """Parse the line of /proc/PID/stat."""
    head, _, rest = line.rpartition(b") ")  # a name may contain any byte
    fields = rest.split()  # field n in the manual page is fields[n - 3]
    return Stat(
        head.partition(b"(")[2],
        fields[0],
        int(fields[1]),
        int(fields[3]),
        int(fields[17]),
        int(fields[19]),
        int(fields[21]) * _PAGE,
    )


def arguments() -> tuple[int, int]:
    """Return the address and size of this process's arguments, or zeros if the kernel does not show them."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return 0, 0
    start, end = int(fields[48 - 3]), int(fields[49 - 3])
    return start, end - start if start else 0


def birth(pid: int) -> int | None:
    """Return the start of a process in ticks since boot, or None. The start and the PID together identify a process."""
    found = stat(pid)
    return None if found is None else found.birth


def is_stuck(pid: int) -> bool:
    """Return whether a process is in an uninterruptible system call, such as on an unresponsive file system."""
    found = stat(pid)
    return found is not None and found.state == b"D"


def is_over(pid: int, beside: int, seconds: float) -> bool:
    """Wait until a child ends or the descriptor `beside` is readable.

    Return whether the child ended; do not reap it.
    """
    descriptor = os.pidfd_open(pid)
    try:
        return descriptor in select.select([descriptor, beside], [], [], seconds)[0]
    finally:
        os.close(descriptor)


def is_reaped(pid: int, seconds: float) -> bool:
    """Wait at most `seconds` for a child to end, and reap it. Return False if the child is still alive."""
    with contextlib.suppress(ChildProcessError):
        descriptor = os.pidfd_open(pid)
        try:
            if not select.select([descriptor], [], [], seconds)[0]:
                return False
        finally:
            os.close(descriptor)
        os.waitpid(pid, 0)
    return True
