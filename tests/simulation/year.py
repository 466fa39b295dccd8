"""A year of a busy host, for speed: 60 jobs, 336 runs a day, each with everything that a run has, and no faults."""

from __future__ import annotations

import time
from itertools import repeat
from typing import NamedTuple

from tests.simulation.life import BEGIN, Life, Terms
from tests.simulation.plan import HOUR
from tests.simulation.workers import workers
from tests.simulation.workload import Work

_PARTS = 12


def works() -> list[Work]:
    """12 jobs each hour and 48 a day."""
    hourly = [Work(f"h{number}", "a.yaml", 60, 5 * number, 60, fails=5) for number in range(12)]
    return [*hourly, *(Work(f"d{number}", "b.yaml", 60, number % 60, 300, hour=number % 24) for number in range(48))]


def live_a_year(days: float, seed: int, at_once: int) -> str:
    """Live it, a twelfth in each life, so many at once; what it took, in words."""
    begin, hours = time.monotonic(), round(24 * days / _PARTS)
    with workers(at_once) as pool:
        lived = list(pool.map(_lived, range(_PARTS), repeat(hours), repeat(seed)))
    took, runs = time.monotonic() - begin, sum(part.runs for part in lived)
    violations = [violation for part in lived for violation in part.violations]
    told = f"{days:g} days, 60 jobs, {runs} runs ({runs / days:.0f} a day): {took:.0f} s"
    cpu = sum(part.cpu for part in lived)
    return f"{told}, {cpu / runs * 1000:.2f} ms of CPU a run; {violations or 'no violation'}"


class Part(NamedTuple):
    """What a part of the year was, with the seconds of CPU that it took."""

    runs: int
    cpu: float
    violations: list[str]


def _lived(number: int, hours: int, seed: int) -> Part:
    life = Life(seed, Terms(hours=hours, faults=0, people=0), [], works(), BEGIN + number * hours * HOUR)
    cpu = time.process_time()
    violations = life.live()
    return Part(len(life.host.oracle.executions), time.process_time() - cpu, violations)
