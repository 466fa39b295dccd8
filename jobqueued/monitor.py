"""Live monitoring: what each live run and the host use, once a second while somebody looks, and then never.

A look at a thousand runs is spread over turns of the loop.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from jobqueued.model import LIVE, SECOND, Now, RunId, to_text
from jobqueued.scheduler import Scheduler
from jobqueued.usage import Meter, Usage, host, host_has

HISTORY = 60
"""How many samples of each run are kept, and of the host."""
EVERY = SECOND
_FIRST = SECOND // 4
"""After it was found how much everybody had used before; what is used in between is shown first."""
_SLICE = 50
"""How much is looked at in a turn, some 5 ms: a cgroup is one, and so is each process of a run without."""


class Process(NamedTuple):
    """That of a live run, `started` on the wall."""

    run: RunId
    attempt_name: str
    state: str
    pid: int
    started: int


def processes(scheduler: Scheduler) -> list[Process]:
    """Those of its live runs."""
    return [
        Process(run.id, run.attempt_name, run.state.value, run.pid, run.started)
        for run in scheduler.runs.values()
        if run.state in LIVE and run.pid and run.started
    ]


class Trace:
    """What one of them used over time: samples, the newest last, in the words of `varlink.INTERFACE`."""

    def __init__(self, before: Usage) -> None:
        self._before = before
        self.samples: deque[dict[str, Any]] = deque(maxlen=HISTORY)

    def add(self, used: Usage, wall: int) -> None:
        """Rates are those since the time before."""
        seconds = max(used.at - self._before.at, 1) / SECOND
        before, self._before = self._before, used

        def rate(now: float | None, then: float | None) -> float | None:
            return None if now is None or then is None else round(max(0.0, now - then) / seconds, 6)

        self.samples.append({
            "time": to_text(wall), "cpu": rate(used.cpu_seconds, before.cpu_seconds), "memory": used.memory,
            "tasks": used.tasks, "io_read": rate(used.io_read, before.io_read),
            "io_write": rate(used.io_write, before.io_write),
        })  # fmt: skip

    def told(self, with_history: bool) -> dict[str, Any]:
        """The newest sample, and all of them on demand."""
        return {"now": self.samples[-1], "history": list(self.samples) if with_history else []}


class Host(Trace):
    """What all of the host uses."""

    def __init__(self) -> None:
        super().__init__(host())
        self._memory, self._cpus = host_has()[1], os.cpu_count() or 1

    def look(self, wall: int) -> None:
        """Take a sample.  The kernel counts CPU time of the host by ticks, at times one more than there is room for."""
        self.add(host(), wall)
        self.samples[-1]["cpu"] = min(self.samples[-1]["cpu"], float(self._cpus))

    def told(self, with_history: bool) -> dict[str, Any]:
        """The interface's type HostUsage."""
        return {"cpus": self._cpus, "memory": self._memory, **super().told(with_history)}


class Live(Trace):
    """What a live run uses; at the first look since it was started."""

    def __init__(self, process: Process, now: Now) -> None:
        self._process, self._meter = process, Meter(process.pid, process.attempt_name)
        age = max(0, now.wall - process.started)
        super().__init__(Usage(now.mono - age, 0.0, 0, 0, 0, 0))
        self._used: Usage | None = None

    def look(self, process: Process, wall: int) -> int:
        """Take a sample, if it has not just ended; how much there was to look at."""
        self._process, self._used = process, self._meter.read()
        if self._used is None:
            return 1
        self.add(self._used, wall)
        return 1 if self._meter.by == "cgroup" else self._used.tasks

    @property
    def is_there(self) -> bool:
        """Whether the last look found it."""
        return self._used is not None

    def close(self) -> None:
        """Nobody looks any more, or it has ended."""
        self._meter.close()

    def told(self, with_history: bool) -> dict[str, Any]:
        """The interface's type RunUsage."""
        process, used = self._process, self._used
        assert used is not None
        return {
            "run": str(process.run), "job": process.run.job, "state": process.state, "pid": process.pid,
            "started": to_text(process.started), "by": self._meter.by, "limits": self._meter.limits,
            "cpu_seconds": round(used.cpu_seconds, 6), "throttled": used.throttled, "stopped": used.stopped,
            **super().told(with_history),
        }  # fmt: skip


class Monitor:
    """`live` tells which there are.  `reply` answers a ticket, and says whether that waits for more answers."""

    def __init__(self, live: Callable[[], Iterable[Process]]) -> None:
        self._live = live
        self.reply: Callable[[int, dict[str, Any]], bool]
        self._watchers: dict[int, bool] = {}
        self._host: Host | None = None
        self._traces: dict[str, Live] = {}
        self._rest: Iterator[Process] | None = None
        self.at: int | None = None
        """When it looks next (CLOCK_MONOTONIC, ns); None: nobody wants to know."""

    def join(self, ticket: int, with_history: bool, now: Now) -> None:
        """Somebody looks from now on."""
        self._watchers[ticket] = with_history
        if self.at is None:
            self._look(now)

    def turn(self, now: Now) -> None:
        """Go on with the present look, or begin the next if it is time."""
        if self.at is not None and (self._rest is not None or self.at <= now.mono):
            self._look(now)

    @property
    def has_more(self) -> bool:
        """Whether a look is not finished."""
        return self._rest is not None

    def _look(self, now: Now) -> None:
        if self._rest is None:
            self._begin(now)
        assert self._rest is not None
        done = 0
        for process in self._rest:
            trace = self._traces.get(process.attempt_name)
            if trace is None:
                trace = self._traces[process.attempt_name] = Live(process, now)
            done += trace.look(process, now.wall)
            if done >= _SLICE:
                return
        self._rest = None
        self._tell()

    def _begin(self, now: Now) -> None:
        live = {process.attempt_name: process for process in self._live()}
        for name in self._traces.keys() - live.keys():
            self._traces.pop(name).close()
        self._rest = iter(live.values())
        if self._host is None:
            self._host, self.at = Host(), now.mono + _FIRST
        else:
            self._host.look(now.wall)
            self.at = max(now.mono, (self.at or 0) + EVERY)

    def _tell(self) -> None:
        """What was found, to all who wait; with the last of them the looking ends."""
        if self._host is None or not self._host.samples:
            return
        found = [trace for trace in self._traces.values() if trace.is_there]
        for ticket, with_history in list(self._watchers.items()):
            value = {
                "host": self._host.told(with_history), "runs": [trace.told(with_history) for trace in found],
            }  # fmt: skip
            if self.reply(ticket, value):
                self._watchers[ticket] = False
            else:
                del self._watchers[ticket]
        if not self._watchers:
            self._stop()

    def _stop(self) -> None:
        for trace in self._traces.values():
            trace.close()
        self._traces.clear()
        self._host = self.at = None
