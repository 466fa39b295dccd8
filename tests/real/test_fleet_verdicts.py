"""The judge of a fleet's day sees each promise that is broken in a day that is made up."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.fleet.day import Day
from tests.fleet.jobs import Line
from tests.fleet.judge import PROMISED, violations

FENCES = itertools.count(7)
DUE = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def run(job: str, name: str, second: int = 0, fence: int = 0) -> list[Line]:
    """A run's lines; each has a greater fence than those before, unless it is told."""
    due, fence = DUE + timedelta(seconds=second), fence or next(FENCES)
    return [Line(what, job, due, f"{name}.1", 1.5, fence) for what in ("start", "end")]


def day() -> Day:
    """A day on which all went well: an occurrence of the fleet, two of hosts, and one of the fleet with their lock."""
    lines = [*run("a", "alpha:a@1"), *run("f", "alpha:f@1"), *run("f", "beta:f@1"), *run("d", "beta:d@1")]
    records = [(host, {"run": name, "state": "succeeded"}) for host, _, name in
               (line.run.removesuffix(".1").partition(":") for line in lines[::2])]  # fmt: skip
    keys = {"/jq/runs/a/1772420400/1": "alpha:id succeeded", "/jq/runs/d/1772420400/1": "beta:id succeeded"}
    return Day(DUE, DUE, lines, records, keys, Counter(), [])


def twice(day: Day) -> None:
    """Another host starts what is the fleet's."""
    day.lines.extend(run("a", "beta:a@7"))
    day.records.append(("beta", {"run": "a@7", "state": "succeeded"}))


def at_once(day: Day) -> None:
    """Two runs of different jobs have a lock."""
    (one, third), (other, fourth) = run("f", "alpha:f@2", 10), run("d", "beta:d@2", 5)
    day.lines.extend([one, other, third, fourth])
    day.records.extend(
        [("alpha", {"run": "f@2", "state": "succeeded"}), ("beta", {"run": "d@2", "state": "succeeded"})]
    )


def late(day: Day) -> None:
    """A run starts with a lock that another has had since."""
    day.lines.extend(run("f", "alpha:f@2", 10, fence=1))
    day.records.append(("alpha", {"run": "f@2", "state": "succeeded"}))


def no_record(day: Day) -> None:
    """What has run has no record."""
    del day.records[0]


def no_start(day: Day) -> None:
    """What is said to have run has not."""
    del day.lines[:2]


def no_end(day: Day) -> None:
    """An occurrence is somebody's for ever."""
    day.keys["/jq/runs/a/1772420402/1"] = "alpha:id"


def no_release(day: Day) -> None:
    """A lock is somebody's for ever."""
    day.keys["/jq/locks/tape"] = "alpha:id f f1772420402"


def test_a_good_day() -> None:
    """Nothing is said against it."""
    assert [] == list(violations(day(), []))


def test_what_has_not_run() -> None:
    """Each occurrence that has no end is one violation."""
    assert ["missed"] == [violation.verdict for violation in violations(day(), ["a 03:00:02"])]


@pytest.mark.parametrize(
    ("broken", "verdict"),
    [(twice, "doubled"), (at_once, "overlaps"), (late, "fences"), (no_record, "unrecorded"), (no_start, "unrecorded"),
     (no_end, "held"), (no_release, "held")],
)  # fmt: skip
def test_a_broken_promise(broken: Callable[[Day], None], verdict: str) -> None:
    """One verdict is given, the right one."""
    bad = day()
    broken(bad)
    assert [verdict] == [violation.verdict for violation in violations(bad, [])]
    assert verdict in PROMISED
