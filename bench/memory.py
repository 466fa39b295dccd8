"""Memory of all processes (PSS of smaps_rollup): idle with 1,000 and 10,000 jobs, after a burst, of live runs.

Of what is in files (the interpreter, its libraries) PSS counts less the more other processes on the machine use the
same; so `anonymous` is told too, which only our processes share with each other.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.rig import Rig, daemon, pss_kib, switches, wait_for
from jobqueued.ctl.base.client import ask

BURST, SECONDS = 1000, 75
HOST = "max_running: 1000\n"


def memory() -> dict[str, Any]:
    """MiB idle and after a burst of 1,000 one-line jobs, KiB a job, MiB a live run that sleeps."""
    idle = {count: _idle(count) for count in (1000, 10_000, 100_000)}
    few, many = idle[1000], idle[10_000]
    return {
        **{f"idle_{count}_jobs_mib": figures for count, figures in idle.items()},
        "kib_a_job": (many["anonymous"] - few["anonymous"]) * 1024 / 9000,
        "burst": _burst(),
        **{f"live_{count}": _live(count) for count in (300, 1000)},
    }


def mib(rig: Rig) -> dict[str, float]:
    """What all processes have by now, and the scheduler alone."""
    pids = rig.pids()
    return {
        "pss": pss_kib(pids) / 1024, "anonymous": pss_kib(pids, "Pss_Anon:") / 1024,
        "scheduler": pss_kib(pids[:1]) / 1024, "processes": len(pids),
    }  # fmt: skip


def quiet(rig: Rig) -> None:
    """Wait until no process of ours does anything for a second."""
    wait_for(lambda: _is_quiet(rig.pids()), 60)


def _is_quiet(pids: list[int]) -> bool:
    before = switches(pids)
    time.sleep(1)
    return switches(pids) == before


def _jobs(count: int, schedule: str, command: str = "true") -> dict[str, str]:
    """Files of a thousand jobs each."""
    head = "defaults: {timezone: UTC}\njobs:\n"
    line = f'{{command: "{command}", schedule: "{schedule}"}}'
    return {
        f"{first:06}.yaml": head
        + "".join(
            f"  job-{number:06}: {line.replace('#', str(number % 60))}\n" for number in range(first, first + 1000)
        )
        for first in range(0, count, 1000)
    }


def _far() -> str:
    return f"# {(datetime.now(UTC) + timedelta(hours=12)).hour} * * *"


def _idle(count: int) -> dict[str, float]:
    with daemon(_jobs(count, _far())) as rig:
        quiet(rig)
        return mib(rig)


def _burst() -> dict[str, Any]:
    """Before a burst, at its end, and once housekeeping, which begins a minute after the first end, is through."""
    due = (datetime.now(UTC) + timedelta(seconds=75)).replace(second=0, microsecond=0)
    with daemon(_jobs(BURST, f"{due.minute} {due.hour} * * *")) as rig:
        quiet(rig)
        before = mib(rig)
        wait_for(lambda: len(list((rig.directory / "logs").glob("*/*.json"))) == BURST, 180)
        end = mib(rig)
        time.sleep(SECONDS)
        after = mib(rig)
    return {"before": before["pss"], "end": end["pss"], "after": after["pss"], "above": after["pss"] - before["pss"],
            "scheduler_above": after["scheduler"] - before["scheduler"],
            "supervisors": after["processes"] - 2}  # fmt: skip


def _live(count: int) -> dict[str, float]:
    """The same job many times, which sleeps: what each run adds, without the job's own process."""
    jobs = {"live.yaml": 'jobs:\n  sleeper: {command: [/bin/sleep, "600"], concurrency: 1000, max_waiting: 1000}\n'}
    with daemon(jobs, HOST) as rig:
        quiet(rig)
        before = mib(rig)
        for _ in range(count):
            ask(rig.run / "control", "Run", job="sleeper")
        wait_for(lambda: _running(rig) == count, 120)
        time.sleep(5)
        after = mib(rig)
        for number in range(1, count + 1):
            ask(rig.run / "control", "Stop", run=f"sleeper@{number}")
        wait_for(lambda: _running(rig) == 0, 120)
    return {"runs": count, "mib_a_run": (after["pss"] - before["pss"]) / count}


def _running(rig: Rig) -> int:
    return int(ask(rig.run / "control", "List")["jobs"][0]["running"])
