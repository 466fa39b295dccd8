#!/usr/bin/env python3
"""Benchmarks, each beside a yardstick of the same run: machines differ and are noisy, ratios are what counts.

python -m bench [burst] [idle] [load] [pump] [admission] [evenness] [storm] [list] [memory] [caps] [notices]
                [crontabs] [submit] [starts] [flood] [commands] [fleet] [etcd]
                [past] [page] [simulate] [month] [calibration] [crowd] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from bench.admission import admission
from bench.calibration import calibration
from bench.caps import caps
from bench.commands import commands
from bench.crontabs import crontabs
from bench.crowd import crowd
from bench.etcd_costs import etcd_costs
from bench.evenness import evenness
from bench.fleet import fleet
from bench.flood import flood
from bench.listing import listing
from bench.memory import memory
from bench.notices import notices
from bench.page import page
from bench.past import past
from bench.pump import pump
from bench.rig import Rig, cpu_seconds, daemon, pss_kib, spawn_loop, switches, wait_for
from bench.simulate import month, week
from bench.starts import starts
from bench.storm import storm
from bench.submit import submit
from bench.targets import table
from jobqueued.ctl.base.client import ask

COUNT = 1000
LINE = "true"


def yardstick(count: int = COUNT, rounds: int = 3) -> float:
    """Seconds of the serial C posix_spawn+wait loop over the same command, median of some rounds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(spawn_loop(Path(folder))), str(count), "/bin/sh", "-c", LINE]
        return statistics.median(float(subprocess.check_output(command)) for _ in range(rounds))


def burst() -> dict[str, Any]:
    """1,000 one-line jobs due in the same second: from the due instant to the last start, and CPU time a run."""
    due = (datetime.now(UTC) + timedelta(seconds=75)).replace(second=0, microsecond=0)
    schedule = f"{due.minute} {due.hour} * * *"
    text = "defaults: {timezone: UTC}\njobs:\n" + "".join(
        f'  job-{i:04}: {{command: "{LINE}", schedule: "{schedule}"}}\n' for i in range(COUNT)
    )
    before = yardstick()
    with daemon({"burst.yaml": text}) as rig:
        pids, used = rig.pids(), cpu_seconds(rig.pids())
        wait_for(lambda: datetime.now(UTC) >= due, 90)
        wait_for(lambda: len(ended(rig)) == COUNT, 60)
        used = cpu_seconds(sorted({*pids, *rig.pids()})) - used
        records = [json.loads(path.read_text()) for path in ended(rig)]
    after = yardstick()
    late = sorted((datetime.fromisoformat(record["started"]) - due).total_seconds() for record in records)
    last_end = max((datetime.fromisoformat(record["ended"]) - due).total_seconds() for record in records)
    assert all(record["state"] == "succeeded" for record in records)
    c_loop = (before + after) / 2
    return {
        "runs": COUNT, "c_loop_s": c_loop, "first_start_s": late[0], "median_start_s": statistics.median(late),
        "last_start_s": late[-1], "last_end_s": last_end, "ratio_to_c_loop": late[-1] / c_loop,
        "cpu_ms_a_run": used / COUNT * 1000, "supervisors": len(pids) - 2,
    }  # fmt: skip


def ended(rig: Rig) -> list[Path]:
    """The record files there are."""
    return list((rig.directory / "logs").glob("*/*.json"))


def idle() -> dict[str, Any]:
    """1,000 jobs, none due for a minute: how often any process of ours woke up, and what they hold in memory."""
    far = (datetime.now(UTC) + timedelta(hours=12)).hour
    text = "defaults: {timezone: UTC}\njobs:\n" + "".join(
        f'  job-{i:04}: {{command: "{LINE}", schedule: "{i % 60} {far} * * *"}}\n' for i in range(COUNT)
    )
    with daemon({"idle.yaml": text}) as rig:
        pids = rig.pids()
        wait_for(lambda: _is_quiet(pids), 30)
        before, used = switches(pids), cpu_seconds(pids)
        time.sleep(60)
        after = switches(pids)
        return {
            "jobs": COUNT, "processes": len(pids), "wake_ups_a_minute": sum(after.values()) - sum(before.values()),
            "cpu_s_a_minute": cpu_seconds(pids) - used, "pss_mib": pss_kib(pids) / 1024,
        }  # fmt: skip


def _is_quiet(pids: list[int]) -> bool:
    before = switches(pids)
    time.sleep(1)
    return switches(pids) == before


def load() -> dict[str, Any]:
    """10,000 jobs in 1,000 files: from exec to ready; one changed file, from its close to its jobs' being the new ones;
    all files changed at once, and the longest that anybody else had to wait for an answer meanwhile.  `cpu`: of the
    scheduler's start, beside the yardstick's, for machines that have other things to do.
    """
    files = {f"{number:03}.yaml": _ten_jobs(number, "0 3 * * *") for number in range(1000)}
    parse = _parse_seconds(files)
    with daemon(files) as rig:
        first, used = rig.seconds, cpu_seconds([rig.process.pid])
        rig.stop()
        rig.start()
        one = sorted(_changed(rig, number) for number in range(20))
        at_once, waits = _all_changed(rig, files)
        return {
            "jobs": 10_000, "files": 1000, "yaml_load_s": parse[0], "first_start_s": first, "restart_s": rig.seconds,
            "ratio_to_yaml_load": first / parse[0], "cpu_s": used, "cpu_ratio": used / parse[1],
            "one_file_median_ms": statistics.median(one) * 1000,
            "one_file_longest_ms": one[-1] * 1000, "all_files_s": at_once, "longest_wait_ms": max(waits) * 1000,
        }  # fmt: skip


def _ten_jobs(number: int, schedule: str) -> str:
    body = (
        f'{{description: "of a benchmark", command: [/bin/true, --{number}], schedule: "{schedule}", user: root, '
        "timezone: Europe/Berlin, priority: 5, timeout: 2h, kill_grace: 30s, catch_up: none, umask: 0027, "
        "environment: {LANG: C.UTF-8, A: b}, tags: [a, b]}"
    )
    return "jobs:\n" + "".join(f"  job-{number}-{index}: {body}\n" for index in range(10))


def _parse_seconds(files: dict[str, str]) -> tuple[float, float]:
    """The yardstick: PyYAML's fastest load of the same texts, which checks nothing; elapsed, and of a CPU."""
    begin, used = time.monotonic(), time.process_time()
    for text in files.values():
        yaml.load(text, yaml.CSafeLoader)
    return time.monotonic() - begin, time.process_time() - used


def _changed(rig: Rig, number: int) -> float:
    """Seconds from the close of a changed file to the daemon's word that its jobs were read."""
    seen = len(rig.said("jobs_read"))
    (rig.directory / "jobqueue.d" / f"{number:03}.yaml").write_text(_ten_jobs(number, "0 4 * * *"))
    closed = time.time()
    wait_for(lambda: len(rig.said("jobs_read")) > seen, 10)
    return datetime.fromisoformat(rig.said("jobs_read")[-1]["time"]).timestamp() - closed


def _all_changed(rig: Rig, files: dict[str, str]) -> tuple[float, list[float]]:
    """Seconds until all are read that another process writes, and how long each answer took meanwhile."""
    seen = len(rig.said("jobs_read"))
    directory = rig.directory / "jobqueue.d"
    for name, text in files.items():
        (rig.directory / name).write_text(text.replace("0 3 * * *", "0 5 * * *"))
    begin, waits = time.monotonic(), []
    for name in files:
        (rig.directory / name).rename(directory / name)
    while len(rig.said("jobs_read")) < seen + len(files):
        asked = time.monotonic()
        ask(rig.run / "control", "Status")
        waits.append(time.monotonic() - asked)
    return time.monotonic() - begin, waits


BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {
    "burst": burst, "idle": idle, "load": load, "pump": pump, "admission": admission, "evenness": evenness,
    "storm": storm, "list": listing, "memory": memory, "caps": caps, "notices": notices, "crontabs": crontabs,
    "submit": submit, "starts": starts, "flood": flood, "commands": commands, "fleet": fleet, "etcd": etcd_costs,
    "past": past, "page": page, "simulate": week, "month": month, "calibration": calibration,
    "crowd": crowd,
}  # fmt: skip


def main() -> None:
    """Run those named, by default all that need nothing special; print a line a figure, then which targets are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names",
        nargs="*",
        choices=[[], *BENCHMARKS],
        metavar="NAME",
        help=", ".join(BENCHMARKS),
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    results = {}
    special = {"caps", "calibration", "month", "page"}  # a virtual machine; six minutes; a million runs; a browser
    special |= {"crowd"}  # a load of 40
    special |= {"storm", "flood"} if os.geteuid() else set()
    for name in options.names or [name for name in BENCHMARKS if name not in special]:
        results[name] = BENCHMARKS[name]()
        for figure, value in results[name].items():
            for part, each in value.items() if isinstance(value, dict) else [("", value)]:
                print(
                    f"{name:9} {figure:25} {part:28} {_shown(each)}" if part else f"{name:9} {figure:25} {_shown(each)}"
                )
    if lines := list(table(results)):
        print(f"\n{'target':52} {'most':>6} {'reached':>8}", *lines, sep="\n")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_shown(figure)}" for name, figure in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
