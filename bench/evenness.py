"""How even a synthetic day is: load in time with and without `spread`, load of CPUs and units by `placement`.

200 jobs as crontabs have them (most of them hourly at :00 or daily at a full hour), with run times from seconds to
minutes, go through the real scheduler in virtual time.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from typing import Any

from jobqueued.base.instants import MINUTE
from jobqueued.model.job import Claim
from jobqueued.timing.schedule import offset
from tests.support.world import World, job

JOBS, CPUS, UNITS = 200, 4, 4


def evenness() -> dict[str, Any]:
    """Live runs at each half minute of the day: peak, mean, standard deviation; of CPUs and units how unevenly used."""
    figures: dict[str, Any] = {"jobs": JOBS}
    for name, spread in (("as written", 0), ("spread 10m", 10 * MINUTE), ("spread 45m", 45 * MINUTE)):
        live = _day(spread)
        figures[f"{name}: peak"] = max(live)
        figures[f"{name}: mean"] = statistics.mean(live)
        figures[f"{name}: deviation"] = statistics.pstdev(live)
    for placement in ("pack", "spread"):
        cpus, units = _placed(placement)
        figures[f"{placement}: busiest CPU to mean"] = max(cpus) / statistics.mean(cpus)
        figures[f"{placement}: busiest unit to mean"] = max(units) / statistics.mean(units)
    return figures


def _jobs(spread: int) -> tuple[World, dict[str, float]]:
    chance = random.Random(1)
    jobs, seconds = [], {}
    for number in range(JOBS):
        hour = chance.choice(["*", "*", "*", "*/2", str(chance.randrange(24))])
        minute = chance.choice(["0", "0", "0", "30", "*/15", str(chance.randrange(60))])
        name = f"job-{number}"
        made = job(name, f"{minute} {hour} * * *", max_waiting=50, resources=(Claim("cpu", 250),))
        jobs.append(replace(made, spread=spread, offset=offset(spread, name, "a host") if spread else 0))
        seconds[name] = min(600.0, chance.lognormvariate(3.5, 1.2))
    return World(*jobs, seconds=seconds, resources={"cpu": 10**9}), seconds


def _day(spread: int) -> list[int]:
    """How many runs are live, each half minute of the second day."""
    world, _ = _jobs(spread)
    world.pass_time(86_400)
    live = []
    for _ in range(2880):
        world.pass_time(30)
        live.append(len(world.processes))
    return live


def _placed(placement: str) -> tuple[list[float], list[float]]:
    """The seconds that each CPU and each unit was in use, over a day of one run after another and two at a time."""
    chance = random.Random(2)
    claims = (Claim("cpu", 1000), Claim("gpu", 1))
    jobs = [job(f"j{n}", f"{n * 7 % 60} * * * *", resources=claims, placement=placement) for n in range(12)]
    seconds = {f"j{n}": chance.uniform(60, 500) for n in range(12)}
    world = World(*jobs, seconds=seconds, resources={"cpu": CPUS * 1000, "gpu": UNITS}, cpus=tuple(range(CPUS)))
    used: dict[str, list[float]] = {"cpus": [0.0] * CPUS, "gpu": [0.0] * UNITS}
    for _ in range(2880):
        world.pass_time(30)
        for run in world.scheduler.runs.values():
            for name, numbers in run.placed:
                for number in numbers:
                    used[name][number] += 30
    return used["cpus"], used["gpu"]
