"""One job in each second: from the full second to its main(), beside a C program that sleeps and starts it, with and
without what a commit on that disk takes, which ours makes first.
"""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import time
from contextlib import closing
from pathlib import Path

from bench.peers.burst import begun, stamps
from bench.peers.daemons import Daemon, Jobs
from bench.peers.hosts import hosted
from bench.peers.installs import Installs
from bench.peers.places import place
from bench.rig import wait_for

COUNT = 60
_COMMITS = 200
_SETTLING = 5
"""The first starts, which are not counted."""


def seconds(daemon: Daemon, installs: Installs) -> dict[str, float]:
    """One minute of it, and of the C program."""
    with place() as (home, ledger):
        command = (str(installs.stamp), str(ledger))
        subprocess.run([installs.tick_loop, str(_SETTLING + COUNT), *command], check=True)
        least = _late(stamps(ledger))
        ledger.write_bytes(b"")
        commit = _commit_ms(home)
        jobs = Jobs(1, None, command, shell=False)
        with hosted(home, installs.init, *begun(daemon, home, installs, jobs)):
            wait_for(lambda: ledger.stat().st_size >= 8 * (_SETTLING + COUNT), 3 * COUNT)
            late = _late(stamps(ledger))
    median, longest, c_median, c_longest = statistics.median(late), max(late), statistics.median(least), max(least)
    return {
        "median_ms": median, "longest_ms": longest, "c_median_ms": c_median, "c_longest_ms": c_longest,
        "median_ratio": median / c_median, "longest_ratio": longest / c_longest, "commit_ms": commit,
        "median_less_commit": (median - commit) / c_median, "longest_less_commit": (longest - commit) / c_longest,
    }  # fmt: skip


def _commit_ms(folder: Path) -> float:
    """What 99 % of SQLite's commits on this disk take at most, each of a row of the size of a run's."""
    took = []
    with closing(sqlite3.connect(folder / "commits.db", isolation_level=None)) as database:
        database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE rows (text)")
        for _ in range(_COMMITS):
            time.sleep(0.01)
            begin = time.monotonic()
            database.execute("INSERT INTO rows VALUES (?)", ("x" * 1500,))
            took.append((time.monotonic() - begin) * 1000)
    return statistics.quantiles(took, n=100)[98]


def _late(found: list[int]) -> list[float]:
    return [stamp % 1_000_000_000 / 1e6 for stamp in found[_SETTLING:]]
