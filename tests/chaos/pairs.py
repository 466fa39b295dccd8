"""Disks that fill while kills come in pairs: the daemon goes on from memory, is killed, and its next start, too.

What no commit holds is then in the run directory alone, and the next start takes it from there; a kill within that is
what this is for.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos import processes
from tests.chaos.daemon import Host
from tests.chaos.disks import Busy, Disk
from tests.chaos.episodes import Episode
from tests.chaos.processes import LAUNCHER, SCHEDULER

_AGAIN = 0.1
"""The disk is filled again after so many seconds, as the daemon gives its ballast up."""
_BY_THEN = 5.0
"""A start tells of an end within so many seconds, if it finds one."""
_UNTIL_FREE = 10.0


@contextmanager
def pairs(host: Host, episode: Episode, rng: random.Random) -> Iterator[None]:
    """Let the daemon go on without its disk, and kill it and its next starts."""
    how, disk = episode.about[0], host.disks["state"]
    host.timeline.say(f"state {how} for {episode.seconds:.1f} s, and kills in pairs", f"{how} state")
    if how == "abort":
        disk.abort()
    until = time.monotonic() + episode.seconds
    while time.monotonic() < until:
        if how == "full":
            disk.fill()
        host.sleep(_AGAIN)
    if how == "full" and rng.random() < 0.5:  # there is room, and perhaps a commit
        disk.free()
        host.sleep(rng.uniform(0, 0.5))
    _kill(host, rng)
    _mend(disk, how)
    for _ in range(rng.choice([1, 1, 2])):
        _start_and_kill(host, rng)
    host.end(signal.SIGKILL, 0)
    yield


def _mend(disk: Disk, how: str) -> None:
    if how == "full":
        disk.free()
        return
    until = time.monotonic() + _UNTIL_FREE
    while True:
        try:
            disk.mend()
            return
        except Busy:
            if time.monotonic() > until:
                raise
            time.sleep(_AGAIN)


def _start_and_kill(host: Host, rng: random.Random) -> None:
    """Start the daemon, and kill it as it takes in what it finds, or at any time of its start."""
    size = host.log.stat().st_size
    host.end(signal.SIGKILL, 0)
    host.tend()
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0.1, 1.5))
    else:
        _wait_for_an_end(host, size)
        time.sleep(rng.uniform(0, 0.06))
    _kill(host, rng)


def _wait_for_an_end(host: Host, size: int) -> None:
    """Wait until the log, from this size on, tells of an end, or of a daemon that is ready."""
    until = time.monotonic() + _BY_THEN
    with host.log.open("rb") as log:
        log.seek(size)
        said = b""
        while time.monotonic() < until and b'"event":"run_ended"' not in said and b'"event":"ready"' not in said:
            time.sleep(0.002)
            said += log.read()


def _kill(host: Host, rng: random.Random) -> None:
    """SIGKILL of the scheduler, at times of the launcher, too; the next start is for whoever asks for it."""
    with_launcher = rng.random() < 0.2
    launchers = [pid for pid, role in host.pids().items() if role == LAUNCHER] if with_launcher else []
    host.timeline.say(
        f"kill -9 scheduler {launchers or ''}", f"kill {SCHEDULER}{f'+{LAUNCHER}' * bool(launchers)}"
    )  # fmt: skip
    for pid in launchers:
        processes.send(pid, signal.SIGKILL)
    host.end(signal.SIGKILL, 3600)
