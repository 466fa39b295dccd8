"""One job in each second: from the full second to its main(), beside a C program that sleeps and starts it."""

from __future__ import annotations

import statistics
import subprocess

from bench.peers.burst import begun, place, stamps
from bench.peers.daemons import Daemon, Jobs
from bench.peers.hosts import hosted
from bench.peers.installs import Installs
from bench.rig import wait_for

COUNT = 60
_SETTLING = 5
"""The first starts, which are not counted."""


def seconds(daemon: Daemon, installs: Installs) -> dict[str, float]:
    """One minute of it, and of the C program."""
    with place() as (home, ledger):
        command = (str(installs.stamp), str(ledger))
        subprocess.run([installs.tick_loop, str(_SETTLING + COUNT), *command], check=True)
        least = _late(stamps(ledger))
        ledger.write_bytes(b"")
        jobs = Jobs(1, None, command, shell=False)
        with hosted(home, installs.init, *begun(daemon, home, installs, jobs)):
            wait_for(lambda: ledger.stat().st_size >= 8 * (_SETTLING + COUNT), 3 * COUNT)
            late = _late(stamps(ledger))
    median, longest = statistics.median(late), max(late)
    return {
        "median_ms": median, "longest_ms": longest, "c_median_ms": statistics.median(least), "c_longest_ms": max(least),
        "median_ratio": median / statistics.median(least), "longest_ratio": longest / max(least),
    }  # fmt: skip


def _late(found: list[int]) -> list[float]:
    return [stamp % 1_000_000_000 / 1e6 for stamp in found[_SETTLING:]]
