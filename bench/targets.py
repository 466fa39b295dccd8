"""What our own benchmarks are to reach, and whether they do; what is beside others is in bench/peers/report.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Target(NamedTuple):
    """The most that a figure may be: its benchmark, and its names in there, outermost first."""

    text: str
    most: float
    path: tuple[str, ...]


TARGETS = (
    Target("start with 10,000 jobs in 1,000 files, s", 1.2, ("load", "first_start_s")),
    Target("one changed file, from its close, median, ms", 10, ("load", "one_file_median_ms")),
    Target("all 1,000 changed: longest wait for an answer, ms", 20, ("load", "longest_wait_ms")),
    Target("pass of admission, 10,000 groups, ms", 20, ("admission", "100000 runs, 10000 groups", "turn_ms")),
    Target("after 64 ends, ms", 20, ("admission", "100000 runs, 10000 groups", "turn_of_64_ms")),
    Target("the first pass, ms", 20, ("admission", "100000 runs, 10000 groups", "first_turn_ms")),
    Target("each shares a lock with the next, ms", 20, ("admission", "100000 runs, 10000 groups", "turn_of_pairs_ms")),
    Target("idle: wake-ups a minute", 0, ("idle", "wake_ups_a_minute")),
    Target("1,000 jobs, none due: PSS, MiB", 34, ("memory", "idle_1000_jobs_mib", "pss")),
    Target("10,000 jobs: PSS, MiB", 50, ("memory", "idle_10000_jobs_mib", "pss")),
    Target("each job, KiB", 2.5, ("memory", "kib_a_job")),
    Target("75 s after a burst, above idle, MiB", 5, ("memory", "burst", "above")),
    Target("a live run that sleeps, of 300, MiB", 0.7, ("memory", "live_300", "mib_a_run")),
    Target("of 1,000, MiB", 0.7, ("memory", "live_1000", "mib_a_run")),
    Target("`list` of 20,000 jobs, s", 0.6, ("list", "elapsed_s")),
    Target("`list` of 1,000 jobs, ms", 100, ("starts", "list", "elapsed_ms")),
    Target("`status`, ms", 100, ("starts", "status", "elapsed_ms")),
    Target("`--help`, ms", 100, ("starts", "help", "elapsed_ms")),
)


def table(results: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each target of what was measured."""
    for target in TARGETS:
        if target.path[0] in results:
            value: Any = results
            for name in target.path:
                value = value[name]
            verdict = "met" if value <= target.most else "not met"
            yield f"{target.text:52} {target.most:>6g} {value:>8.3g}  {verdict}"
