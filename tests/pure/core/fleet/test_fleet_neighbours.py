"""Hosts of a fleet that differ in what is to be the same on all, and other fleets in their etcd."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.fleet import neighbours, session
from jobqueued.child.fleet.claims import StoredKey
from jobqueued.child.fleet.etcd.gateway import Gateway
from jobqueued.child.fleet.etcd.namespace import named, nameless
from jobqueued.child.fleet.etcd.wire import Message, coded
from jobqueued.child.fleet.others import Others
from jobqueued.model.fleet import FleetSettings, FleetTrouble
from jobqueued.runs.fleet_neighbours import Neighbours, common_of, to_json
from tests.support.fake_etcd import FakeEtcd

OWN = FleetSettings(etcd=(), timezone="Europe/Berlin", resources={"tape": 2, "license": 5})


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, ""),
        ({"labels": ("gpu",), "authority": "/x"}, ""),
        ({"timezone": "UTC"}, "timezone UTC instead of Europe/Berlin"),
        ({"lock_grace": 30 * SECOND}, "lock_grace 30 s instead of 1 min"),
        ({"resources": {}}, "resources none instead of license=5,tape=2"),
        (
            {"timezone": "UTC", "resources": {"license": 5, "tape": 3}},
            "timezone UTC instead of Europe/Berlin and resources license=5,tape=3 instead of license=5,tape=2",
        ),
    ],
)
def test_hosts_that_differ(changes: dict[str, Any], differs: str) -> None:
    """Each of two hosts names the other, and in what; until that is over."""
    other = replace(OWN, **changes)
    one, two = Neighbours(OWN), Neighbours(other)
    found = [*one.note_host("b", to_json(common_of(other)))]
    mirrored = [*two.note_host("a", to_json(common_of(OWN)))]
    assert bool(differs) == bool(mirrored)
    expected = (
        [f"b is in the fleet with {differs}: all hosts need the same `fleet` in jobqueued.yaml"] if differs else []
    )
    assert (expected, expected) == (one.troubles, [each.text for each in found])
    assert [] == [*one.note_host("b", to_json(common_of(other)))], "it is said twice"
    assert [FleetTrouble(text, is_over=True) for text in expected] == [*one.note_host("b", to_json(common_of(OWN)))]
    assert [] == one.troubles


@pytest.mark.parametrize("common", ["", "x", "[]", '["UTC"]', '["UTC", -1, ""]', '["UTC", 1e9, ""]', "[" * 9999])
def test_what_no_host_has_announced(common: str) -> None:
    """It is no difference."""
    known = Neighbours(OWN)
    assert ([], []) == ([*known.note_host("b", common)], known.troubles)


def test_another_fleet() -> None:
    """One with jobs of the same names is a trouble: it may be a name that is wrong; one with others is none."""
    known = Neighbours(replace(OWN, name="web"))
    assert [] == [*known.note_fleets({"db": ["c"]}, {"db": ["dump"]}, {"report": 1, "sync": 1})]
    (found,) = known.note_fleets({"wbe": ["c", "d"]}, {"wbe": ["report", "sync", "x"]}, {"report": 1, "sync": 1})
    assert found.text.startswith(
        "the fleet wbe (hosts: c, d) uses the same etcd as the fleet web, "
        "and both fleets have report, sync, so each fleet runs these jobs"
    )
    assert [found.text] == known.troubles
    (over,) = known.note_fleets({}, {}, {"report": 1})
    assert FleetTrouble(found.text, is_over=True) == over
    known.forget()
    assert [] == known.troubles


def test_many() -> None:
    """Few are named, and how many more there are; nothing of a name is printed as it is."""
    known = Neighbours(OWN)
    names = [f"job{number:02}" for number in range(9)]
    (found,) = known.note_fleets({"\x1b": ["h\x1b"]}, {"\x1b": names}, names)
    assert "job00, job01, job02, job03, job04 and 4 more" in found.text
    assert found.text.isprintable()


@pytest.mark.parametrize(("grace", "longest_wait"), [(30, 50), (60, 50), (600, 590), (10**9, 86390)])
def test_a_host_with_a_longer_grace(grace: int, longest_wait: int) -> None:
    """What it has begun is its own for as long as it has announced, and no shorter than this host has it."""
    others = Others(50 * SECOND)
    others.note_host("b", StoredKey(f'b:1 boot - - ["UTC",{grace},""]', 1, 1))
    others.note_run(("tick", "f1772409660"), "b:1")
    others.note_host("b", None)
    assert [] == [*others.lost(1000 * SECOND)]
    assert (1000 + longest_wait) * SECOND == others.deadline
    assert [] == [*others.lost((1000 + longest_wait) * SECOND - 1)]
    assert 1 == len([*others.lost((1000 + longest_wait) * SECOND)])


def test_what_is_read() -> None:
    """Hosts by their fleets, and jobs."""
    kvs = [{"key": coded(f"/jq/@/{name}")} for name in ("db/c", "db/d", "wbe/e")]
    assert {"db": ["c", "d"], "wbe": ["e"]} == neighbours.hosts_in(
        [{"response_range": {"kvs": kvs[:2]}}, {"response_range": {}}, {"response_range": {"kvs": kvs[2:]}}]
    )
    jobs = [{"key": coded(f"/jq/db/jobs/{name}")} for name in ("a", "x/y", "x" * 1000)]
    assert ["a", "x/y"] == neighbours.jobs_in({"response_range": {"kvs": jobs}}, "db"), "the last is no job's"


class Etcd:
    """One with these keys, as a gateway of a fleet: the number of calls is counted."""

    def __init__(self, fleet: str, *keys: str) -> None:
        self._fleet, self._etcd, self.calls = fleet, FakeEtcd(), 0
        for key in keys:
            self._etcd.put(key, "")

    def call(self, path: str, message: Message) -> Message:
        """Carry out a transaction."""
        assert path == "kv/txn"
        self.calls += 1
        answer = self._etcd.txn(json.loads(named(json.dumps(message).encode(), self._fleet)))
        return cast("Message", json.loads(nameless(json.dumps(answer).encode(), self._fleet)))


@pytest.mark.parametrize("own", ["aaa", "bbb", "m", "zzz"])
def test_large_fleets(own: str) -> None:
    """A fleet that has more hosts than are told of keeps no other one from being seen, before or after ours."""
    many = [f"/jq/@/{fleet}/h{number:03}" for fleet in ("bbb", "bbb.x", "www") for number in range(200)]
    names = ["aaa", "bbb-x", "m", "zzz"]
    etcd = Etcd(own, *many, *(f"/jq/@/{name}/h" for name in names), f"/jq/{own}/fleet", "/jq/@/", "/jq/@//", "/jq/@/x")
    found, fleets = session.look_around(cast("Gateway", etcd), own)
    assert {*names, "bbb", "bbb.x", "www", "", "x"} - {own} == fleets.keys()
    assert 1 == found.number
    assert etcd.calls <= 4


def test_many_fleets() -> None:
    """However many keys others have made there, few calls tell of them."""
    etcd = Etcd("m", *(f"/jq/@/{number}/{number}" for number in range(3000)), *(f"/jq/1/jobs/{n}" for n in range(999)))
    _, fleets = session.look_around(cast("Gateway", etcd), "m")
    jobs = session.jobs_of(cast("Gateway", etcd), fleets)
    assert etcd.calls <= 9
    assert 256 == len(jobs["1"])
    assert 512 == len(fleets)
