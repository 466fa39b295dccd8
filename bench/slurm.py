"""Runs on Slurm beside a bare sbatch: python -m bench.slurm [RUNS]; needs slurm-wlm.

A cluster of our own, on this machine: what a run takes from its start to its end, and what CPU time that costs here.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.pool import Pool
from tests.support.slurm import Cluster


def measured(runs: int, once: Callable[[], object]) -> tuple[float, float]:
    """The median of the time that one takes, and the CPU time of each here, with its children, in seconds."""
    times, before = [], os.times()
    for _ in range(runs):
        start = time.monotonic()
        once()
        times.append(time.monotonic() - start)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return statistics.median(times), used / runs


def supervised(pid: int) -> float:
    """The CPU time of a supervisor with all that it has waited for, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print both."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory(prefix="jobqueued-slurm-") as folder:
        root = Path(folder)
        (root / "cluster").mkdir()
        cluster = Cluster(root / "cluster")
        pool = Pool(root)
        try:
            cluster.start()
            command = ["sbatch", "--wait", "--parsable", "-o", "/dev/null", "--wrap", "true"]
            environment = {**os.environ, **cluster.environment}
            bare = measured(runs, lambda: subprocess.run(command, env=environment, capture_output=True, check=True))
            keys = {
                "runner": "slurm", "environment": tuple(cluster.environment.items()), "working_directory": str(root),
                "output": "file",
            }  # fmt: skip
            before = supervised(pool.pid)
            ours, _ = measured(runs, lambda: pool.run(command="true", **keys))
            used = (supervised(pool.pid) - before) / runs
            before = supervised(pool.pid)
            pool.socket.settimeout(100)
            pool.run(command="sleep 60", **keys)
            minute = supervised(pool.pid) - before
        finally:
            pool.close()
            cluster.stop()
    print(f"sbatch --wait: {bare[0] * 1000:.0f} ms a run, {bare[1] * 1000:.0f} ms CPU")
    print(f"runner: slurm: {ours * 1000:.0f} ms a run, {used * 1000:.0f} ms CPU; of a minute {minute * 1000:.0f} ms")


if __name__ == "__main__":
    main()
