"""The kernel of the simulated host: processes, two clocks, timers, signals, and who may go on.

Everything is one sequence: the process whose turn it is runs real code until it waits, or until a fault takes it at one
of its system calls.  Nothing depends on anything but the seed.
"""

from __future__ import annotations

import heapq
import signal
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulation.fibers import Fiber

SECOND = 1_000_000_000
_TURN = 20_000
"""Virtual nanoseconds that a turn of a process takes, and a look at a clock a hundredth of it."""
INIT = 1


class Killed(BaseException):
    """A simulated process is dead; its stack unwinds, and nothing that it still calls does anything."""


class Open:
    """An open file description.  `holders` are the processes that have descriptors of it, with how many."""

    def __init__(self) -> None:
        self.holders: dict[Process, int] = {}

    def readable(self) -> bool:
        """Tell whether a read would not wait."""
        return False

    def writable(self) -> bool:
        """Tell whether a write would not wait."""
        return True

    def hung(self) -> bool:
        """Tell whether the other side is gone."""
        return False

    def closed(self) -> None:
        """Take note that nobody has it any more."""


class Process:
    """A process.  `role` is what it is: scheduler, launcher, supervisor or job; without a `fiber` it only sleeps."""

    def __init__(self, pid: int, role: str, parent: int, birth: int) -> None:
        self.pid, self.role, self.parent, self.birth = pid, role, parent, birth
        self.fds: dict[int, Open] = {}
        self.fiber: Fiber | None = None
        self.dead = self.reaped = self.stopped = self.queued = False
        self.status = 0
        self.children: dict[int, Process] = {}
        self.wakeup: Open | None = None
        self.check: Callable[[], bool] | None = None
        self.waiting = 0
        self.session = pid
        self.environment: dict[str, str] = {}
        self.title = {"launcher": "jq-launcher", "supervisor": "jq-supervisor"}.get(role, role)
        self.attempt = ""
        self.module: dict[str, Any] = {}
        self.on_signal: Callable[[int], None] | None = None
        self.watchers: list[Open] = []

    def lowest(self) -> int:
        """The lowest descriptor that is free."""
        number = 3
        while number in self.fds:
            number += 1
        return number


class Kernel:
    """One host, over all its boots.  `mono` never goes back; `wall` is that and an offset, which people set."""

    def __init__(self, random: Random, wall: int) -> None:
        self.random = random
        self.mono = 1000 * SECOND
        self.offset = wall - self.mono
        self.asleep = 0
        self.booted = self.mono - 10 * SECOND
        self.boot = 1
        self.processes: dict[int, Process] = {}
        self.current: Process | None = None
        self.ready: deque[Process] = deque()
        self.timers: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._last_pid = 100
        self.steps = 0
        self.armed: list[Any] = []
        """Faults that wait for a system call."""
        self.steps_of_clock = 0
        self.wall_timers: dict[Any, None] = {}
        self.on_death: Callable[[Process], None] = lambda _: None
        self.on_crash: Callable[[Process, BaseException], None] = lambda *_: None
        self.interrupt: Callable[[], None] | None = None
        """What is to happen before anybody goes on."""

    # clocks

    @property
    def wall(self) -> int:
        """CLOCK_REALTIME (ns)."""
        return self.mono + self.offset

    @property
    def since_boot(self) -> int:
        """CLOCK_MONOTONIC (ns)."""
        return self.mono - self.booted

    def look_at_clock(self) -> None:
        """Let a little time go by, and bring death to who is dead."""
        if self.current is None or self.current.dead:
            raise Killed
        self.mono += _TURN // 100

    def set_clock(self, step: int) -> None:
        """Step the wall clock; timers on it ring at once, cancelled."""
        self.offset += step
        self.steps_of_clock += 1
        self.notify_all()

    def suspend(self, duration: int) -> None:
        """Suspend the host: no process runs, and CLOCK_MONOTONIC stands still."""
        self.offset += duration
        self.asleep += duration
        for timer in self.wall_timers:
            timer.wind()
        self.notify_all()

    def at(self, mono: int, action: Callable[[], None]) -> None:
        """Have `action` done at an instant."""
        self._sequence += 1
        heapq.heappush(self.timers, (mono, self._sequence, action))

    # processes

    def spawn(self, role: str, parent: Process | None, run: Callable[[], object] | None) -> Process:
        """Make a process that runs `run`, None: that only is."""
        self._last_pid += 1
        process = Process(self._last_pid, role, INIT if parent is None else parent.pid, self.mono + self.asleep)
        self.processes[process.pid] = process
        if parent is not None:
            parent.children[process.pid] = process
        if run is not None:
            program = run
            process.fiber = Fiber(lambda: self._program(process, program))
            self._queue(process)
        return process

    def _queue(self, process: Process) -> None:
        if not process.queued:
            process.queued = True
            self.ready.append(process)

    def _program(self, process: Process, run: Callable[[], object]) -> None:
        try:
            run()
        except Killed:
            return
        except SystemExit:
            pass
        except BaseException as error:
            if not process.dead:
                self.on_crash(process, error)
                self.die(process, 1 << 8)
            return
        self.die(process, 0)

    def run(self, until: int) -> None:
        """Let everybody go on until an instant (mono)."""
        while True:
            while self.ready or self.interrupt is not None:
                if self.interrupt is not None:
                    action, self.interrupt = self.interrupt, None
                    action()
                else:
                    self._turn(self.ready.popleft())
            if not self.timers or self.timers[0][0] > until:
                self.mono = max(self.mono, until)
                return
            at, _sequence, action = heapq.heappop(self.timers)
            self.mono = max(self.mono, at)
            action()

    def _turn(self, process: Process) -> None:
        process.queued = False
        if process.stopped or (process.dead and process.fiber is None):
            return
        fiber = process.fiber
        if fiber is None or fiber.over:
            return
        self.mono += _TURN
        self.current = process
        try:
            fiber.resume()
        finally:
            self.current = None

    def block(self, check: Callable[[], bool], deadline: int | None) -> None:
        """Have the current process wait until `check` holds, or an instant has come."""
        process = self.current
        assert process is not None
        assert process.fiber is not None
        process.waiting += 1
        waiting = process.waiting
        process.check = check
        if deadline is not None:
            self.at(deadline, lambda: self._time_out(process, waiting))
        process.fiber.suspend()
        process.check = None
        process.waiting += 1
        if process.dead:
            raise Killed

    def _time_out(self, process: Process, waiting: int) -> None:
        if process.waiting == waiting and process.check is not None and not process.dead:
            self._make_ready(process)

    def _make_ready(self, process: Process) -> None:
        process.check = None
        self._queue(process)

    def give_way(self) -> None:
        """Let all others that can go on do so first."""
        process = self.current
        assert process is not None
        assert process.fiber is not None
        self._queue(process)
        process.fiber.suspend()
        if process.dead:
            raise Killed

    def notify(self, it: Open) -> None:
        """Something has changed about an open file: who waits for that looks again."""
        for process in it.holders:
            if process.check is not None and process.check():
                self._make_ready(process)

    def notify_all(self) -> None:
        """Everybody who waits looks again."""
        for process in list(self.processes.values()):
            if process.check is not None and process.check():
                self._make_ready(process)

    # system calls

    def enter(self, call: str) -> Process:
        """Begin a system call of the current process; faults come here."""
        process = self.current
        if process is None or process.dead:
            raise Killed
        self.steps += 1
        if self.armed:
            for fault in list(self.armed):
                fault.look(self, process, call)
            if process.dead:
                raise Killed
            while process.stopped:
                assert process.fiber is not None
                process.fiber.suspend()
                if process.dead:
                    raise Killed
        return process

    def open(self, it: Open, process: Process | None = None, number: int | None = None) -> int:
        """A new descriptor of the current process for it."""
        process = process or self.current
        assert process is not None
        number = process.lowest() if number is None else number
        process.fds[number] = it
        it.holders[process] = it.holders.get(process, 0) + 1
        return number

    def close(self, number: int, process: Process | None = None) -> None:
        """Close a descriptor."""
        process = process or self.current
        assert process is not None
        it = process.fds.pop(number, None)
        if it is None:
            raise OSError(9, "Bad file descriptor")
        it.holders[process] -= 1
        if not it.holders[process]:
            del it.holders[process]
        if not it.holders:
            it.closed()

    # death

    def kill(self, process: Process, number: int) -> None:
        """Send a signal."""
        if process.dead:
            return
        if number == signal.SIGSTOP:
            process.stopped = True
        elif number == signal.SIGCONT:
            self._go_on(process)
        elif number == signal.SIGKILL or process.on_signal is None:
            self.die(process, int(number))
        else:
            process.on_signal(number)

    def _go_on(self, process: Process) -> None:
        if process.stopped:
            process.stopped = False
            if process.fiber is not None and process.check is None:
                self._queue(process)

    def die(self, process: Process, status: int) -> None:
        """End a process: its descriptors are closed, its children inherited, its parent told."""
        if process.dead:
            return
        process.dead, process.status, process.stopped = True, status, False
        for number in list(process.fds):
            self.close(number, process)
        heir = self._reaper(process)
        for child in list(process.children.values()):
            child.parent = INIT if heir is None else heir.pid
            if heir is None:
                if child.dead:
                    self._forget(child)
            else:
                heir.children[child.pid] = child
                if child.dead:
                    self._tell_parent(heir)
        process.children.clear()
        parent = self.processes.get(process.parent)
        if parent is None or parent.dead:
            self._forget(process)
        else:
            self._tell_parent(parent)
        for watcher in process.watchers:
            self.notify(watcher)
        self.on_death(process)
        fiber = process.fiber
        if fiber is not None and not fiber.begun:
            fiber.over = True
        elif fiber is not None and not fiber.over and process is not self.current:
            before, self.current = self.current, process
            fiber.resume()  # its stack unwinds: whatever it calls raises Killed
            self.current = before

    def _reaper(self, process: Process) -> Process | None:
        """Find the nearest living ancestor that is a subreaper: a supervisor, or a launcher."""
        parent = self.processes.get(process.parent)
        while parent is not None and (parent.dead or parent.role not in ("launcher", "supervisor")):
            parent = self.processes.get(parent.parent)
        return parent

    def _tell_parent(self, parent: Process) -> None:
        if parent.wakeup is not None:
            parent.wakeup.put(b"\x11")  # type: ignore[attr-defined]
            self.notify(parent.wakeup)

    def _forget(self, process: Process) -> None:
        process.reaped = True
        self.processes.pop(process.pid, None)

    def reap(self, parent: Process, pid: int) -> Process:
        """Take away a child that has ended."""
        child = parent.children.pop(pid)
        self._forget(child)
        return child

    def end_all(self) -> None:
        """Let every process die, as power goes."""
        for process in list(self.processes.values()):
            self.die(process, int(signal.SIGKILL))
        self.processes.clear()
        self.ready.clear()
        self.timers.clear()
