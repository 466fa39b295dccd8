"""The processes below this one, and how they are all signalled: the subreaper's view of a run."""

from __future__ import annotations

import contextlib
import os
import signal


def children() -> list[int]:
    """Our children, the inherited ones included."""
    return _children(os.getpid(), os.getpid())


def _children(pid: int, task: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def _descendants(pids: list[int]) -> dict[int, int]:
    """All below these processes, parents first, with the parent of each."""
    parents: dict[int, int] = {}
    queue = list(pids)
    for pid in queue:
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for task in tasks:
            for child in _children(pid, int(task)):
                if child not in parents:
                    parents[child] = pid
                    queue.append(child)
    return parents


def names(pids: list[int]) -> list[str]:
    """``sleep (pid 12)`` of each that has not ended; a process may call itself what it likes, so in plain letters."""
    found = []
    for pid in pids:
        fields = _stat(pid)
        if fields is not None and fields[1] not in (b"Z", b"X"):
            name = "".join(c if c.isprintable() else "?" for c in fields[0].decode(errors="replace"))
            found.append(f"{name} (pid {pid})")
    return found


def _stat(pid: int) -> list[bytes] | None:
    """The name, the state, the parent and the rest of /proc/PID/stat; None: no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            head, _, rest = file.read().rpartition(b") ")
    except OSError:
        return None
    return [head.partition(b"(")[2], *rest.split()]


def signal_all(number: int) -> None:
    """To the process groups of our children, and to whatever below them has left these groups.

    The group of a child is nobody else's while we have not reaped it.  A process further down is its own parent's to
    reap, so its number may be a stranger's by now: it is held, and looked at again, before it is signalled.
    """
    ours = children()
    below = _descendants(ours)  # before anybody dies and leaves them to us
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
        fields = _stat(pid)
        if fields is not None and int(fields[2]) in (parent, os.getpid()):
            signal.pidfd_send_signal(process, number)
    finally:
        os.close(process)
