"""The launcher's view of users' watchers: processes that it started, but whose reports it does not trust.

A user has at most one watcher, even if the user kills or blocks it, because the next watcher starts only after the
launcher reaped the previous one. The launcher forwards a report with the number that the scheduler chose, which no user
can forge. It accepts a burst of 20 reports from each watcher, then 4 a second; from all watchers together 100, then 50
a second. Above these limits, only the watchers wait.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
from collections import deque

from jobqueued.child.watching import WATCH
from jobqueued.child.worker import Worker

BURST, EVERY = 20, 0.25
"""A watcher's limit: reports accepted at once, and seconds between later reports."""
BURST_OF_ALL, EVERY_OF_ALL = 100, 0.02
STARTING, LONGEST_WAIT = 4, 10.0
"""Number of new watchers without a report that delay other watchers' start, and maximum delay (s)."""
_A_TURN = 16
_LONGEST = 5000
_WORD = re.compile(rb"(\d{1,5}) (-|\d{1,19}) (/[^\0]{0,4200})", re.DOTALL)
_TROUBLE = re.compile(rb"! (\d{1,5}|-) (\d{1,3})")
_SA_NOCLDSTOP = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class _UserWatcher:
    __slots__ = ("number", "paid", "pid", "socket", "uid")

    def __init__(self, number: int, uid: int, worker: Worker) -> None:
        self.number, self.uid, self.pid, self.socket = number, uid, worker.pid, worker.socket
        self.paid = 0.0


class Watchers:
    """All watchers. `poll` gets a single descriptor for all watchers' sockets.

    The handler of SIGCHLD must already be installed.
    """

    def __init__(self, poll: select.poll) -> None:
        _ignore_stops()
        self._poll, self._reports = poll, select.epoll()
        self._poll.register(self._reports, select.POLLIN)
        self._orders: dict[int, tuple[int, bytes]] = {}
        """UID → number and order that no supervisor has received yet."""
        self._ready: deque[int] = deque()
        """The UIDs whose orders wait only for a supervisor."""
        self._of_pid: dict[int, _UserWatcher] = {}
        self._of_uid: dict[int, _UserWatcher] = {}
        self._silent: dict[_UserWatcher, float] = {}
        """New watcher without a report → time (s) when it stops delaying other watchers."""
        self._hearing: dict[int, _UserWatcher] = {}
        """Descriptor of a socket → its connected watcher."""
        self._resting: deque[tuple[float, _UserWatcher]] = deque()
        self._paid = 0.0
        self._deaf_until: float | None = None

    def __contains__(self, descriptor: int) -> bool:
        """Return whether this is the descriptor in `poll`."""
        return descriptor == self._reports.fileno()

    @property
    def pids(self) -> set[int]:
        """The pids of the watchers."""
        return set(self._of_pid)

    def descriptors(self) -> list[int]:
        """Return all open descriptors of this object."""
        return [self._reports.fileno(), *self._hearing]

    # orders

    def obey(self, order: str) -> None:
        """Handle ``watch NUMBER UID DOCUMENT`` or ``unwatch NUMBER``. Raises ValueError."""
        verb, number, *rest = order.split(" ", 3)
        if verb == "unwatch":
            self._forget(int(number))
            return
        uid = int(rest[0])
        self._orders[uid] = int(number), rest[1].encode()
        if (before := self._of_uid.get(uid)) is not None:
            self._end(before)
        elif uid not in self._ready:
            self._ready.append(uid)

    def _forget(self, number: int) -> None:
        for uid, (waiting, _) in list(self._orders.items()):
            if waiting == number:
                del self._orders[uid]
        for watcher in self._of_pid.values():
            if watcher.number == number:
                self._end(watcher)

    def clear(self) -> None:
        """End all watchers, because no scheduler reads their reports."""
        self._orders.clear()
        self._ready.clear()
        for watcher in self._of_pid.values():
            self._end(watcher)

    def want(self, now: float) -> bool:
        """Return whether a supervisor is needed to become a watcher."""
        while self._ready and self._ready[0] not in self._orders:
            self._ready.popleft()
        return bool(self._ready) and self._opens(now) <= now

    def _opens(self, now: float) -> float:
        """Return the time (s) when another watcher may start."""
        while self._silent and next(iter(self._silent.values())) <= now:
            del self._silent[next(iter(self._silent))]
        return next(iter(self._silent.values())) if len(self._silent) >= STARTING else now

    def hand_over(self, worker: Worker, now: float) -> None:
        """Turn a supervisor into a watcher with the first order, after which its user controls it. Raises OSError."""
        uid = self._ready[0]
        number, document = self._orders[uid]
        descriptor = os.memfd_create("watch", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(document)
            socket.send_fds(worker.socket, [WATCH.encode()], [descriptor])
        finally:
            os.close(descriptor)
        del self._orders[uid]
        self._ready.popleft()
        watcher = self._of_pid[worker.pid] = self._of_uid[uid] = _UserWatcher(number, uid, worker)
        self._hearing[worker.socket.fileno()] = watcher
        self._silent[watcher] = now + LONGEST_WAIT
        self._reports.register(worker.socket, select.EPOLLIN)

    # the watchers' reports

    def rest(self, now: float) -> list[float]:
        """Resume reading from watchers whose pause is over. Return the seconds until the next action, or []."""
        self._hear_again(now)
        times = [at for at, _ in list(self._resting)[:1]]
        times += [] if self._deaf_until is None else [self._deaf_until]
        times += [self._opens(now)] if self._ready else []
        return [max(0.0, min(times) - now)] if times else []

    def _hear_again(self, now: float) -> None:
        if self._deaf_until is not None and self._deaf_until <= now:
            self._deaf_until = None
            self._poll.register(self._reports, select.POLLIN)
        while self._resting and self._resting[0][0] <= now:
            _, watcher = self._resting.popleft()
            if self._hearing.get(watcher.socket.fileno()) is watcher:
                self._reports.register(watcher.socket, select.EPOLLIN)

    def hear(self, now: float) -> list[str]:
        """Read some reports, and return the notices."""
        found = []
        for descriptor, _bits in self._reports.poll(0, _A_TURN):
            if self._deaf_until is not None:
                break
            watcher = self._hearing[descriptor]
            try:
                said = watcher.socket.recv(_LONGEST)
            except BlockingIOError:
                continue
            except OSError:
                said = b""
            if not said:  # the socket was closed, but the watcher may be alive
                self._end(watcher)
                continue
            self._silent.pop(watcher, None)
            self._charge(watcher, now)
            if notice := _notice(watcher.number, said):
                found.append(notice)
        return found

    def _charge(self, watcher: _UserWatcher, now: float) -> None:
        watcher.paid = max(watcher.paid, now) + EVERY
        if watcher.paid > now + (BURST - 1) * EVERY:
            self._reports.unregister(watcher.socket)
            self._resting.append((now + EVERY, watcher))
        self._paid = max(self._paid, now) + EVERY_OF_ALL
        if self._deaf_until is None and self._paid > now + (BURST_OF_ALL - 1) * EVERY_OF_ALL:
            self._poll.unregister(self._reports)
            self._deaf_until = now + EVERY_OF_ALL

    # the watchers' ends

    def _end(self, watcher: _UserWatcher) -> None:
        """Kill a watcher and read no more reports from it."""
        self._hang_up(watcher)
        with contextlib.suppress(ProcessLookupError):
            os.kill(watcher.pid, signal.SIGKILL)

    def _hang_up(self, watcher: _UserWatcher) -> None:
        self._silent.pop(watcher, None)
        if self._hearing.pop(watcher.socket.fileno(), None) is not None:
            with contextlib.suppress(FileNotFoundError):  # its socket was paused
                self._reports.unregister(watcher.socket)
            watcher.socket.close()

    def reap(self, pid: int) -> str | None:
        """Handle a reaped process.

        Return None if it was not a watcher, "" if another order waits for its user, or the notice.
        """
        watcher = self._of_pid.pop(pid, None)
        if watcher is None:
            return None
        del self._of_uid[watcher.uid]
        self._hang_up(watcher)
        if watcher.uid in self._orders:
            self._ready.append(watcher.uid)
            return ""
        return f"unwatched {watcher.number}"


def _notice(number: int, said: bytes) -> str:
    """Return the line for the scheduler, or "" if the report is invalid."""
    if found := _WORD.fullmatch(said):
        file = json.dumps(os.fsdecode(found[3]))
        return f"appeared {number} {found[1].decode()} {found[2].decode()} {file}"
    if found := _TROUBLE.fullmatch(said):
        return f"unnoticed {number} {found[1].decode()} {found[2].decode()}"
    return ""


def _ignore_stops() -> None:
    """Get no SIGCHLD when children stop and continue, because a user could keep us busy with a watcher's signals."""
    flags_at = 12 if os.uname().machine == "s390x" else ctypes.sizeof(ctypes.c_void_p) + 128
    action = (ctypes.c_char * 512)()
    if _LIBC.sigaction(signal.SIGCHLD, None, action) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    flags = ctypes.c_int.from_buffer(action, flags_at)
    flags.value |= _SA_NOCLDSTOP
    if _LIBC.sigaction(signal.SIGCHLD, action, None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
