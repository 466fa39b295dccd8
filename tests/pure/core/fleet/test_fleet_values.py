"""What others have put into etcd: no host of the fleet stumbles over it, and all go on once it is gone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import HOUR, SECOND
from jobqueued.child.fleet.claims import ROOT
from jobqueued.child.fleet.etcd import values
from jobqueued.core.jobs import pauses
from jobqueued.core.late import fleet_overdue
from jobqueued.host.messages import VOCABULARY
from jobqueued.model.job import Claim, Scope
from jobqueued.queue.locks import FLEET
from tests.support.fleet import Fleet
from tests.support.world import MIDNIGHT, job

TICK = job("tick", "* * * * *", scope=Scope.FLEET, expect=2 * HOUR, locks=(Claim(f"{FLEET}tape", exclusive=True),))
END = values.END


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (pauses.FleetPause, '["alice", "a", null]', ("alice", "a", None)),
        (pauses.FleetPause, f'["alice", "a", {END}]', ("alice", "a", END)),
        (pauses.FleetPause, f'["alice", "a", {END + 1}]', None),
        (pauses.FleetPause, '["alice", "a", -1]', None),
        (pauses.FleetPause, '["alice", "a", 1e30]', None),
        (pauses.FleetPause, '["alice", "a", true]', None),
        (pauses.FleetPause, '["alice", "a"]', None),
        (pauses.FleetPause, '["alice", "a", null, 1]', None),
        (pauses.FleetPause, '["alice", null, null]', None),
        (pauses.FleetPause, "[" * 60_000, None),
        (pauses.FleetPause, '{"asked_by": "alice"}', None),
        (fleet_overdue.OverdueReport, '["a", 7]', ("a", 7)),
        (fleet_overdue.OverdueReport, f'["a", {10**30}]', None),
        (fleet_overdue.OverdueReport, '["a", null]', None),
        (values.OccurrenceValue, "a:1", ("a:1", "")),
        (values.OccurrenceValue, "a:1 failed exit code 3", ("a:1", "failed exit code 3")),
        (values.OccurrenceValue, "a" * values.MOST, ("a" * values.MOST, "")),
        (values.OccurrenceValue, "a" * (values.MOST + 1), None),
        (values.HostValue, "a:1", ("a:1", "-", "-", "-", "")),
        (values.HostValue, "a:1 boot gpu,site held", ("a:1", "boot", "gpu,site", "held", "")),
        (values.Holder, "a:1 tick f1 2", ("a:1", "tick", "f1 2")),
        (values.Holder, "a:1", None),
    ],
)
def test_values(kind: type[tuple[object, ...]], value: str, found: object) -> None:
    """What a host can have written is read, and nothing beyond the bounds."""
    assert found == values.parsed(kind, value)


_ODD = st.one_of(
    st.sampled_from([
        "", " ", "x", "a b c d e f", "[]", "[[]]", "{}", "null", "-1", "a skipped", "a skipped 99999999999", "a:1 ",
        "\0", "a skipped 0", "\udcff", "a" * 70_000, "[" * 60_000, '["a", "b", 1e999]', json.dumps(["a", 10**30]),
        json.dumps(["a", "b", 10**30]), json.dumps(["a", END]), json.dumps(["a", "b", END]), '["a", "b", 0]',
    ]),
    st.text(max_size=20), st.integers().map(str),
    st.tuples(st.text(max_size=3), st.text(max_size=3), st.integers()).map(json.dumps),
)  # fmt: skip
_KEYS = st.sampled_from([
    "hosts/a", "hosts/z", "hosts/", "jobs/tick", "jobs/other", "paused/tick", "overdue/tick", "locks/tape",
    "locks/tape:2", "locks/job/tick", "locks/", "wait/z/tape", "wait/z", "wait/", "skipped/tick", "odd/x",
    "runs/tick/1772409660/1", "runs/tick/1772409660/2", "runs/tick/1772409660/999", "runs/tick/9999999999/1",
    "runs/tick/1000000000/1", "runs/tick/99999999999/1", "runs/tick/x/1", "runs/tick", "runs/tick/1772409720/1",
    "returned/tick/f1772409660", "returned/tick/f9999999999", "returned/tick/x", "returned/tick/f",
    "returned/tick/f1.2", "returned/tick/f.1", "returned/tick/f1.", "returned/x", f"jobs/{'j' * 1000}",
])  # fmt: skip
_PUTS = st.lists(st.tuples(_KEYS, _ODD), min_size=1, max_size=6)


def _numbers(value: object) -> Iterator[int]:
    """All numbers in what is saved."""
    if isinstance(value, int):
        yield value
    elif dataclasses.is_dataclass(value):
        yield from (number for field in dataclasses.fields(value) for number in _numbers(getattr(value, field.name)))
    elif isinstance(value, tuple | list):
        yield from (number for each in value for number in _numbers(each))
    elif isinstance(value, dict):
        yield from (number for each in value.values() for number in _numbers(each))


@settings(max_examples=60, deadline=None)
@given(_PUTS, st.booleans())
@example([("paused/tick", json.dumps(["alice", "a", 10**30]))], True)
@example([("overdue/tick", json.dumps(["a", 10**30]))], True)
@example([("runs/tick/9999999999/1", "z")], True)
@example([("returned/tick/f9999999999", "z")], True)
@example([("paused/tick", ""), ("runs/tick/1000000000/1", " ")], False)
def test_whatever_is_there(puts: list[tuple[str, str]], begins: bool) -> None:
    """Hosts hear of it, or begin with it, and go through it; once it is gone they run what comes due."""
    fleet = Fleet(Random(1))
    for name in "ab" if not begins else "":
        fleet.add(name, TICK)
    fleet.pass_time(30)
    for key, value in puts:
        fleet.etcd.put(f"{ROOT}{key}", value)
    for name in "ab" if begins else "":
        fleet.add(name, TICK)
    fleet.pass_time(240)
    for key, _ in puts:
        fleet.etcd.put(f"{ROOT}{key}", None)
    for host in fleet.hosts.values():
        host.agent.die()
        fleet.pass_time(15)
        host.agent.start()
    fleet.pass_time(60)
    since = fleet.now
    fleet.pass_time(HOUR // SECOND // 10)
    for host in fleet.hosts.values():
        assert all("record" in each.fields or VOCABULARY[each.event].text(each.fields) for each in host.said)
        for saved in (*host.memories.values(), *host.rows.values()):
            assert all(-END <= number <= END for number in _numbers(saved))
    ran = [key for (name, key) in fleet.started if int(key[1:].partition(".")[0]) * SECOND > since]
    assert len(ran) >= 5, ran
    assert MIDNIGHT < since
