"""Crontabs: 100,000 lines in one text and in tables; reading is linear, and jobs cost so much time and memory each.

The daemon's longest turn does not grow with the number of tables that come, and go, at once.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from bench.rig import daemon
from jobqueued.crontabs.jobs import MAX_JOBS, CronHost, TablePlace, read_jobs_in_steps
from jobqueued.crontabs.table import Form, read
from jobqueued.ctl.base.client import ask
from jobqueued.jobfile.tree.yamltext import at_once

LINES = 100_000
LINES_OF_LIVE, FEW, MANY = 100, 100, 1000


def crontabs() -> dict[str, Any]:
    """Seconds to read lines, a tenth and all of them, and to make jobs of all; `ratio`: of all to ten tenths."""
    tenth, whole = (_seconds_to_read(_table(0, count)) for count in (LINES // 10, LINES))
    before, begun = _resident(), time.process_time()
    kept = [at_once(_jobs(number)) for number in range(LINES // MAX_JOBS)]
    took = time.process_time() - begun
    few, many = _longest_turn(FEW), _longest_turn(MANY)
    return {
        "lines": LINES, "read_s": whole, "read_tenth_s": tenth, "ratio": whole / tenth / 10, "jobs_s": took,
        "bytes_a_job": (_resident() - before) // sum(len(jobs) for jobs, _ in kept),
        f"longest_turn_of_{FEW}_tables_s": few, f"longest_turn_of_{MANY}_tables_s": many, "turn_ratio": many / few,
    }  # fmt: skip


def _table(table: int, count: int) -> bytes:
    line = "{} {} * * {} root /usr/local/bin/job-{}-{} > /dev/null 2>&1\n"
    return "".join(line.format(n % 60, n % 24, n % 7, table, n) for n in range(count)).encode()


def _longest_turn(tables: int) -> float:
    """Seconds (wall) of the longest turn of a daemon to which so many tables come at once, and go at once."""
    with daemon({}, "cron: {live: true}\n") as rig:
        place, control = rig.directory / "etc/cron.d", rig.run / "control"
        place.mkdir(parents=True)
        for number in range(tables):
            new = place / f".new{number}"
            new.write_bytes(_table(number, LINES_OF_LIVE))
            new.rename(place / f"table{number}")
        _wait_for_jobs(control, tables * LINES_OF_LIVE)
        for path in place.iterdir():
            path.unlink()
        ask(control, "Reload", timeout=600)
        _wait_for_jobs(control, 0)
        return next(
            sample["value"]
            for family in ask(control, "Metrics")["families"]
            if family["name"] == "jobqueue_loop_longest_turn_seconds"
            for sample in family["samples"]
        )


def _wait_for_jobs(control: Path, count: int) -> None:
    while ask(control, "Status", timeout=60)["jobs"] != count:
        time.sleep(0.5)


def _jobs(table: int) -> Any:
    place = TablePlace(f"cron.d/table{table}")
    return read_jobs_in_steps(_table(table, MAX_JOBS), f"/etc/cron.d/table{table}", place, CronHost())


def _seconds_to_read(text: bytes) -> float:
    begun = time.process_time()
    read(text, Form.SYSTEM)
    return time.process_time() - begun


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
