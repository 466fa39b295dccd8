"""One supervisor: takes an attempt, starts its job, pumps its output, waits, writes its record; then takes the next.

It outlives the scheduler and the launcher: what it has to tell is in R before it tells anybody.  Being a subreaper it
inherits whatever the job leaves behind, so that "no child left" means that the run is over.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from jobqueued.child import spawn, wire
from jobqueued.child.output import Output

_IN = select.POLLIN
_DRAIN = 1.0
_MSG_CMSG_CLOEXEC = 0x40000000
_NEVER = float("inf")
_LONGEST_POLL = 2**31 - 1

QUESTION = "user "
"""How an order begins that only asks for a user: the user database may take its time, here nobody waits for it."""
_ASKING_SECONDS = 60


def serve(launcher: socket.socket) -> None:
    """Carry out attempts, one after another, until the launcher is gone."""
    wakeups, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    last = ""
    while (order := _receive(launcher)) is not None:
        name, directory = order
        if name.startswith(QUESTION):
            launcher.send(_answer(name.removeprefix(QUESTION)))
            continue
        if directory < 0:
            _sync(last)
            continue
        try:
            last = Attempt(name, directory, launcher, wakeups).carry_out()
        finally:
            os.close(directory)
        if _gone(launcher):
            _sync(last)


def _answer(question: str) -> bytes:
    """What is wrong with a user; a database that hangs costs this supervisor, and the question comes again."""
    number, _, user = question.partition(" ")
    signal.alarm(_ASKING_SECONDS)
    trouble = spawn.trouble_with(json.loads(user))
    signal.alarm(0)
    return f"{QUESTION}{number} {trouble[:200]}".encode(errors="replace")


def _receive(launcher: socket.socket) -> tuple[str, int] | None:
    """The next attempt's name and directory; directory -1: make the last record durable; None: the launcher is gone."""
    data, ancillary, _flags, _address = launcher.recvmsg(wire.NOTICE, socket.CMSG_SPACE(4), _MSG_CMSG_CLOEXEC)
    directory = int.from_bytes(ancillary[0][2][:4], "little") if ancillary else -1
    if not data or (directory >= 0 and _gone(launcher)):
        return None
    return data.decode(), directory


def _gone(launcher: socket.socket) -> bool:
    poll = select.poll()
    poll.register(launcher, 0)
    return bool(poll.poll(0))


def _sync(path: str) -> None:
    """Nobody will commit this end soon: let the record file itself be durable."""
    for target in (path, os.path.dirname(path)) if path else ():
        with contextlib.suppress(OSError):
            descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
            os.fsync(descriptor)
            os.close(descriptor)


def _stamp(instant: int) -> str:
    """An instant as RFC 3339 UTC with microseconds."""
    seconds, rest = divmod(instant, 1_000_000_000)
    t = time.gmtime(seconds)
    return f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}.{rest // 1000:06}Z"


class Attempt:
    """One attempt, from the claim of its R to the mark of its end."""

    def __init__(self, name: str, directory: int, launcher: socket.socket, wakeups: int) -> None:
        self.name, self.directory = name, directory
        self._launcher, self._wakeups = launcher, wakeups
        self._followers: list[socket.socket] = []
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], object]] = {}
        self._pid = 0
        self._status: int | None = None
        self._usage: resource.struct_rusage | None = None
        self._reason: str | None = None
        self._started = self._ended = 0
        self._deadline = self._kill_at = self._drain_until = _NEVER
        self._empty = False

    def carry_out(self) -> str:
        """All of it; the path of the record, "" when the attempt turned out to be another's."""
        try:
            self._order = self._read_order()
            listener = self._listen()
            self._claim()
        except OSError as error:  # not ours (any more), or no room in R: nothing was started
            theirs = error.errno in (errno.EEXIST, errno.EADDRINUSE, errno.ENOENT)
            self._tell(f"idle {self.name}" if theirs else f"unstarted {self.name} run directory: {error.strerror}")
            return ""
        with listener:
            self._output = Output(f"{self._order['logs']}.log", self._order["output_limit"])
            try:
                self._start()
            except spawn.StartFailed as failure:
                record = self._not_started(failure)
            else:
                self._watch(listener)
                record = self._record()
            if not self._is_ours():
                return ""
            path = self._write_record(record)
            self._mark_end(record)
            self._farewell()
        return path

    def _is_ours(self) -> bool:
        """Whether R is still there; a scheduler that got no answer from us may have judged the run without us."""
        try:
            os.stat(wire.SPAWNING, dir_fd=self.directory)
        except FileNotFoundError:
            self._tell(f"idle {self.name}")
            return False
        return True

    def _read_order(self) -> dict[str, Any]:
        order = wire.read_document(self.directory, wire.SPEC)
        if order is None:
            raise OSError(errno.ENODATA, "its order is not whole")
        return order

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(wire.address(self.directory))
            listener.listen(8)
        except OSError:
            listener.close()
            raise
        return listener

    def _claim(self) -> None:
        """The token that decides who starts this attempt: from here on it may have run."""
        wire.write_mark(self.directory, wire.SPAWNING)

    def _start(self) -> None:
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._started = time.time_ns()
        self._pid = spawn.spawn(self._order, self._output.writing)
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._output.started()
        if self._order["timeout"] is not None:
            self._deadline = time.monotonic() + self._order["timeout"]
        self._write_pid(before, after)
        self._tell(f"started {self.name} {self._pid} {self._started}")

    def _write_pid(self, before: int, after: int) -> None:
        mark = b"%d %d %d %d\n" % (self._pid, self._started, before, after)
        with contextlib.suppress(OSError):  # no room in R: we know it all the same
            wire.write_mark(self.directory, wire.PID, mark)

    def _watch(self, listener: socket.socket) -> None:
        """Until the main process has ended, nothing of the run is left, and its output is drained (or given up)."""
        self._on(self._wakeups, self._reap)
        self._on(self._output.reading, self._pump)
        self._on(listener.fileno(), lambda: self._accept(listener))
        self._reap()
        while not (self._empty and self._output.reading not in self._ready):
            for descriptor, _bits in self._poll.poll(self._patience()):
                self._ready[descriptor]()
            self._look_at_the_clock()

    def _on(self, descriptor: int, action: Callable[[], object]) -> None:
        self._ready[descriptor] = action
        self._poll.register(descriptor, _IN)

    def _off(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._ready[descriptor]

    def _patience(self) -> float | None:
        until = min(self._deadline, self._kill_at, self._drain_until)
        return None if until == _NEVER else min(max(0.0, until - time.monotonic()) * 1000 + 1, _LONGEST_POLL)

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if now >= self._deadline:
            self._reap()  # what has ended in time has not timed out, however late we look
        if now >= self._deadline:
            self._stop("timeout")
        if now >= self._kill_at:
            self._signal(signal.SIGKILL)
            self._kill_at = now + 1  # a fork bomb may have children that we could not see
        if now >= self._drain_until and self._output.reading in self._ready:
            self._off(self._output.reading)

    def _stop(self, reason: str | None) -> None:
        """SIGTERM now, SIGKILL to all that is left after `kill_grace`."""
        self._reason = self._reason or reason
        self._deadline = _NEVER
        self._signal(signal.SIGTERM)
        self._kill_at = time.monotonic() + self._order["kill_grace"]

    def _signal(self, number: int) -> None:
        """To the process groups of our children: the job's, and those of all that it left to us.

        Only of children: a group whose last member is gone may be a stranger's by now.
        """
        for group in {os.getpgid(child) for child in children()} - {os.getpgrp()}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)

    def _reap(self) -> None:
        """Collect what has ended: the main process with its rusage, orphans apart."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeups, 512)
        try:
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if found.si_pid == self._pid:
                    self._ended = time.time_ns()
                    _pid, self._status, self._usage = os.wait4(self._pid, 0)
                    self._deadline = _NEVER
                else:
                    os.waitpid(found.si_pid, 0)
        except ChildProcessError:
            self._empty = True
            self._drain_until = time.monotonic() + _DRAIN
            return
        if self._status is not None and self._kill_at == _NEVER:
            self._stop(None)

    def _pump(self) -> None:
        if not self._output.pump():
            self._off(self._output.reading)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            follower, _address = listener.accept()
            follower.setblocking(False)
            self._followers.append(follower)
            self._on(follower.fileno(), lambda: self._part(follower))
            follower.send(b"live\n")

    def _part(self, follower: socket.socket) -> None:
        """A follower has nothing to say: what can be read is its hanging up."""
        self._off(follower.fileno())
        self._followers.remove(follower)
        follower.close()

    def _record(self) -> dict[str, Any]:
        assert self._status is not None
        assert self._usage is not None
        code = os.waitstatus_to_exitcode(self._status)
        usage = self._usage
        state, reason = self._verdict(code)
        return self._finished(
            state, reason,
            pid=self._pid, exit_code=code if code >= 0 else None, signal=-code if code < 0 else None,
            cpu_user=round(usage.ru_utime, 6), cpu_system=round(usage.ru_stime, 6), **_memory(usage),
            rusage={name[3:]: getattr(usage, name) for name in _COUNTS},
        )  # fmt: skip

    def _verdict(self, code: int) -> tuple[str, str | None]:
        if self._reason == "timeout":
            return "timed_out", f"timeout after {self._order['timeout']:g} s"
        if code in self._order["success_codes"]:
            return "succeeded", None
        return "failed", f"signal {-code} ({_signal_name(-code)})" if code < 0 else f"exit code {code}"

    def _not_started(self, failure: spawn.StartFailed) -> dict[str, Any]:
        self._ended = time.time_ns()
        if spawn.is_system_trouble(failure):
            return self._finished(wire.UNSTARTED, str(failure))
        return self._finished("failed", f"start_failed: {failure}")

    def _finished(self, state: str, reason: str | None, **facts: Any) -> dict[str, Any]:
        """The record so far with this attempt added; the run's own fields are those of its last attempt."""
        output = self._output.close()
        attempt = {
            "attempt": self._order["attempt"], "started": _stamp(self._started), "ended": _stamp(self._ended),
            "state": state, "reason": reason, **facts, "output": output,
        }  # fmt: skip
        record: dict[str, Any] = self._order["record"]
        flat = {key: value for key, value in attempt.items() if key not in ("attempt", "rusage")}
        flat["output"] = {key: value for key, value in output.items() if key != "offset"}
        flat["started"] = record["attempts"][0]["started"] if record["attempts"] else flat["started"]
        return {**record, **flat, "attempts": [*record["attempts"], attempt]}

    def _write_record(self, record: dict[str, Any]) -> str:
        """The record file, by rename: a reader sees the old one or the new one, whole."""
        if record["state"] == wire.UNSTARTED:
            return ""
        path = f"{self._order['logs']}.json"
        try:
            _replace(path, wire.encode(record))
        except OSError as error:
            record["record_error"] = f"{path}: {error.strerror}"
            return ""
        return path

    def _mark_end(self, record: dict[str, Any]) -> None:
        """R/ended holds the record too: it is what the scheduler takes in, be the log directory writable or not."""
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

    def _farewell(self) -> None:
        for follower in self._followers:
            with contextlib.suppress(OSError):
                follower.send(b"ended\n")
            follower.close()
        self._tell(f"ended {self.name}")

    def _tell(self, notice: str) -> None:
        with contextlib.suppress(OSError):  # no launcher: R tells it
            self._launcher.send(notice.encode())


_COUNTS = ("ru_maxrss", "ru_minflt", "ru_majflt", "ru_inblock", "ru_oublock", "ru_nvcsw", "ru_nivcsw")


def _memory(usage: resource.struct_rusage) -> dict[str, int | None]:
    """The peak of the largest process, in bytes; it starts from the supervisor's own, so below that only a bound."""
    peak, floor = usage.ru_maxrss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    known = peak > floor
    return {"memory_peak": peak * 1024 if known else None, "memory_peak_below": None if known else floor * 1024}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def children() -> list[int]:
    """Our children, the inherited ones included."""
    me = os.getpid()
    with open(f"/proc/{me}/task/{me}/children", "rb") as file:
        return [int(pid) for pid in file.read().split()]


def _replace(path: str, data: bytes) -> None:
    temporary = f"{path}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o640)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o750, exist_ok=True)
        descriptor = os.open(temporary, flags, 0o640)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
