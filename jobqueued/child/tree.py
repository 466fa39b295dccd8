"""The processes below this one, and how they are all signalled: the subreaper's view of a run."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Iterator

from jobqueued.child.process import TICK, birth, stat, thread
from jobqueued.child.text import printable

_LIBC = ctypes.CDLL(None)
_PTRACE_DETACH = 17
_LIST = 4096
_MOST_LOOKS = 1000
"""Some 3 ms."""
_MOST_STATES = 16
"""Some 0.3 ms."""
_held: list[int] = []
"""The descriptor of the list of our children; none in a process that did not ask to hold it."""
apart: set[int] = set()
"""Children of ours that are no part of what we see to: keepers of hooks, each with all that is below it."""


def hold_children() -> list[int]:
    """From now on `children` needs no further descriptor, but the one that is returned; no child is apart.

    So what there may be to end is known when none is to be had.  Again after a fork: the list is that of the process
    that has opened it.  An empty list: a kernel without it.
    """
    apart.clear()
    while _held:
        os.close(_held.pop())
    with contextlib.suppress(FileNotFoundError):
        _held.append(os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC))
    return list(_held)


def children() -> list[int]:
    """Our children, the inherited ones included, but those that are apart."""
    if not _held:
        return _children(os.getpid(), os.getpid())
    found = b""
    while more := os.pread(_held[0], _LIST, len(found)):
        found += more
    return [pid for pid in map(int, found.split()) if pid not in apart]


def ended() -> Iterator[int]:
    """The children that have ended, each to be reaped before the next; ChildProcessError: there is no other child.

    Those that are apart are among them once they have ended, but while they live they are nobody's business here.

    By PTRACE_TRACEME a child makes us its tracer: it stops at each signal, which waits tell as well.  It is let go.
    Children may end and stop as fast as we look: what is beyond a bound is left for the next SIGCHLD, which is sent.
    """
    for _ in range(_MOST_LOOKS):
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            if apart and not children():  # nobody but us reaps them, so the list is whole
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
    """All below these processes, each with its parent, which comes before it; as they are found."""
    return (found for found in steps(pids) if found is not None)


def steps(pids: list[int]) -> Iterator[tuple[int, int] | None]:
    """The same in small pieces, None after each of them: a process may have as many threads as children."""
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
    """Tell whether a thread of this process, or of one below it, runs or waits for a CPU; the first few are looked at.

    A thread that waits for a disk, for a lock or for time to pass does not.
    """
    return any(state == b"R" for _, state in zip(range(_MOST_STATES), _states(pid), strict=False))


def _states(pid: int) -> Iterator[bytes]:
    """The state of each thread of this process and of those below it, as proc_pid_stat(5) has it."""
    queue = [pid]
    for process in queue:
        with contextlib.suppress(OSError), os.scandir(f"/proc/{process}/task") as tasks:
            for task in tasks:
                if (seen := thread(process, int(task.name))) is not None:
                    yield seen.state
                queue += _children(process, int(task.name))


def usage() -> tuple[int, int]:
    """Bytes of memory and tasks of all below us."""
    memory = tasks = 0
    ours = children()
    for pid in (found := [*ours, *(pid for pid, _parent in walk(ours))]):
        if (seen := stat(pid)) is not None:
            memory += seen.resident if len(found) == 1 else _share(pid, seen.resident)
            tasks += seen.threads
    return memory, tasks


def _share(pid: int, resident: int) -> int:
    """Its memory, of what others have too a share; all that is resident where that is not to be known."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(b"Pss:")) << 10
    return resident


def names(pids: list[int]) -> list[str]:
    """``sleep (pid 12)`` of each that has not ended; a process may call itself what it likes, so in plain letters."""
    found = []
    for pid in pids:
        seen = stat(pid)
        if seen is not None and seen.state not in (b"Z", b"X"):
            found.append(f"{printable(seen.name.decode(errors='replace'))} (pid {pid})")
    return found


def parent(pid: int) -> int | None:
    """Of a process; None: it is gone."""
    seen = stat(pid)
    return None if seen is None else seen.parent


def age(pid: int) -> int | None:
    """For how long a process has been there (ns), by a clock that nobody sets; None: it is gone."""
    born = birth(pid)
    return None if born is None else time.clock_gettime_ns(time.CLOCK_BOOTTIME) - born * TICK


def is_stopped(pid: int) -> bool:
    """True of a process that a signal, or who traces it, has stopped."""
    seen = stat(pid)
    return seen is not None and seen.state in (b"T", b"t")


def signal_all(number: int) -> None:
    """To the process groups of our children, and to whatever below them has left these groups.

    The group of a child is nobody else's while we have not reaped it.  A process further down is its own parent's to
    reap, so its number may be a stranger's by now: it is held, and looked at again, before it is signalled.
    """
    ours = children()
    below = dict(walk(ours))  # before anybody dies and leaves them to us
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


def end_all(until: float, patience: float = float("inf")) -> bool:
    """Let none of our children, nor what comes to us from them, live beyond an instant (CLOCK_MONOTONIC).

    False: what was to end then could not be killed for so long (s).
    """
    while ours := children():
        if (left := until - time.monotonic()) <= 0:
            if left < -patience:
                return False
            signal_all(signal.SIGKILL)
        one_ends(ours, max(left, 1.0))
        with contextlib.suppress(ChildProcessError):
            for pid in ended():
                os.waitpid(pid, 0)
    return True


def one_ends(pids: list[int], seconds: float) -> bool:
    """Wait until one of these children has ended; False: none does in time."""
    watched: list[int] = []
    try:
        watched += map(os.pidfd_open, pids)
        return bool(select.select(watched, [], [], seconds)[0])
    finally:
        for descriptor in watched:
            os.close(descriptor)
