"""The processes below this process, a subreaper, and signals to all of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Iterator

from jobqueued.child.contract.text import printable
from jobqueued.child.processes.process import TICK, birth, stat, thread

_LIBC = ctypes.CDLL(None)
_PTRACE_DETACH = 17
_LIST = 4096
_MOST_LOOKS = 1000
"""Maximum children checked at once: about 3 ms."""
_MOST_STATES = 16
"""Maximum threads checked for their state: about 0.3 ms."""
_held: list[int] = []
"""The descriptor for the kernel's list of our children, or [] if this process did not call `hold_children`."""
apart: set[int] = set()
"""PIDs of our children that are not part of the run, including all processes below them: hook keepers."""


def hold_children() -> list[int]:
    """Open the kernel's list of our children, and clear `apart`. Return [descriptor], or [] if the kernel has no list.

    With this list open, `children` works even if no descriptor is free. Call this function once more after a fork,
    because the list belongs to the process that opened it.
    """
    apart.clear()
    while _held:
        os.close(_held.pop())
    with contextlib.suppress(FileNotFoundError):
        _held.append(os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC))
    return list(_held)


def children() -> list[int]:
    """Return our children, including inherited ones, except those in `apart`."""
    if not _held:
        return _children(os.getpid(), os.getpid())
    found = b""
    while more := os.pread(_held[0], _LIST, len(found)):
        found += more
    return [pid for pid in map(int, found.split()) if pid not in apart]


def ended() -> Iterator[int]:
    """Yield ended children. The caller must reap each child before it requests the next.

    Raises ChildProcessError if no child is left. Live children in `apart` do not count. A child can make us its tracer
    with PTRACE_TRACEME. The child then stops at each signal, which waitid(2) also reports. This function detaches such
    children. Children may end and stop as fast as we check, so above a limit, this function sends SIGCHLD to its own
    process and returns.
    """
    for _ in range(_MOST_LOOKS):
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            if apart and not children():  # complete, because only we reap them
                raise ChildProcessError
            return
        if found.si_code != os.CLD_TRAPPED:
            yield found.si_pid
            continue
        number = 0 if found.si_status == signal.SIGTRAP else found.si_status
        _LIBC.ptrace(_PTRACE_DETACH, found.si_pid, None, ctypes.c_void_p(number))
    os.kill(os.getpid(), signal.SIGCHLD)


def _children(pid: int, task: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def walk(pids: list[int]) -> Iterator[tuple[int, int]]:
    """Return all processes below these, each with its parent; parents come before their children."""
    return (found for found in steps(pids) if found is not None)


def steps(pids: list[int]) -> Iterator[tuple[int, int] | None]:
    """Yield the processes of `walk`, and None after each thread that was read, because there may be very many."""
    queue = list(pids)
    seen = set(queue)
    for pid in queue:
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for task in tasks:
            for child in _children(pid, int(task)):
                if child not in seen:
                    seen.add(child)
                    queue.append(child)
                    yield child, pid
            yield None


def wants_cpu(pid: int) -> bool:
    """Return whether a thread of this process or of processes below it runs or waits for a CPU.

    Checks only a few threads. A thread that waits for a disk, a lock or time does not count.
    """
    return any(state == b"R" for _, state in zip(range(_MOST_STATES), _states(pid), strict=False))


def _states(pid: int) -> Iterator[bytes]:
    """Yield the state of each thread of this process and of the processes below it (proc_pid_stat(5))."""
    queue = [pid]
    for process in queue:
        with contextlib.suppress(OSError), os.scandir(f"/proc/{process}/task") as tasks:
            for task in tasks:
                if (seen := thread(process, int(task.name))) is not None:
                    yield seen.state
                queue += _children(process, int(task.name))


def usage() -> tuple[int, int]:
    """Return the memory (bytes) and the number of tasks for all processes below us."""
    memory = tasks = 0
    ours = children()
    for pid in (found := [*ours, *(pid for pid, _parent in walk(ours))]):
        if (seen := stat(pid)) is not None:
            memory += seen.resident if len(found) == 1 else _share(pid, seen.resident)
            tasks += seen.threads
    return memory, tasks


def _share(pid: int, resident: int) -> int:
    """Return a process's memory with its part of shared pages, or its resident memory if that part is unknown."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(b"Pss:")) << 10
    return resident


def names(pids: list[int]) -> list[str]:
    """Return ``sleep (pid 12)`` for each live process. The names are escaped, because processes choose their names."""
    found = []
    for pid in pids:
        seen = stat(pid)
        if seen is not None and seen.state not in (b"Z", b"X"):
            found.append(f"{printable(seen.name.decode(errors='replace'))} (pid {pid})")
    return found


def parent(pid: int) -> int | None:
    """Return the parent of a process, or None if it exited."""
    seen = stat(pid)
    return None if seen is None else seen.parent


def age(pid: int) -> int | None:
    """Return a process's age (ns), measured with BOOTTIME, which can't be set, or None if the process exited."""
    born = birth(pid)
    return None if born is None else time.clock_gettime_ns(time.CLOCK_BOOTTIME) - born * TICK


def is_stopped(pid: int) -> bool:
    """Return whether a signal or a tracer stopped a process."""
    seen = stat(pid)
    return seen is not None and seen.state in (b"T", b"t")


def signal_all(number: int) -> None:
    """Signal our children's process groups, and the processes below them that left these groups.

    A child's group ID can't be reused until we reap the child. A process further down is reaped by its own parent, so
    its PID may be reused. Therefore we open a pidfd and re-check the process before we signal it.
    """
    ours = children()
    below = dict(walk(ours))  # first, because later a process may die and leave its children to us
    groups = {os.getpgid(child) for child in ours} - {os.getpgrp()}
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    for pid, parent in below.items():
        with contextlib.suppress(OSError):
            if os.getpgid(pid) not in groups:
                _signal_held(pid, parent, number)


def _signal_held(pid: int, parent: int, number: int) -> None:
    process = os.pidfd_open(pid)
    try:
        seen = stat(pid)
        if seen is not None and seen.parent in (parent, os.getpid()):
            signal.pidfd_send_signal(process, number)
    finally:
        os.close(process)


def end_all(until: float, longest_wait: float = float("inf")) -> bool:
    """Wait for our children, including inherited ones, and kill them at `until` (CLOCK_MONOTONIC, s).

    Return False if they can't be killed within `longest_wait` (s) after `until`.
    """
    while ours := children():
        if (left := until - time.monotonic()) <= 0:
            if left < -longest_wait:
                return False
            signal_all(signal.SIGKILL)
        one_ends(ours, max(left, 1.0))
        with contextlib.suppress(ChildProcessError):
            for pid in ended():
                os.waitpid(pid, 0)
    return True


def one_ends(pids: list[int], seconds: float) -> bool:
    """Wait until one of these children ends. Return False if none ends within `seconds`."""
    watched: list[int] = []
    try:
        watched += map(os.pidfd_open, pids)
        return bool(select.select(watched, [], [], seconds)[0])
    finally:
        for descriptor in watched:
            os.close(descriptor)
