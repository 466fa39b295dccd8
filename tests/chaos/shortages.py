"""Faults of the host around the daemon: its clock, its kernel's tables, its journal, its sockets, and a load."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.chaos import strain
from tests.chaos.daemon import Host
from tests.chaos.episodes import BACK, Episode
from tests.chaos.timeline import Killed, Span

Condition = Callable[[Host, Episode, random.Random], AbstractContextManager[None]]
PID_MAX = Path("/proc/sys/kernel/pid_max")
_OWN_SINCE = (6, 14)
"""Since this kernel a PID namespace has its own."""
_FEW_PIDS = "310"
"""Below 300 none are given again, so that is room for ten processes."""
STRAINED = frozenset({"clock", "calls"})
"""The classes for which the library is preloaded."""
_BUSY = "while :; do :; done"
_FAULTS = {"ENFILE": strain.TABLES, "ENOMEM": strain.MEMORY, "EIO": strain.DISK}


def missing(kind: str) -> str:
    """What this host lacks for a class of faults; "": nothing."""
    if kind in STRAINED and shutil.which(strain.COMPILER) is None:
        return "gcc and libc6-dev"
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    return "Linux 6.14" if kind == "pids" and release < _OWN_SINCE else ""


@contextmanager
def clock(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Set the clock, and after the episode again; where it was set far back, only once the daemon is well."""
    first, *others = [float(word) for word in episode.about]
    set_clock(host, first)
    yield
    for step in others:
        if first < -BACK:
            host.puts_right = step
        else:
            set_clock(host, step)


def set_clock(host: Host, step: float) -> None:
    """Set the clock of the daemon by so many seconds."""
    kind = "forward" if step > 0 else "far back" if step < -BACK else "back"
    host.timeline.say(f"the clock is set by {step:+g} s", f"clock {kind}")
    host.strain.set_clock(step)


@contextmanager
def failing_calls(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Let some of the calls of scheduler, launcher and supervisors fail."""
    name, thousandths = episode.about
    host.timeline.say(f"{thousandths} of 1,000 calls fail with {name} for {episode.seconds:.1f} s", f"calls {name}")
    with host.strain.failing(_FAULTS[name], int(thousandths)):
        yield
    host.timeline.say("calls succeed")


@contextmanager
def no_processes(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Fill the table of processes, of this PID namespace."""
    before = PID_MAX.read_text()
    host.timeline.say(f"no process can be made for {episode.seconds:.1f} s", "pids")
    PID_MAX.write_text(_FEW_PIDS)
    try:
        yield
    finally:
        PID_MAX.write_text(before)
    host.timeline.say("processes can be made")


@contextmanager
def no_descriptors(host: Host, episode: Episode, rng: random.Random) -> Iterator[None]:
    """Leave living processes hardly a descriptor more than they have."""
    host_pids = host.pids()
    pids = [pid for pid, role in host_pids.items() if role in episode.about]
    chosen, before = rng.sample(pids, (len(pids) + 1) // 2), {}
    for pid in chosen:
        with contextlib.suppress(OSError, ValueError):
            has = len(os.listdir(f"/proc/{pid}/fd"))
            before[pid] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (has + rng.randrange(3), before[pid][1]))
            host.timeline.starved.append(Killed(pid, time.time_ns()))
    struck = "+".join(role for role in episode.about if role in {host_pids[pid] for pid in before})
    host.timeline.say(f"no descriptors for {[*before]} ({struck or 'nobody'})", f"nofile {struck}" if struck else "")
    yield
    for pid, limits in before.items():
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    host.timeline.say("descriptors again")


@contextmanager
def journal(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Let journald stand still, so that its socket fills, or be gone."""
    how = episode.about[0]
    host.timeline.say(f"journald is {how} for {episode.seconds:.1f} s", f"journald {how}")
    path = host.root / "journal"
    if how == "gone":
        host.journal.close()
        path.unlink(missing_ok=True)
    else:
        host.journal.read = False
    yield
    host.journal.read = True
    if how == "gone":
        host.journal.listen()
    host.timeline.say("journald is there again")


@contextmanager
def removed(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Remove the control socket, or all that is in the run directory."""
    what, begin = episode.about[0], time.time_ns()
    host.timeline.say(f"{what} is removed", f"removed {what}")
    if what == "control socket":
        (host.root / "run" / "control").unlink(missing_ok=True)
    else:
        for path in (host.root / "run").iterdir():
            _remove(path) if path.is_dir() else path.unlink(missing_ok=True)
    yield
    if what != "control socket":
        host.timeline.run_removed.append(Span(begin, time.time_ns()))


def _remove(directory: Path) -> None:
    """Remove a directory into which others write meanwhile."""
    while directory.exists():
        try:
            shutil.rmtree(directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise


@contextmanager
def load(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Keep all processors busy, with four times as many processes."""
    count = 4 * (os.cpu_count() or 1)
    host.timeline.say(f"{count} busy processes for {episode.seconds:.1f} s", "load")
    busy = [subprocess.Popen(["/bin/sh", "-c", _BUSY], stdin=subprocess.DEVNULL) for _ in range(count)]
    yield
    for process in busy:
        process.kill()
        process.wait()
    host.timeline.say("the load is gone")


CONDITIONS: dict[str, Condition] = {
    "clock": clock,
    "calls": failing_calls,
    "pids": no_processes,
    "descriptors": no_descriptors,
    "journald": journal,
    "removed": removed,
    "load": load,
}
