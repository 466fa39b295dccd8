"""The judge of a fleet's day sees each promise that is broken in a day that is made up."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from jobqueued.child.fleet import claims
from jobqueued.child.fleet.claims import FleetClaim, Session
from tests.fleet.day import Day
from tests.fleet.history import Exchange
from tests.fleet.jobs import Line
from tests.fleet.judge import PROMISED, violations
from tests.fleet.people import Act

FENCES = itertools.count(7)
DUE = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def run(job: str, name: str, second: int = 0, fence: int = 0) -> list[Line]:
    """A run's lines; each has a greater fence than those before, unless it is told."""
    due, fence = DUE + timedelta(seconds=second), fence or next(FENCES)
    return [Line(what, job, due, f"{name}.1", 1.5, fence) for what in ("start", "end")]


def day() -> Day:
    """A day on which all went well: an occurrence of the fleet, two of hosts, and one of the fleet with their lock."""
    lines = [*run("a", "alpha:a@1"), *run("f", "alpha:f@1"), *run("f", "beta:f@1"), *run("d", "beta:d@1")]
    records = [(host, {"job": name.partition("@")[0], "run": name, "state": "succeeded"}) for host, _, name in
               (line.run.removesuffix(".1").partition(":") for line in lines[::2])]  # fmt: skip
    keys = {"/jq/runs/a/1772420400/1": "alpha:id succeeded", "/jq/runs/d/1772420400/1": "beta:id succeeded"}
    return Day(DUE, DUE, lines, records, keys, [], Counter(), [], [], [], [])


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
    day.keys["/jq/runs/d/1772420405/1"] = "beta:id succeeded"


def late(day: Day) -> None:
    """A run starts with a lock that another has had since."""
    day.lines.extend(run("f", "alpha:f@2", 10, fence=1))
    day.records.append(("alpha", {"run": "f@2", "state": "succeeded"}))


def foreign(day: Day) -> None:
    """A host has run what is another's in etcd."""
    day.keys["/jq/runs/d/1772420400/1"] = "gamma:id succeeded"


def forgotten(day: Day) -> None:
    """An occurrence of a job that may be skipped has neither run nor a record."""
    for second, count in ((0, 1), (4, 2)):
        due = DUE + timedelta(seconds=second)
        last = (due + timedelta(seconds=2)).isoformat() if count > 1 else None
        record = {"job": "l", "run": f"l@{second}", "state": "skipped", "due": due.isoformat(), "last_due": last,
                  "count": count, "reason": "missed"}  # fmt: skip
        day.records.append(("alpha", record))


def twisted(day: Day) -> None:
    """Two hosts were told that they have made one key."""
    question = claims.transaction(FleetClaim("a", "f7", ()), Session("alpha:id", "alpha", 5), {}, 0, {"run": 1})
    del question["compare"][0]  # the session
    answer = {"succeeded": True, "header": {"revision": "9"}, "responses": [{}]}
    for number, host in enumerate(("alpha", "beta")):
        day.exchanges.append(
            Exchange(host, "kv/txn", number, number + 0.5, json.dumps(question).encode(), json.dumps(answer).encode())
        )


def unpaused(day: Day) -> None:
    """A host was granted a run of a job whose pause was confirmed, and nobody has resumed it."""
    question = {"compare": [claims.created("/jq/paused/n", 0)], "success": [], "failure": []}
    answer = json.dumps({"succeeded": True, "header": {"revision": "9"}, "responses": [{}]}).encode()
    day.exchanges.append(Exchange("alpha", "kv/txn", 3, 3.5, json.dumps(question).encode(), answer))
    day.acts.append(Act("pause", "beta", 1, 2))


def lost(day: Day) -> None:
    """A run is said to be lost, and its host has never been down."""
    day.records[0][1]["state"] = "lost"


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
    assert [] == list(violations(day()))


def test_what_has_not_run() -> None:
    """Each occurrence that has no end is one violation."""
    assert ["missed"] == [violation.verdict for violation in violations(day()._replace(missed=["a 03:00:02"]))]


def test_a_host_that_went_down() -> None:
    """What it went down with may be lost, and gives back what it held; what ended long before may not."""
    found = day()
    lines = [*run("f", "alpha:f@3", 10)[:1], Line("down", "-", DUE, "alpha:-.0", 3, 0), *run("f", "beta:f@3", 10)]
    records = [("alpha", {"run": "f@3", "state": "lost"}), ("beta", {"run": "f@3", "state": "succeeded"})]
    found.lines.extend(lines)
    found.records.extend(records)
    assert [] == list(violations(found))
    lost(found)
    assert [] == list(violations(found))
    later = [line._replace(up=9) if line.what == "down" else line for line in found.lines]
    assert ["unrecorded"] == [violation.verdict for violation in violations(found._replace(lines=later))]


@pytest.mark.parametrize(
    ("broken", "verdicts"),
    [(twice, ["doubled", "unclaimed"]), (at_once, ["overlaps"]), (late, ["fences"]), (foreign, ["unclaimed"]),
     (twisted, ["disordered"]), (unpaused, ["undone"]), (forgotten, ["unaccounted"]), (lost, ["unrecorded"]),
     (no_record, ["unrecorded"]), (no_start, ["unrecorded"]), (no_end, ["held"]), (no_release, ["held"])],
)  # fmt: skip
def test_a_broken_promise(broken: Callable[[Day], None], verdicts: list[str]) -> None:
    """These verdicts are given, and no other."""
    bad = day()
    broken(bad)
    assert verdicts == [violation.verdict for violation in violations(bad)]
    assert set(verdicts) <= set(PROMISED)
