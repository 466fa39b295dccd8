"""The watcher: waits for files as one user, and tells the launcher of those that appear.

    python3 -I -S watcher/main.py RUNS_PARENT

Its standard input is a socket to the launcher, which never says anything on it: who can read it has hung up, and that
ends the watcher.  Descriptor 3 has the paths, each with a NUL at its end; they are told by their place among these:

    NUMBER INSTANT FILE   a file of this path has appeared; INSTANT (ns, wall) of a look at the start, else "-"
    ! NUMBER CODE         something may go unnoticed there, by this errno, or (0) as there are too many files
    ! - 0                 nothing goes unnoticed

It is a process of the user, who can do with it what he likes: whoever hears it believes nothing beyond that.
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
"""Bytes of a path that is told: no system call takes a longer one."""
_APART = SECOND
"""Between two words about trouble."""


class Watcher:
    """Waits for these paths."""

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
        """Until nobody hears."""
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
            self._tell(mono)

    def _wait(self) -> float | None:
        """For how long to sleep (ms); None: until something happens."""
        if self._files.has_more:
            return 0
        deadlines = [self._files.deadline]
        if not self._outbox:  # else there is room first
            deadlines += [self._files.tells_at, self._told_at + _APART if self._files.trouble != self._told else None]
        times = [at for at in deadlines if at is not None]
        return max(0, min(times) - time.monotonic_ns()) / 1_000_000 + 1 if times else None

    def _tell(self, mono: int) -> None:
        """Say what there is to say, as far as the socket takes it; what does not fit there waits, and grows no more."""
        if not self._outbox:
            self._outbox += map(self._word, self._files.told(mono))
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
    signal.signal(signal.SIGURG, signal.SIG_IGN)  # a lease of ours is to be broken
    os.set_blocking(CHANNEL, False)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write("jq-watcher")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        Watcher(_paths()).serve()


if __name__ == "__main__":
    main()
