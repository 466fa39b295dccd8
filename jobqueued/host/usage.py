"""Resource use of live runs and of the host, read only on request: from cgroups if possible, otherwise from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.processes import tree
from jobqueued.child.processes.cgroup import Cgroup


class Usage(NamedTuple):
    """Resource use at an instant (CLOCK_MONOTONIC, ns); None means unknown.

    CPU seconds, and bytes read from and written to disks, are totals so far. Memory (bytes) and tasks are current
    values. `partial`: whether the run has more processes than were read.
    """

    at: int
    cpu_seconds: float
    memory: int
    tasks: int
    io_read: int | None
    io_write: int | None
    throttled: float | None = None
    stopped: bool = False
    partial: bool = False


MOST, _MOST_STEPS = 2000, 20_000
"""Maximum number of a run's processes to read, and of steps over its processes and threads, so that a reading takes at
most about 0.2 s.
"""


def host() -> Usage:
    """Return the host's use; memory is the part that is not available at once, and CPU time is the busy time of all
    CPUs.
    """
    import psutil  # imported only on request, because it takes 1 MiB

    times, memory = psutil.cpu_times(), psutil.virtual_memory()
    try:
        disks = psutil.disk_io_counters(perdisk=True)
    except NotImplementedError:  # this happens in a container without disks
        disks = {}
    real = [counters for name, counters in disks.items() if os.path.exists(f"/sys/block/{name}/device")]
    io = (sum(each.read_bytes for each in real), sum(each.write_bytes for each in real)) if real else (None, None)
    with open("/proc/loadavg") as file:
        tasks = int(file.read().split()[3].partition("/")[2])
    busy = (
        sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
    )  # user and nice contain guest and guest_nice
    return Usage(time.monotonic_ns(), busy, memory.total - memory.available, tasks, *io)


def usage(attempt: str, pid: int, supervisor: int | None) -> dict[str, Any] | None:
    """Return the fields of Usage for an attempt with this name, main process and supervisor, or None if the attempt has
    ended.
    """
    meter = Meter(attempt, pid, supervisor)
    try:
        *_, used = meter.read()
        return None if used is None else {name: value for name, value in used._asdict().items() if name != "at"}
    finally:
        meter.close()


class Meter:
    """The meter of one attempt, from its main process and its supervisor (None if unknown).

    `by` is ``cgroup`` or ``processes``. `limits`: the cgroup's limits of cpu, memory and tasks.
    """

    def __init__(self, attempt: str, pid: int, supervisor: int | None) -> None:
        self._pid, self._supervisor = pid, supervisor or tree.parent(pid)
        self._cgroup = Cgroup.of(attempt, pid, supervisor)
        has_one = self._cgroup.now() is not None
        self.by = "cgroup" if has_one else "processes"
        self.limits = self._cgroup.limits() if has_one else {"cpu": None, "memory": None, "tasks": None}

    @property
    def descriptor(self) -> int:
        """The descriptor of the attempt's cgroup, or -1 if it has none."""
        return self._cgroup.directory

    def close(self) -> None:
        """Close the cgroup."""
        self._cgroup.close()

    def read(self) -> Iterator[Usage | None]:
        """Read the use step by step. Yield None after each step, and finally the use, or None if the attempt has
        ended.
        """
        if self.by == "processes":
            yield from self._of_processes()
            return
        at, found, now = time.monotonic_ns(), self._cgroup.figures(), self._cgroup.now()
        user, system = found.get("cpu_user"), found.get("cpu_system")
        if now is None or user is None or system is None:
            yield None
            return
        disks, throttled = (found.get("io_read"), found.get("io_write")), found.get("throttled")
        yield Usage(at, user + system, *now, *disks, throttled, tree.is_stopped(self._pid))

    def _of_processes(self) -> Iterator[Usage | None]:
        """Add up the use of all processes below the supervisor, which also adopts orphans."""
        at, partial = time.monotonic_ns(), False
        read = list[tuple[float, int, int, int | None, int | None] | None]()
        for step, found in enumerate(tree.steps([] if self._supervisor is None else [self._supervisor])):
            partial = len(read) == MOST or step == _MOST_STEPS
            if partial:
                break
            if found is not None:
                read.append(_of_process(found[0]))
            yield None
        known = [each for each in read if each is not None]
        if known:
            cpu, memory, tasks, io_read, io_write = map(_total, zip(*known, strict=True))
            yield Usage(at, cpu, memory, tasks, io_read, io_write, None, tree.is_stopped(self._pid), partial)
        else:
            yield None


def _total(column: tuple[Any, ...]) -> Any:
    """Return the sum of a column, or None if a value is unknown."""
    return None if None in column else sum(column)


def _of_process(pid: int) -> tuple[float, int, int, int | None, int | None] | None:
    """Return a process's CPU time (with reaped children), memory, tasks, bytes read and bytes written, as in Usage, or
    None if it ended.

    The bytes are None if permission is denied or the kernel does not report them.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            cpu, memory, tasks = sum(process.cpu_times()[:4]), process.memory_info().rss, process.num_threads()
            try:
                disks = process.io_counters()
            except (psutil.AccessDenied, AttributeError, RuntimeError):
                return cpu, memory, tasks, None, None
    except psutil.Error:
        return None
    return cpu, memory, tasks, disks.read_bytes, disks.write_bytes
