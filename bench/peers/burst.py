"""1,000 jobs that are due in the same minute: from then to the first and the last start, beside a C loop that starts as
many, one after the other, just before; the CPU time that a run costs beside its job's own; memory before and after.
"""

from __future__ import annotations

import contextlib
import struct
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.peers.daemons import ENVIRONMENT, Daemon, Jobs
from bench.peers.hosts import Host, Others, hosted
from bench.peers.installs import Installs
from bench.peers.places import place
from bench.rig import children_cpu, pss_kib, wait_for

COUNT = 1000
BUSY = 1 / 3
"""A round counts only if all else on the machine took less than so many CPUs."""
_START = timedelta(seconds=20)
"""What a daemon gets to read its jobs, and to come to rest, before they are due."""


class TooBusy(Exception):
    """This round says nothing: the machine had other things to do."""


class Peak:
    """The most memory that a host has had, as far as it was seen: a look a second, which takes time from the host."""

    def __init__(self, host: Host) -> None:
        self._host, self._at, self.mib = host, 0.0, 0.0

    def look(self) -> bool:
        """Look, if it is time for that; always False."""
        if time.monotonic() >= self._at:
            kib = 0
            for pid in self._host.pids():
                with contextlib.suppress(OSError):  # it has just ended
                    kib += pss_kib([pid])
            self.mib, self._at = max(self.mib, kib / 1024), time.monotonic() + 1
        return False


def burst(
    daemon: Daemon, installs: Installs, *, shell: bool, count: int = COUNT, user: str = "", sees_peak: bool = False
) -> dict[str, float]:
    """One round, which, if it `sees_peak`, looks at the memory meanwhile; TooBusy."""
    with place() as (home, ledger):
        command = (str(installs.stamp), str(ledger))
        due = (datetime.now(UTC) + _START + timedelta(minutes=1)).replace(second=0, microsecond=0)
        jobs = Jobs(count, due, command, shell, user)
        with hosted(home, installs.init, *begun(daemon, home, installs, jobs)) as host:
            host.settle()
            loop, job_cpu = c_loop(installs, command, shell=shell, count=count)
            ledger.write_bytes(b"")
            idle_mib, used = host.pss_mib(), host.cpu()
            time.sleep(max(0.0, due.timestamp() - time.time() - 1))
            others, peak = Others(), Peak(host)
            wait_for(lambda: (sees_peak and peak.look()) or ledger.stat().st_size >= 8 * count, 180)
            host.settle(120)
            after_mib, processes = host.pss_mib(), len(host.pids())
            cpu = host.cpu() - used
        if (share := others.share(cpu)) > BUSY:
            raise TooBusy(f"{daemon.name}: other processes took {share:.2f} CPUs")
        starts = [number / 1e9 - due.timestamp() for number in stamps(ledger)]
    if len(starts) != count:
        raise RuntimeError(f"{daemon.name} started {len(starts)} of {count} jobs: {host.said()[-500:]}")
    return {
        "first_ms": min(starts) * 1000, "last_s": max(starts), "c_loop_s": loop, "ratio": max(starts) / loop,
        "cpu_ms_a_run": (cpu - job_cpu) / count * 1000, "idle_mib": idle_mib, "after_mib": after_mib,
        "processes": processes, **({"peak_mib": peak.mib} if sees_peak else {}),
    }  # fmt: skip


def c_loop(
    installs: Installs, command: tuple[str, ...], *, shell: bool, count: int, at_once: int = 1
) -> tuple[float, float]:
    """The seconds of the C loop, or of several at once that share the work, and the CPU time of it all."""
    line = ("/bin/sh", "-c", " ".join(command)) if shell else command
    before = children_cpu()
    begin = time.monotonic()
    loops = [subprocess.Popen([installs.spawn_loop, str(count // at_once), *line], stdout=subprocess.DEVNULL)
             for _ in range(at_once)]  # fmt: skip
    if any(loop.wait() for loop in loops):
        raise RuntimeError("the C loop failed")
    return time.monotonic() - begin, children_cpu() - before


def stamps(ledger: Path) -> list[int]:
    return [number for (number,) in struct.iter_unpack("<Q", ledger.read_bytes())]


def begun(daemon: Daemon, home: Path, installs: Installs, jobs: Jobs) -> tuple[list[str], dict[str, str]]:
    command, more = daemon.begin(home, installs, jobs)
    return command, ENVIRONMENT | more
