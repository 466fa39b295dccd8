"""One attempt: claim its R, start the job, pump its output, end it when it is time, write its record, mark its end."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import time
from typing import Any

from jobqueued.child import atomic_file, report, spawn, tree, wire
from jobqueued.child.account import NEVER, Account
from jobqueued.child.budget import Common
from jobqueued.child.caps import Caps
from jobqueued.child.cgroup import Cgroup
from jobqueued.child.control_socket import ControlSocket, Loop
from jobqueued.child.identity import StartFailed
from jobqueued.child.instants import to_text
from jobqueued.child.lockfile import BUSY, Busy, LockFiles
from jobqueued.child.output import Output
from jobqueued.child.shutdown import Shutdown
from jobqueued.child.signals import signal_number

_DRAIN, _DRAIN_OF_LEFT = 1.0, 0.1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0
"""Between one SIGKILL to all and the next: a fork bomb may have children that we did not see."""
_TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)
_SIGNAL_OF_INIT = 0.2
"""A job that SIGTERM ended without our doing: PID 1, which signals one after the other, may be about to come to us."""


class Attempt:
    """One attempt, from the claim of its R to the mark of its end."""

    def __init__(
        self, name: str, directory: int, launcher: socket.socket, wakeups: int, shutdown: Shutdown, common: Common,
        home: int, *, last: bool,
    ) -> None:  # fmt: skip
        """`home`: where cgroups are (cgroup.settle).  `last`: afterwards this supervisor leaves the pool."""
        self.name, self.directory = name, directory
        self.leaves = last
        self._launcher, self._wakeups, self._shutdown, self._common = launcher, wakeups, shutdown, common
        self._loop = Loop()
        self._cgroup = Cgroup(home, name)
        self._account = Account(self._cgroup)
        self._pid = 0
        self._status: int | None = None
        self._usage: resource.struct_rusage | None = None
        self._warnings: list[str] = []
        self._cause: tuple[str, str] | None = None
        self._stopping = ""
        self._started = self._ended = 0
        self._deadline = self._kill_at = self._drain_until = NEVER
        self._pause = _FIRST_PAUSE
        self._empty = self._left = False
        self._beside = -1

    def carry_out(self) -> str:
        """All of it; the path of the record, "" when the attempt turned out to be another's."""
        try:
            self._order = self._read_order()
            self._locks = LockFiles(self._order["locks"])
            self._caps = Caps(self._order, self._cgroup)
            self._followers = self._listen()
        except OSError as error:
            return self._not_ours(error)
        try:
            self._locks.take()
            self._claim()
        except Busy as busy:
            self._followers.close()
            return self._not_now(f"{BUSY}: {busy}")
        except OSError as error:
            self._locks.free()
            self._followers.close()
            return self._not_ours(error)
        self._output = Output.of(self._order, self._common)
        try:
            return self._live()
        finally:
            self._output.shut()
            self._followers.close()
            self._locks.free()

    def _not_ours(self, error: OSError) -> str:
        """It is another's, or was settled, or there is no room in R: nothing was started."""
        if error.errno not in (errno.EEXIST, errno.EADDRINUSE, errno.ENOENT):
            return self._not_now(f"run directory: {error.strerror}")
        self._say(f"idle {self.name}")
        self.leaves = False
        return ""

    def _not_now(self, reason: str) -> str:
        self._say(f"unstarted {self.name} {reason}")
        self.leaves = False
        return ""

    def _live(self) -> str:
        try:
            self._start()
        except StartFailed as failure:
            self._clear()
            record = self._not_started(failure)
        else:
            self._watch()
            record = self._record()
        if not self._is_ours():
            self._clear()  # nobody would know of what it has left
            return ""
        self._locks.free()
        path = self._write_record(record)
        self._mark_end(record)
        self._farewell()
        if self._left and not self._empty:
            self._outlive()
        return path

    def _is_ours(self) -> bool:
        """Whether R is still there.  Without it the run is lost, also for a scheduler that did not judge it so."""
        try:
            os.stat(wire.SPAWNING, dir_fd=self.directory)
        except FileNotFoundError:
            self._say(f"lost {self.name} {'-' if self._status is None else self._status}")
            self._followers.hang_up()
            self.leaves = self._left
            return False
        return True

    # the start

    def _read_order(self) -> dict[str, Any]:
        order = wire.read_document(self.directory, wire.SPEC)
        if order is None:
            raise OSError(errno.ENODATA, "its order is not whole")
        return order

    def _listen(self) -> ControlSocket:
        return ControlSocket(self.directory, self._loop, self._greeting, self._asked)

    def _claim(self) -> None:
        """The token that decides who starts this attempt: from here on it may have run."""
        wire.write_mark(self.directory, wire.SPAWNING)

    def _start(self) -> None:
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._started = time.time_ns()
        if self._locks.trouble is not None:
            raise self._locks.trouble
        try:
            self._cgroup.make()
        except OSError as error:
            raise StartFailed("cgroup", error.errno or 0, str(error.strerror)) from None
        self._caps.apply()
        started = spawn.spawn(self._order, self._output.writing, self._cgroup)
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._pid, self._warnings = started.pid, [*self._caps.warnings, *started.warnings]
        self._output.started(self._pid)
        self._account.begin(time.monotonic(), watched=self._caps.sampled is not None)
        if self._order["timeout"] is not None:
            self._deadline = time.monotonic() + self._order["timeout"]
        self._write_pid(before, after)
        self._say(f"started {self.name} {self._pid} {self._started}")

    def _clear(self) -> None:
        """A start that failed may have begun something: a profile, and what it started."""
        self._loop.on(self._wakeups, self._reap)
        self._reap()
        while not self._empty:
            tree.signal_all(signal.SIGKILL)
            self._loop.turn(_FIRST_PAUSE)
        self._cgroup.remove()

    def _write_pid(self, before: int, after: int) -> None:
        mark = b"%d %d %d %d %d\n" % (self._pid, self._started, before, after, os.getpid())
        with contextlib.suppress(OSError):  # no room in R: we know it all the same
            wire.write_mark(self.directory, wire.PID, mark)

    # its life

    def _watch(self) -> None:
        """Until the main process has ended, nothing of the run is left, and its output is drained (or given up)."""
        self._loop.on(self._wakeups, self._reap)
        self._loop.on(self._output.reading, self._pump)
        self._loop.on(self._shutdown.descriptor, self._look_for_shutdown)
        self._followers.accept()
        self._reap()
        while not self._is_over():
            self._wait()
            self._look_at_the_clock()

    def _is_over(self) -> bool:
        ended = self._empty or self._left
        return ended and self._status is not None and self._output.reading not in self._loop

    def _wait(self) -> None:
        self._loop.turn(min(self._deadline, self._kill_at, self._drain_until, self._account.at) - time.monotonic())

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if now >= self._deadline:
            self._reap()  # what has ended in time has not timed out, however late we look
        if now >= self._deadline:
            self._stop("timed_out", f"timeout after {self._order['timeout']:g} s")
        if now >= self._account.at and (excess := self._caps.exceeded(self._account.sample(now))):
            self._stop("oom_killed", excess)
        if now >= self._kill_at:
            self._kill(now)
        if now >= self._drain_until:
            self._drain_until = NEVER
            if not self._output.ended and self._output.reading in self._loop and not self._left:
                self._warnings.append("its output is still open in a process of another run or service: not awaited")
            self._loop.off(self._output.reading)

    def _pump(self) -> None:
        if not self._output.pump():
            self._loop.off(self._output.reading)

    # its end

    def _stop(self, state: str | None, reason: str, *, told: bool = False) -> None:
        """`stop_signal` now, SIGKILL to all that is left after `kill_grace`; the first cause counts.

        `told`: somebody else has sent them SIGTERM already.
        """
        if self._stopping:
            return
        self._stopping = reason
        if state is not None:
            self._cause = state, reason
        self._say(f"stopping {self.name} {reason}")
        self._followers.tell(f"stopping {reason}")
        number = signal_number(self._order["stop_signal"])
        if not told or number != signal.SIGTERM:
            tree.signal_all(number)
        tree.signal_all(signal.SIGCONT)  # what is stopped does not act on it
        self._deadline = NEVER
        self._kill_at = time.monotonic() + self._order["kill_grace"]

    def _kill(self, now: float) -> None:
        if self._pause == _FIRST_PAUSE:
            grace, name = self._order["kill_grace"], self._order["stop_signal"]
            if grace and name != "SIGKILL":
                self._warnings.append(f"did not end on {name}: SIGKILL after {grace:g} s")
        self._kill_all(now)

    def _kill_all(self, now: float) -> None:
        self._cgroup.kill()
        tree.signal_all(signal.SIGKILL)
        self._kill_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _asked(self, reason: str) -> None:
        self._reap()
        if self._status is None:
            self._stop("killed", reason)

    def _look_for_shutdown(self) -> None:
        if self._shutdown.began():
            self._reap()
            if self._status is None:
                self._stop("killed", "shutdown", told=True)

    def _reap(self) -> None:
        """Collect what has ended: the main process with its rusage, orphans apart."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeups, 512)
        try:
            while (pid := tree.ended()) is not None:
                if pid == self._pid:
                    self._ended = time.time_ns()
                    _pid, self._status, self._usage = os.wait4(self._pid, 0)
                    self._deadline = NEVER
                else:
                    self._account.add(os.wait4(pid, 0)[2])
        except ChildProcessError:
            if not self._empty:
                self._empty, self._kill_at, self._account.at = True, NEVER, NEVER
                self._drain_until = time.monotonic() + _DRAIN
            return
        if self._status is not None and not self._stopping and not self._left:
            self._end_leftovers()

    def _end_leftovers(self) -> None:
        """The command has ended, and processes of it have not."""
        if self._status == signal.SIGKILL and self._caps.killed():
            if self._kill_at == NEVER:  # as the kernel does where memory is limited: it goes with its command
                self._kill_all(time.monotonic())
            return
        pids = tree.children()
        names = ", ".join(tree.names(pids)[:5]) or "some"
        if self._order["leave_children"]:
            self._left = self.leaves = True
            self._warnings.append(f"left running: {names}")
            self._drain_until = time.monotonic() + _DRAIN_OF_LEFT
            return
        self._warnings.append(f"its command left processes behind, which were ended: {names}")
        self._stop(None, f"its command has ended and left {names}")

    def _outlive(self) -> None:
        """What `leave_children` left stays our child, and its output flows, until the last of it has ended."""
        self._drain_until = self._account.at = NEVER
        self._loop.on(self._output.reading, self._pump)
        while not self._empty:
            self._wait()
        self._cgroup.remove()
        with contextlib.suppress(OSError):
            os.unlink(self.name + wire.LEFT, dir_fd=self._beside)
        os.close(self._beside)

    # what is told

    def _greeting(self) -> list[str]:
        return ["live", *([f"stopping {self._stopping}"] if self._stopping else [])]

    def _say(self, notice: str) -> None:
        with contextlib.suppress(OSError):  # no launcher: R tells it
            self._launcher.send(notice.encode()[: wire.NOTICE])

    # the record

    def _record(self) -> dict[str, Any]:
        assert self._status is not None
        assert self._usage is not None
        state, reason = self._verdict(self._status)
        facts = {**report.end(self._status, self._usage), **self._account.figures(self._usage)}
        self._warnings += self._caps.told(state)
        if not self._left and not self._cgroup.remove():
            self._warnings.append("its cgroup can't be removed: something in it does not end")
        return self._finished(state, reason, pid=self._pid, **facts)

    def _verdict(self, status: int) -> tuple[str, str | None]:
        code = os.waitstatus_to_exitcode(status)
        if self._cause is None and code in _TERMINATED and self._shutdown.began(_SIGNAL_OF_INIT):
            self._cause = "killed", "shutdown"
        if self._cause is not None:
            return self._cause
        if code == -signal.SIGKILL and (reason := self._caps.killed()):
            return "oom_killed", reason
        if code in self._order["success_codes"]:
            return "succeeded", None
        return "failed", report.failure(status, self._order["attributes"].get("limits", {}))

    def _not_started(self, failure: StartFailed) -> dict[str, Any]:
        self._ended = time.time_ns()
        if spawn.is_system_trouble(failure):
            return self._finished(wire.UNSTARTED, str(failure))
        return self._finished("failed", f"start_failed: {failure}")

    def _finished(self, state: str, reason: str | None, **facts: Any) -> dict[str, Any]:
        """The record so far with this attempt added; the run's own fields are those of its last attempt."""
        output = self._output.report(over=not self._left)
        attempt = {
            "attempt": self._order["attempt"], "started": to_text(self._started),
            "ended": to_text(self._ended), "state": state, "reason": reason, "warnings": self._warnings, **facts,
            "enforced": self._caps.enforced, "failover": self._order["failover"], "output": output,
        }  # fmt: skip
        record: dict[str, Any] = self._order["record"]
        flat = {key: value for key, value in attempt.items() if key not in ("attempt", "failover", "rusage")}
        flat["output"] = {key: value for key, value in output.items() if key != "offset"}
        flat["started"] = record["attempts"][0]["started"] if record["attempts"] else flat["started"]
        return {**record, **flat, "attempts": [*record["attempts"], attempt]}

    def _write_record(self, record: dict[str, Any]) -> str:
        if record["state"] == wire.UNSTARTED:
            return ""
        path = f"{self._order['logs']}.json"
        try:
            atomic_file.replace(path, wire.encode(record))
        except OSError as error:
            record["record_error"] = f"{path}: {error.strerror}"
            return ""
        return path

    def _mark_end(self, record: dict[str, Any]) -> None:
        """R/ended holds the record too: it is what the scheduler takes in, be the log directory writable or not."""
        if self._left:
            self._stay_reachable()
        while True:
            try:
                wire.write_mark(self.directory, wire.ENDED, wire.encode(record))
                return
            except FileExistsError:
                os.unlink(wire.ENDED, dir_fd=self.directory)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                    raise
                time.sleep(1)  # R can't be written: the exit status waits here until it can

    def _stay_reachable(self) -> None:
        """R goes; who asks what is left finds us beside it."""
        self._beside = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=self.directory)
        with contextlib.suppress(OSError):
            os.rename(wire.CONTROL, self.name + wire.LEFT, src_dir_fd=self.directory, dst_dir_fd=self._beside)

    def _farewell(self) -> None:
        self._followers.tell("ended")
        self._followers.hang_up()
        self._say(f"{'left' if self.leaves else 'ended'} {self.name}")
