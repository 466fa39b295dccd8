"""A year of a busy host, for speed: 60 jobs, 336 runs a day, each with everything that a run has, and no faults."""

from __future__ import annotations

import time

from tests.simulation.kernel import SECOND
from tests.simulation.life import Life, Terms
from tests.simulation.workload import Work

_DAY = 86400 * SECOND


def works() -> list[Work]:
    """12 jobs each hour and 48 a day."""
    hourly = [Work(f"h{number}", "a.yaml", 60, 5 * number, 60, fails=5) for number in range(12)]
    return [*hourly, *(Work(f"d{number}", "b.yaml", 60, number % 60, 300, hour=number % 24) for number in range(48))]


def live_a_year(days: float | None, seed: int) -> str:
    """Live it; what it took, in words."""
    jobs = works()
    life = Life(seed, Terms(hours=round(24 * (days or 365)), faults=0, people=0), [], jobs)
    begin, cpu = time.monotonic(), time.process_time()
    violations = life.live()
    runs = len(life.host.oracle.executions)
    took = f"{time.monotonic() - begin:.0f} s ({time.process_time() - cpu:.0f} s of CPU)"
    told = f"{days or 365:g} days, {len(jobs)} jobs, {runs} runs ({runs / (days or 365):.0f} a day): {took}"
    return f"{told}; {violations or 'no violation'}"
