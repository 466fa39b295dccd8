"""The watcher runs as a user, waits for files, and reports files that appeared to the launcher.

    python3 -I -S watcher/main.py RUNS_PARENT

Its standard input is a socket to the launcher. The launcher sends nothing, so the socket becomes readable only when the
launcher closes it, and the watcher then ends. Descriptor 3 has the paths, each with a NUL at its end. Reports contain
NUMBER, the index of a path, from 0:

    NUMBER INSTANT FILE   FILE appeared at the path; INSTANT: its last change (wall, ns) if found at the start, else "-"
    ! NUMBER CODE         files at the path may be missed; CODE: the errno, or 0 for too many files there
    ! - 0                 from now on, no files are missed

The user controls this process, so the launcher uses its reports only for this user's jobs.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections import deque

if __name__ == "__main__":  # started as a file, it is not in a package yet
    sys.path.append(os.path.dirname(os.path.abspath(f"{__file__}/../../..")))

from jobqueued.child.watcher.appearing import SECOND, Appearing, Trouble

CHANNEL, PATHS = 0, 3
LONGEST = 4096
"""Maximum bytes of a reported path. System calls do not accept longer paths."""
_APART = SECOND
"""Minimum time (ns) between two reports of problems."""


class Watcher:
    """Waits for files at paths, and reports them."""

    def __init__(self, paths: list[str]) -> None:
        self._numbers = {path: number for number, path in enumerate(paths)}
        self._directories = {os.path.dirname(path): number for path, number in self._numbers.items()}
        self._files = Appearing()
        self._files.want(paths)
        self._files.begin()
        self._outbox: deque[bytes] = deque()
        self._told: Trouble | None = Trouble("", -1)
        self._told_at = -_APART

    def serve(self) -> None:
        """Serve until the launcher hangs up."""
        while True:
            poll = select.poll()
            poll.register(CHANNEL, select.POLLIN | (select.POLLOUT if self._outbox else 0))
            for descriptor in self._files.descriptors():
                poll.register(descriptor, select.POLLIN)
            ready = dict(poll.poll(self._wait()))
            if ready.pop(CHANNEL, 0) & ~select.POLLOUT:
                return
            mono = time.monotonic_ns()
            if ready:
                self._files.read(mono)
            if self._files.has_more or _is_over(self._files.deadline, mono):
                self._files.turn(mono)
            self._send_reports(mono)

    def _wait(self) -> float | None:
        """Return the maximum time to sleep (ms), or None for no limit."""
        if self._files.has_more:
            return 0
        deadlines = [self._files.deadline]
        if not self._outbox:  # otherwise the socket must accept more first
            deadlines += [self._files.tells_at, self._told_at + _APART if self._files.trouble != self._told else None]
        times = [at for at in deadlines if at is not None]
        return max(0, min(times) - time.monotonic_ns()) / 1_000_000 + 1 if times else None

    def _send_reports(self, mono: int) -> None:
        """Send as many reports as the socket accepts. While some wait, add no more."""
        if not self._outbox:
            self._outbox += map(self._word, self._files.pop_due(mono))
            if (trouble := self._files.trouble) != self._told and mono >= self._told_at + _APART:
                self._outbox.append(self._complaint(trouble))
                self._told, self._told_at = trouble, mono
        with contextlib.suppress(BlockingIOError):
            while self._outbox:
                os.write(CHANNEL, self._outbox[0])
                self._outbox.popleft()

    def _word(self, appeared: tuple[str, int | None, str]) -> bytes:
        path, instant, file = appeared
        said = os.fsencode(file)[:LONGEST]
        return b"%d %s %s" % (self._numbers[path], b"-" if instant is None else b"%d" % instant, said)

    def _complaint(self, trouble: Trouble | None) -> bytes:
        return b"! - 0" if trouble is None else b"! %d %d" % (self._directories[trouble.directory], trouble.number)


def _is_over(deadline: int | None, mono: int) -> bool:
    return deadline is not None and deadline <= mono


def _paths() -> list[str]:
    with open(PATHS, "rb") as file:
        return [os.fsdecode(path) for path in file.read().split(b"\0")[:-1]]


def main() -> None:
    """Watch until the launcher hangs up."""
    signal.signal(signal.SIGURG, signal.SIG_IGN)  # the kernel sends it if a writer breaks our lease
    os.set_blocking(CHANNEL, False)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write("jq-watcher")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        Watcher(_paths()).serve()


if __name__ == "__main__":
    main()
