"""Live monitoring: while a client watches, the usage of the host and of each live run is sampled once a second.

Sampling many runs takes several turns of the loop. All clients share the results as JSON.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from jobqueued.base.instants import SECOND, to_text
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.processes import tree
from jobqueued.control.protocol.interface import HISTORY
from jobqueued.control.protocol.varlink import text_of
from jobqueued.host import psi
from jobqueued.host.capacity import host_has
from jobqueued.host.descriptors import is_spare
from jobqueued.host.usage import Meter, Usage, host
from jobqueued.model.job import Now
from jobqueued.model.run import Run, RunId
from jobqueued.model.source import Source
from jobqueued.runs.run_directory import Name, RunDirectory

if TYPE_CHECKING:
    from jobqueued.core.scheduler import Scheduler

EVERY = SECOND
_FIRST = 3 * SECOND // 10
"""Pause (ns) between the first two samples; clients first see the usage during this pause.

The pause is a multiple of 100 ms, the period of the CPU bandwidth limit.
"""
_SLICE = 50
"""Maximum steps in a turn (about 5 ms). A step is a cgroup, or a process of a run without a cgroup."""
_MOST_TOLD = 20_000
"""Maximum samples in a reply: about 2 MiB."""


Sees = Callable[[RunId], bool]
"""Returns whether a client may see a run."""


class RunProcess(NamedTuple):
    """A live run's process. `started`: instant (wall, ns). `late`: the run was reported as late.

    `usual`: usual duration (ns).
    """

    name: Name
    state: str
    pid: int
    started: int
    late: bool = False
    usual: int | None = None
    user: str | None = None
    tags: Sequence[str] = ()


def processes(scheduler: Scheduler) -> list[RunProcess]:
    """Return the processes of all live runs."""
    return [_process(scheduler, run, run.pid, run.started) for run in scheduler.live if run.pid and run.started]


def _process(scheduler: Scheduler, run: Run, pid: int, started: int) -> RunProcess:
    known, job = scheduler[run.id.job], scheduler.catalog.get(run.id.job)
    return RunProcess(
        Name(run.id, run.attempt),
        run.state.value,
        pid,
        started,
        run.id.number in known.saved.late,
        known.usual,
        None if job is None else job.user,
        () if job is None else job.tags,
    )


class Trace:
    """Samples of usage over time, the newest last, in the format of `interface.INTERFACE`."""

    def __init__(self, before: Usage, most: float = float("inf")) -> None:
        """`most`: number of CPUs, which limits `cpu`, because the kernel's tick count could slightly exceed this
        number.
        """
        self._before, self._most = before, most
        self._facts = ""
        self.samples: deque[str] = deque(maxlen=HISTORY)

    def add(self, used: Usage, wall: int, facts: dict[str, Any]) -> None:
        """Add a sample with rates since the previous sample. `facts`: other fields of the reply."""
        seconds = max(used.at - self._before.at, 1) / SECOND
        before, self._before, self._facts = self._before, used, text_of(facts)[:-1]

        def rate(now: float | None, then: float | None) -> float | None:
            return None if now is None or then is None else round(max(0.0, now - then) / seconds, 6)

        self.samples.append(
            text_of(
                {
                    "time": to_text(wall),
                    "cpu": min(rate(used.cpu_seconds, before.cpu_seconds) or 0.0, self._most),
                    "memory": used.memory,
                    "tasks": used.tasks,
                    "io_read": rate(used.io_read, before.io_read),
                    "io_write": rate(used.io_write, before.io_write),
                }
            )
        )

    def to_json(self, count: int) -> str:
        """Return the facts, the newest sample, and the last `count` samples, as JSON."""
        history = list(self.samples)[-count:] if count else []
        return f'{self._facts},"now":{self.samples[-1]},"history":[{",".join(history)}]}}'


class HostUsage(Trace):
    """Usage of the whole host."""

    def __init__(self) -> None:
        self._all = {"cpus": os.cpu_count() or 1, "memory": host_has()[1]}
        super().__init__(host(), self._all["cpus"])

    def look(self, wall: int) -> None:
        """Take a sample."""
        self.add(host(), wall, {**self._all, "pressure": psi.averages()})


class Live(Trace):
    """A live run's usage; the first sample covers the time since the run's start."""

    def __init__(self, process: RunProcess, now: Now, supervisor: int | None) -> None:
        self.run = process.name.run
        self._meter = Meter(str(process.name), process.pid, supervisor)
        age = tree.age(process.pid)
        super().__init__(Usage(now.mono - (now.wall - process.started if age is None else age), 0.0, 0, 0, 0, 0))
        self.is_there = False
        """True if the last sample found the run."""

    @property
    def is_spare(self) -> bool:
        """Return whether enough descriptors are free to keep one for this run."""
        return is_spare(self._meter.descriptor)

    def look(self, process: RunProcess, wall: int) -> Iterator[None]:
        """Take a sample in steps, unless the run just ended."""
        used: Usage | None = None
        for found in self._meter.read():
            used = found
            yield
        self.is_there = used is not None
        if used is not None:
            self.add(
                used,
                wall,
                {
                    "run": str(process.name.run),
                    "job": process.name.run.job,
                    "state": process.state,
                    "pid": process.pid,
                    "started": to_text(process.started),
                    "by": self._meter.by,
                    "limits": self._meter.limits,
                    "cpu_seconds": round(used.cpu_seconds, 6),
                    "throttled": used.throttled,
                    "stopped": used.stopped,
                    "partial": used.partial,
                    "late": process.late,
                    "user": process.user,
                    "tags": process.tags,
                    "usual": None if process.usual is None else process.usual / SECOND,
                },
            )

    def close(self) -> None:
        """Close the descriptor, because the run ended or no client watches."""
        self._meter.close()


class _UsageWatcher(NamedTuple):
    """A client that watches the runs for which `sees` returns True, or all runs if `sees` is None."""

    with_history: bool
    sees: Sees | None


def _is_at_end(looks: Iterator[None]) -> bool:
    """Continue a sample for at most one turn's time. Return whether the sample is complete. Raises OSError."""
    return len(list(islice(looks, _SLICE))) < _SLICE


class Monitor(Source):
    """Samples usage while clients watch. `live` returns the live runs.

    `stream` sends JSON to the caller with a ticket, and returns whether the caller waits for more.
    """

    def __init__(
        self, live: Callable[[], Iterable[RunProcess]], marks: RunDirectory, stream: Callable[[int, str], bool]
    ) -> None:
        self._live, self.marks, self._stream = live, marks, stream
        self._watchers: dict[int, _UsageWatcher] = {}
        self._host: HostUsage | None = None
        self._traces: dict[Name, Live] = {}
        self._rest: Iterator[None] | None = None
        self._alone = deque[Iterator[None]]()
        self.at: int | None = None
        """Instant (CLOCK_MONOTONIC, ns) of the next sample, or None if no client watches."""

    def join(self, ticket: int, with_history: bool, now: Now, sees: Sees | None = None) -> None:
        """Add a client. `sees` returns whether it may see a run; None means all runs. Other runs are not sampled."""
        self._watchers[ticket] = _UsageWatcher(with_history, sees)
        if self.at is None:
            self.at = now.mono
            self.turn(now)

    def measure(self, run: Run, then: Callable[[dict[str, Any] | OSError | None], None]) -> None:
        """Sample a live run in steps. `then` gets the run's usage, the error, or None if the run ended."""
        self._alone.append(self._look_at(Name(run.id, run.attempt), run.pid or 0, then))

    def _look_at(self, name: Name, pid: int, then: Callable[[dict[str, Any] | OSError | None], None]) -> Iterator[None]:
        used: Usage | None = None
        try:
            meter = Meter(str(name), pid, self.marks.supervisor(name))
            try:
                for found in meter.read():
                    used = found
                    yield
            finally:
                meter.close()
        except OSError as error:
            then(error)
            return
        then(None if used is None else {key: value for key, value in used._asdict().items() if key != "at"})

    @property
    def deadline(self) -> int | None:
        """The time (ns) of the next sample."""
        return self.at

    def turn(self, now: Now) -> tuple[()]:
        """Continue the current sample, or start the next if it is time."""
        if self._alone and _is_at_end(self._alone[0]):
            self._alone.popleft()
        if self._rest is None and self.at is not None and self.at <= now.mono:
            self._rest = self._look(now)
        try:
            if self._rest is not None and not _is_at_end(self._rest):
                return ()
        except OSError:  # no free descriptor; the next sample may get one
            self.at = max(self.at or 0, now.mono + EVERY)
        if self._rest is not None:
            self._rest = None
            self._send_results()
        return ()

    @property
    def has_more(self) -> bool:
        """Return whether a sample is not finished."""
        return self._rest is not None or bool(self._alone)

    def _look(self, now: Now) -> Iterator[None]:
        if self._host is None:
            self._host, self.at = HostUsage(), now.mono + _FIRST
        else:
            self._host.look(now.wall)
            self.at = max(now.mono, (self.at or 0) + EVERY)
        watchers = self._watchers.values()
        live = {it.name: it for it in self._live() if any(w.sees is None or w.sees(it.name.run) for w in watchers)}
        for name in self._traces.keys() - live.keys():
            self._traces.pop(name).close()
        for name, process in live.items():
            if name not in self._traces:
                fresh = Live(process, now, self.marks.supervisor(name))
                if not fresh.is_spare:
                    fresh.close()
                    continue
                self._traces[name] = fresh
            yield from self._traces[name].look(process, now.wall)

    def _send_results(self) -> None:
        """Send the results to all clients. Without clients, stop sampling."""
        if self._host is None or not self._host.samples:
            return
        found = [trace for trace in self._traces.values() if trace.is_there]
        most = min(HISTORY, _MOST_TOLD // (len(found) or 1))
        texts: dict[int, str] = {}
        for ticket, watcher in list(self._watchers.items()):
            count = most if watcher.with_history else 0
            if watcher.sees is not None:
                text = self._text([trace for trace in found if watcher.sees(trace.run)], count)
            else:
                text = texts[count] = texts.get(count) or self._text(found, count)
            if self._stream(ticket, text):
                self._watchers[ticket] = watcher._replace(with_history=False)
            else:
                del self._watchers[ticket]
        if not self._watchers:
            self._stop()

    def _text(self, found: list[Live], count: int) -> str:
        assert self._host is not None
        runs = ",".join(trace.to_json(count) for trace in found)
        return f'{{"host":{self._host.to_json(count)},"runs":[{runs}]}}'

    def _stop(self) -> None:
        for trace in self._traces.values():
            trace.close()
        self._traces.clear()
        self._host = self.at = None
